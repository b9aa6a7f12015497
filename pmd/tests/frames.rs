//! Frames and pools, without a device: balance of allocation, copies, and every operation on one to many segments.

use std::sync::OnceLock;

use log::LevelFilter;
use weir_pmd::{Eal, EalConfig, HEADROOM, Mbuf, Mempool};

/// One EAL for the process; each test has its own pool.
fn eal() -> &'static Eal {
    static EAL: OnceLock<Eal> = OnceLock::new();
    EAL.get_or_init(|| {
        Eal::start(&EalConfig {
            memory_mib: 64,
            hugepages: false,
            file_prefix: "weir-test-frames".to_owned(),
            log_level: LevelFilter::Error,
            ..EalConfig::default()
        })
        .unwrap()
    })
}

fn pool(name: &str, count: u32, data_room: u16) -> Mempool {
    Mempool::new(eal(), name, count, data_room).unwrap()
}

/// Bytes that differ from their neighbours.
fn bytes(count: usize) -> Vec<u8> {
    (0..count).map(|index| (index * 7 + index / 256) as u8).collect()
}

fn frame(pool: &Mempool, content: &[u8]) -> Mbuf {
    let mut frame = pool.alloc().unwrap();
    frame.append(content.len()).unwrap().copy_from_slice(content);
    frame
}

/// A frame with a segment for each part.
fn segmented(pool: &Mempool, parts: &[&[u8]]) -> Mbuf {
    let (first, rest) = parts.split_first().unwrap();
    let mut whole = frame(pool, first);
    for part in rest {
        whole.chain(frame(pool, part)).unwrap();
    }
    whole
}

fn content(frame: &Mbuf) -> Vec<u8> {
    let all: Vec<u8> = frame.segments().flatten().copied().collect();
    assert_eq!(all.len(), frame.len(), "the segments' bytes add up to the frame's length");
    assert_eq!(frame.is_segmented(), frame.segments().count() > 1);
    all
}

#[test]
fn what_is_allocated_comes_back() {
    let pool = pool("balance", 63, 256);
    assert_eq!((pool.available(), pool.total()), (63, 63));
    let mut frames: Vec<Mbuf> = std::iter::from_fn(|| pool.alloc()).collect();
    assert_eq!((frames.len(), pool.available()), (63, 0));
    assert!(pool.alloc().is_none() && pool.copy(&frames[0]).is_none(), "an empty pool says so");
    frames.truncate(40);
    assert_eq!(pool.available(), 23);
    drop(frames);
    assert_eq!(pool.available(), 63);
}

#[test]
fn a_burst_is_freed_at_once_chains_included() {
    let pool = pool("bulk", 63, 256);
    let mut burst = heapless::Vec::<Mbuf, 8>::new();
    for count in 1..=8 {
        burst.push(segmented(&pool, &vec![&[1_u8, 2][..]; count])).unwrap();
    }
    assert_eq!(pool.available(), 63 - 36);
    Mbuf::free_all(&mut burst);
    assert_eq!((burst.len(), pool.available()), (0, 63));
    Mbuf::free_all(&mut burst);
    assert_eq!(pool.available(), 63);
}

#[test]
fn a_new_frame_is_empty_and_has_its_headroom() {
    let pool = pool("fresh", 63, 300);
    let mut fresh = pool.alloc().unwrap();
    assert_eq!((fresh.len(), fresh.head().len(), fresh.headroom()), (0, 0, HEADROOM));
    assert_eq!(pool.data_room(), 300);
    fresh.append(300).unwrap().fill(0xAA);
    assert!(fresh.append(1).is_none(), "the data room is used up");
    drop(fresh);
    for _ in 0..63 {
        let mut again = pool.alloc().unwrap();
        assert!(
            again.append(300).unwrap().iter().all(|&byte| byte == 0),
            "appended bytes are zero, used buffer or not"
        );
    }
}

#[test]
fn prepend_and_trim_are_inverse_and_bounded() {
    let pool = pool("prepend", 63, 256);
    let mut frame = frame(&pool, b"payload");
    let head = frame.prepend(50).unwrap();
    assert_eq!((head.len(), &head[50..]), (57, &b"payload"[..]));
    head[..50].fill(0x55);
    assert_eq!((frame.len(), frame.headroom()), (57, HEADROOM - 50));
    assert!(frame.prepend(HEADROOM - 49).is_none());
    assert_eq!(frame.len(), 57, "refused, and unchanged");
    assert_eq!(frame.prepend(HEADROOM - 50).unwrap().len(), HEADROOM + 7);
    frame.trim_front(HEADROOM);
    assert_eq!((frame.head(), frame.headroom()), (&b"payload"[..], HEADROOM));
    frame.head_mut()[0] = b'P';
    assert_eq!(content(&frame), b"Payload");
    assert!(frame.prepend(usize::MAX).is_none() && frame.prepend(65_536 + 50).is_none());
}

#[test]
#[should_panic(expected = "trim_front(8) of a first segment of 7 bytes")]
fn trimming_more_than_the_first_segment_panics() {
    let pool = pool("overtrim", 63, 256);
    segmented(&pool, &[b"payload", b"more"]).trim_front(8);
}

#[test]
fn pull_at_every_split_of_three_segments() {
    let pool = pool("pull", 63, 256);
    let all = bytes(60);
    for a in 0..=60 {
        for b in a..=60 {
            for n in 0..=61 {
                let mut frame = segmented(&pool, &[&all[..a], &all[a..b], &all[b..]]);
                let pulled = frame.pull(n);
                assert_eq!(pulled, n <= 60, "{a} {b} {n}");
                assert_eq!(content(&frame), all, "{a} {b} {n}");
                assert!(!pulled || frame.head().len() >= n, "{a} {b} {n}");
                let held = frame.segments().count() as u32;
                assert_eq!(pool.available(), 63 - held, "emptied segments are freed: {a} {b} {n}");
            }
        }
    }
    assert_eq!(pool.available(), 63);
}

#[test]
fn pull_shifts_into_the_headroom_when_there_is_no_room_behind() {
    let pool = pool("shift", 63, 100);
    let all = bytes(228);
    let parts = [&all[..100], &all[100..180], &all[180..]];
    // Nothing behind the first 100 bytes: each further byte takes one of headroom.
    for n in 101..=228 {
        let mut frame = segmented(&pool, &parts);
        assert!(frame.pull(n), "{n}");
        assert_eq!((frame.head().len(), frame.headroom()), (n, HEADROOM + 100 - n));
        assert_eq!(content(&frame), all);
    }
    let longer = bytes(240);
    let mut frame = segmented(&pool, &[&longer[..100], &longer[100..200], &longer[200..]]);
    assert!(!frame.pull(229), "more than a whole buffer");
    assert_eq!((content(&frame), frame.segments().count(), frame.headroom()), (longer, 3, HEADROOM));
}

#[test]
fn truncate_at_every_length_of_three_segments() {
    let pool = pool("truncate", 63, 256);
    let all = bytes(30);
    for a in 1..30 {
        for b in a..30 {
            for len in 0..=32 {
                let mut frame = segmented(&pool, &[&all[..a], &all[a..b], &all[b..]]);
                frame.truncate(len);
                assert_eq!(content(&frame), all[..len.min(30)], "{a} {b} {len}");
                assert_eq!(pool.available(), 63 - frame.segments().count() as u32, "{a} {b} {len}");
                if len > 0 && len < 30 {
                    assert!(!frame.segments().last().unwrap().is_empty(), "no empty segment stays behind");
                }
            }
        }
    }
    assert_eq!(pool.available(), 63);
}

#[test]
fn trimming_a_whole_segment_leaves_bytes_in_the_first() {
    let pool = pool("trim", 63, 256);
    let all = bytes(150);
    let mut frame = segmented(&pool, &[&all[..50], &all[50..51], &all[51..]]);
    frame.trim_front(50);
    assert_eq!(content(&frame), all[50..]);
    assert!(frame.head().len() >= 64, "as many as headers need");
    assert_eq!(pool.available(), 63 - frame.segments().count() as u32);
    let mut short = segmented(&pool, &[&all[..50], &all[50..53]]);
    short.trim_front(50);
    assert_eq!((content(&short), short.is_segmented()), (all[50..53].to_vec(), false));
    short.trim_front(3);
    assert_eq!(short.len(), 0);
}

#[test]
fn append_goes_behind_the_last_segment() {
    let pool = pool("append", 63, 256);
    let mut frame = segmented(&pool, &[b"one", b"two"]);
    frame.append(5).unwrap().copy_from_slice(b"three");
    assert_eq!(content(&frame), b"onetwothree");
    assert_eq!(frame.head(), b"one");
}

#[test]
fn a_copy_shares_nothing_and_needs_few_segments() {
    let pool = pool("copy", 63, 256);
    let all = bytes(90);
    let mut original = segmented(&pool, &[&all[..10], &all[10..20], &all[20..]]);
    original.trim_front(4);
    original.prepend(4).unwrap()[..4].copy_from_slice(&all[..4]);
    let mut copy = pool.copy(&original).unwrap();
    assert_eq!((content(&copy), copy.is_segmented(), copy.headroom()), (all.clone(), false, HEADROOM));
    copy.head_mut().fill(0);
    assert_eq!(content(&original), all);
    drop(original);
    assert_eq!(pool.available(), 62);
    drop(copy);
    assert_eq!(pool.available(), 63);
}

#[test]
fn a_copy_larger_than_a_buffer_is_a_chain() {
    let (pool, small) = (pool("large", 63, 600), pool("small", 4, 100));
    let all = bytes(330);
    let original = frame(&pool, &all);
    let copy = small.copy(&original).unwrap();
    assert_eq!((content(&copy), copy.segments().count()), (all, 4));
    assert_eq!(small.available(), 0);
    drop(copy);
    let _one = small.alloc().unwrap();
    assert!(small.copy(&original).is_none(), "3 buffers are too few");
    assert_eq!(small.available(), 3, "and none of them is lost");
}

#[test]
fn pools_refuse_what_cannot_be() {
    let refused = |name: &str, count, data_room| Mempool::new(eal(), name, count, data_room).unwrap_err().to_string();
    assert!(refused("", 1, 1).contains("1 to 25 bytes"));
    assert!(refused(&"x".repeat(26), 1, 1).contains("1 to 25 bytes"));
    assert!(refused("none", 0, 1).contains("0 buffers"));
    assert!(refused("flat", 1, 0).contains("data room of 0"));
    assert!(refused("wide", 1, 65_500).contains("data room of 65500"));
    let _first = pool("twice", 1, 64);
    assert!(refused("twice", 1, 64).contains("File exists"), "{}", refused("twice", 1, 64));
    let memory = refused("huge", 1_000_000, 2048);
    assert!(memory.starts_with("cannot make the buffer pool huge: Cannot allocate memory"), "{memory}");
    assert!(memory.contains("1000000 buffers of 2048 bytes take about 2319 MiB"), "{memory}");
}
