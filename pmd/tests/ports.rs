//! Ports, on drivers that need no hardware: a ring that loops back, capture files, a source and sink.

use std::path::PathBuf;
use std::sync::OnceLock;
use std::thread::sleep;
use std::time::Duration;

use log::LevelFilter;
use weir_pmd::{
    Eal, EalConfig, Mbuf, Mempool, Port, PortConfig, PortControl, RxOffloads, StartedPort, TxOffloads, TxQueue,
};

/// Frames that a ring of 1024 slots holds.
const RING_CAPACITY: usize = 1023;

type Burst = heapless::Vec<Mbuf, 32>;

/// A file of this test run.
fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name)
}

/// The frames that the capture file holds, a short one and one of several buffers.
fn captured() -> Vec<Vec<u8>> {
    let bytes = |count: usize| (0..count).map(|index| (index * 31 + index / 256) as u8).collect();
    vec![bytes(60), bytes(1000), bytes(61)]
}

/// One EAL for the process; each test opens its own devices.
fn eal() -> &'static Eal {
    static EAL: OnceLock<Eal> = OnceLock::new();
    EAL.get_or_init(|| {
        std::fs::write(file("in.pcap"), pcap(&captured())).unwrap();
        let (input, output) = (file("in.pcap"), file("out.pcap"));
        let mut devices: Vec<String> = (0..6).map(|number| format!("net_ring{number}")).collect();
        devices.push("net_null0,no-rx=1".to_owned());
        devices.push("net_null1,size=64".to_owned());
        devices.push("net_null2".to_owned());
        devices.push(format!("net_pcap0,rx_pcap={},tx_pcap={}", input.display(), output.display()));
        devices.push(format!("net_pcap1,rx_pcap={},tx_pcap={}", input.display(), file("closed.pcap").display()));
        Eal::start(&EalConfig {
            memory_mib: 64,
            hugepages: false,
            file_prefix: "weir-test-ports".to_owned(),
            devices,
            log_level: LevelFilter::Error,
            ..EalConfig::default()
        })
        .unwrap()
    })
}

/// A classic capture file, microseconds, Ethernet (draft-ietf-opsawg-pcap §4, §5).
fn pcap(frames: &[Vec<u8>]) -> Vec<u8> {
    let words = |words: &[u32]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>();
    let mut file = words(&[0xA1B2_C3D4, 0x0004_0002, 0, 0, 65_535, 1]);
    for frame in frames {
        file.extend(words(&[0, 0, frame.len() as u32, frame.len() as u32]));
        file.extend(frame);
    }
    file
}

/// The frames of such a file.
fn frames_of(pcap: &[u8]) -> Vec<Vec<u8>> {
    let mut rest = &pcap[24..];
    let mut frames = Vec::new();
    while !rest.is_empty() {
        let length = u32::from_le_bytes(rest[8..12].try_into().unwrap()) as usize;
        frames.push(rest[16..16 + length].to_vec());
        rest = &rest[16 + length..];
    }
    frames
}

fn pool(name: &str, data_room: u16) -> Mempool {
    Mempool::new(eal(), name, 2047, data_room).unwrap()
}

fn config(pool: &Mempool) -> PortConfig {
    PortConfig {
        rx_queues: 1,
        tx_queues: 1,
        rx_descriptors: 512,
        tx_descriptors: 512,
        mtu: 1500,
        promiscuous: true,
        rx_pools: vec![pool.clone()],
    }
}

fn start(device: &str, config: &PortConfig) -> StartedPort {
    Port::open(eal(), device).unwrap().start(config).unwrap()
}

/// A frame of 60 bytes that carries a number.
fn numbered(pool: &Mempool, number: usize) -> Mbuf {
    let mut frame = pool.alloc().unwrap();
    frame.append(60).unwrap()[..8].copy_from_slice(&number.to_le_bytes());
    frame
}

fn number(frame: &Mbuf) -> usize {
    usize::from_le_bytes(frame.head()[..8].try_into().unwrap())
}

fn content(frame: &Mbuf) -> Vec<u8> {
    frame.segments().flatten().copied().collect()
}

/// The caller's own coat around a frame.
#[repr(transparent)]
struct Coat(Mbuf);

impl From<Mbuf> for Coat {
    fn from(frame: Mbuf) -> Self {
        Self(frame)
    }
}

impl From<Coat> for Mbuf {
    fn from(coat: Coat) -> Self {
        coat.0
    }
}

#[test]
fn a_transmit_takes_what_is_accepted_and_leaves_the_rest_in_order() {
    let pool = pool("partial", 256);
    let StartedPort { control, mut rx, mut tx, .. } = start("net_ring0", &config(&pool));
    let mut burst = heapless::Vec::<Coat, 32>::new();
    let (mut sent, mut next) = (0, 0);
    let partly = loop {
        while burst.push(Coat(numbered(&pool, next))).is_ok() {
            next += 1;
        }
        // The last one did not fit, and went back to the pool.
        let accepted = tx[0].send(&mut burst);
        sent += accepted;
        assert_eq!(burst.len(), 32 - accepted);
        if accepted < 32 {
            break accepted;
        }
    };
    assert_eq!((sent, partly), (RING_CAPACITY, RING_CAPACITY % 32));
    let left: Vec<usize> = burst.iter().map(|coat| number(&coat.0)).collect();
    assert_eq!(left, (RING_CAPACITY..next).collect::<Vec<_>>());
    assert_eq!(tx[0].send(&mut burst), 0, "a full ring accepts none");
    assert_eq!(pool.total() - pool.available(), next as u32, "on the ring or with us, none twice and none lost");

    let mut arrived = Vec::new();
    let mut into = heapless::Vec::<Coat, 32>::new();
    while rx[0].receive(&mut into) > 0 {
        arrived.extend(into.iter().map(|coat| number(&coat.0)));
        Mbuf::free_all(&mut into);
    }
    assert_eq!(arrived, (0..RING_CAPACITY).collect::<Vec<_>>());
    assert_eq!(tx[0].send(&mut burst), next - RING_CAPACITY, "what was left goes now");
    while rx[0].receive(&mut into) > 0 {
        into.clear();
    }
    assert_eq!(pool.available(), pool.total());
    let stats = control.stats().unwrap();
    assert_eq!((stats.tx_packets, stats.rx_packets), (next as u64, next as u64));
}

#[test]
fn a_receive_appends_up_to_the_free_room() {
    let pool = pool("room", 256);
    let StartedPort { mut rx, mut tx, .. } = start("net_ring1", &config(&pool));
    let mut burst: Burst = (0..20).map(|index| numbered(&pool, index)).collect();
    assert_eq!(tx[0].send(&mut burst), 20);
    let mut into = heapless::Vec::<Mbuf, 12>::new();
    into.push(numbered(&pool, 99)).unwrap();
    assert_eq!(rx[0].receive(&mut into), 11);
    assert_eq!(rx[0].receive(&mut into), 0, "no room, and nothing lost");
    assert_eq!(into.iter().map(number).collect::<Vec<_>>(), [99, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    into.clear();
    assert_eq!(rx[0].receive(&mut into), 9);
    assert_eq!(tx[0].send(&mut burst), 0, "an empty burst sends none");
    drop(into);
    assert_eq!(pool.available(), pool.total());
}

#[test]
fn queues_are_apart() {
    let pool = pool("queues", 256);
    let two = PortConfig { rx_queues: 2, tx_queues: 2, ..config(&pool) };
    let StartedPort { mut rx, mut tx, notes, .. } = start("net_ring2", &two);
    assert_eq!((rx.len(), tx.len(), rx[1].index(), tx[1].index()), (2, 2, 1, 1));
    assert!(notes.iter().any(|note| note.starts_with("net_ring2: ") && note.contains("no RSS")), "{notes:?}");
    let mut burst: Burst = [numbered(&pool, 7)].into_iter().collect();
    assert_eq!(tx[1].send(&mut burst), 1);
    assert_eq!(rx[0].receive(&mut burst), 0);
    assert_eq!(rx[1].receive(&mut burst), 1);
    assert_eq!(number(&burst[0]), 7);
}

#[test]
fn several_segments_pass_through_a_port() {
    let pool = pool("chains", 256);
    let StartedPort { mut rx, mut tx, .. } = start("net_ring3", &config(&pool));
    let mut whole = numbered(&pool, 1);
    whole.chain(numbered(&pool, 2)).unwrap();
    let expected = content(&whole);
    let mut burst: Burst = [whole].into_iter().collect();
    assert_eq!(tx[0].send(&mut burst), 1);
    assert_eq!(rx[0].receive(&mut burst), 1);
    assert_eq!((content(&burst[0]), burst[0].segments().count()), (expected, 2));
    assert_eq!(tx[0].unsendable(), 0);
}

#[test]
fn capture_files_in_and_out_with_frames_of_several_buffers() {
    let pool = pool("capture", 900);
    let device = format!("net_pcap0,rx_pcap={}", file("in.pcap").display());
    let StartedPort { control, mut rx, mut tx, notes } = start(&device, &config(&pool));
    assert_eq!(control.name(), "net_pcap0");
    assert_eq!(notes.iter().filter(|note| note.contains("exceed one buffer")).count(), 1, "{notes:?}");
    let mut burst = Burst::new();
    while burst.len() < 3 && rx[0].receive(&mut burst) > 0 {}
    assert_eq!(burst.iter().map(content).collect::<Vec<_>>(), captured());
    let segments: Vec<Vec<usize>> = burst.iter().map(|frame| frame.segments().map(<[u8]>::len).collect()).collect();
    assert_eq!(segments, [vec![60], vec![900, 100], vec![61]]);
    burst[1].trim_front(14);
    burst[1].prepend(14).unwrap()[..14].fill(0xEE);
    assert_eq!(tx[0].send(&mut burst), 3, "joined, because the driver does not say that it takes segments");
    drop((control, rx, tx));
    assert_eq!(pool.available(), pool.total());
    let mut expected = captured();
    expected[1][..14].fill(0xEE);
    assert_eq!(frames_of(&std::fs::read(file("out.pcap")).unwrap()), expected, "written when the port is closed");
}

#[test]
fn a_port_is_closed_with_its_last_queue() {
    let pool = pool("closing", 256);
    let StartedPort { control, rx, tx, .. } = start("net_pcap1", &config(&pool));
    let twice = Port::open(eal(), "net_pcap1").unwrap_err().to_string();
    assert_eq!(twice, "cannot open port net_pcap1: it is open already");
    drop((control, tx));
    assert!(Port::open(eal(), "net_pcap1").unwrap_err().to_string().contains("open already"), "a queue is left");
    drop(rx);
    let closed = Port::open(eal(), "net_pcap1").unwrap_err().to_string();
    assert!(closed.contains("or it was closed"), "{closed}");
}

#[test]
fn an_unknown_device_is_named() {
    let unknown = Port::open(eal(), "net_tap7,iface=x").unwrap_err();
    assert_eq!(
        unknown.to_string(),
        "cannot open port net_tap7: No such device (os error 19); the EAL was started without this device, no driver \
         took it, or it was closed"
    );
    assert_eq!(unknown.errno(), Some(19));
    let pci = Port::open(eal(), "03:00.0").unwrap_err().to_string();
    assert!(pci.starts_with("cannot open port 0000:03:00.0: "), "{pci}");
}

#[test]
fn a_device_says_what_it_can() {
    let port = Port::open(eal(), "net_null0").unwrap();
    let can = port.capabilities().unwrap();
    assert_eq!((port.name(), can.driver.as_str(), can.max_mtu), ("net_null0", "net_null", u16::MAX));
    assert!(can.max_rx_queues >= 1 && can.max_tx_queues >= 1);
    assert_ne!(can.mac, [0; 6]);
    assert_eq!(can.rx & RxOffloads::IPV4_CHECKSUM, RxOffloads::empty());
    assert_eq!(can.tx & TxOffloads::SEGMENTS, TxOffloads::empty());
    let pool = pool("sink", 256);
    let StartedPort { control, mut tx, .. } = port.start(&config(&pool)).unwrap();
    assert_eq!((control.mac().unwrap(), control.capabilities().unwrap()), (can.mac, can));
    let mut burst: Burst = (0..32).map(|index| numbered(&pool, index)).collect();
    assert_eq!(tx[0].send(&mut burst), 32);
    assert_eq!(pool.available(), pool.total(), "the sink frees what it takes");
    assert_eq!(control.stats().unwrap().tx_packets, 32);
    a_device_without_segments_gets_none(&pool, &mut tx[0], &control);
}

/// The sink does not say that it takes several segments.
fn a_device_without_segments_gets_none(pool: &Mempool, tx: &mut TxQueue, control: &PortControl) {
    let chain = |parts: usize| {
        let mut whole = numbered(pool, 0);
        (1..parts).for_each(|part| whole.chain(numbered(pool, part)).unwrap());
        whole
    };
    let before = control.stats().unwrap();
    // 6 parts of 60 bytes fit one buffer of 384; 7 do not.
    let mut burst: Burst = [numbered(pool, 0), chain(6), chain(7), chain(2), numbered(pool, 1)].into_iter().collect();
    assert_eq!(tx.send(&mut burst), 4);
    assert_eq!((burst.len(), tx.unsendable()), (0, 1), "the one that cannot be joined is counted and freed");
    assert_eq!(tx.unsendable_bytes(), 7 * 60);
    let after = control.stats().unwrap();
    assert_eq!(after.tx_packets - before.tx_packets, 4);
    assert_eq!(pool.available(), pool.total());
}

#[test]
fn a_link_is_up_while_its_port_runs() {
    let pool = pool("link", 256);
    let StartedPort { control, mut rx, .. } = start("net_null1", &config(&pool));
    assert!(control.link().unwrap().up && control.link().unwrap().mbps > 0);
    control.set_promiscuous(true).ok();
    let mut burst = Burst::new();
    assert_eq!(rx[0].receive(&mut burst), 32);
    assert!(burst.iter().all(|frame| frame.len() == 64));
    // From another thread, while the queue is being used here.
    let other = control.clone();
    std::thread::spawn(move || other.stats().unwrap()).join().unwrap();
    sleep(Duration::from_millis(1));
    assert_eq!(control.stats().unwrap().rx_packets, 32);
}

#[test]
fn a_wrong_number_of_queues_or_pools_is_named() {
    let pool = pool("wrong", 256);
    let none = PortConfig { rx_queues: 0, ..config(&pool) };
    let refused = Port::open(eal(), "net_ring4").unwrap().start(&none).unwrap_err().to_string();
    assert_eq!(refused, "cannot start port net_ring4: rx_queues = 0; its driver net_ring has 1 to 16");
    let pools = PortConfig { rx_queues: 3, rx_pools: vec![pool.clone(), pool.clone()], ..config(&pool) };
    let refused = Port::open(eal(), "net_ring5").unwrap().start(&pools).unwrap_err().to_string();
    assert_eq!(refused, "cannot start port net_ring5: 2 rx pools for 3 rx queues: give one, or one each");
}

#[test]
fn a_refused_mtu_is_named_with_its_limits_and_the_drivers_words() {
    let pool = pool("mtu", 256);
    let small = PortConfig { mtu: 10, ..config(&pool) };
    let refused = Port::open(eal(), "net_null2").unwrap().start(&small).unwrap_err();
    let text = refused.to_string();
    assert!(text.starts_with("cannot set the MTU of port net_null2: Invalid argument (os error 22)"), "{text}");
    assert!(text.contains("mtu = 10; its driver net_null says 46 to 65535"), "{text}");
    assert!(text.contains("MTU (10) < device min MTU (46)"), "{text}");
    assert_eq!((refused.operation(), refused.subject()), ("set the MTU of port", "net_null2"));
    assert_eq!(pool.available(), pool.total());
}
