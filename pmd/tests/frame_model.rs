//! Any sequence of operations on a frame does what it does to a byte vector, and loses no buffer.

use std::sync::OnceLock;

use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use weir_pmd::{Eal, EalConfig, HEADROOM, Mbuf, Mempool};

/// Small buffers, so that every limit is met often.
const DATA_ROOM: u16 = 40;

const BUFFER: usize = HEADROOM + DATA_ROOM as usize;

#[derive(Clone, Debug)]
enum Step {
    Pull(usize),
    Prepend(usize),
    TrimFront(usize),
    Truncate(usize),
    Append(usize),
    Chain(Vec<Vec<u8>>),
    Copy,
}

fn parts() -> impl Strategy<Value = Vec<Vec<u8>>> {
    prop::collection::vec(prop::collection::vec(any::<u8>(), 0..=usize::from(DATA_ROOM)), 1..5)
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..200_usize).prop_map(Step::Pull),
        2 => (0..140_usize).prop_map(Step::Prepend),
        4 => (0..60_usize).prop_map(Step::TrimFront),
        2 => (0..200_usize).prop_map(Step::Truncate),
        2 => (0..45_usize).prop_map(Step::Append),
        3 => parts().prop_map(Step::Chain),
        1 => Just(Step::Copy),
    ]
}

fn pool() -> &'static Mempool {
    static POOL: OnceLock<(Eal, Mempool)> = OnceLock::new();
    let (_, pool) = POOL.get_or_init(|| {
        let file_prefix = "weir-test-model".to_owned();
        let config = EalConfig { memory_mib: 32, hugepages: false, file_prefix, ..EalConfig::default() };
        let eal = Eal::start(&config).unwrap();
        let pool = Mempool::new(&eal, "model", 1023, DATA_ROOM).unwrap();
        (eal, pool)
    });
    pool
}

fn frame(parts: &[Vec<u8>]) -> Mbuf {
    let mut frames = parts.iter().map(|part| {
        let mut frame = pool().alloc().unwrap();
        frame.append(part.len()).unwrap().copy_from_slice(part);
        frame
    });
    let mut whole = frames.next().unwrap();
    frames.for_each(|next| whole.chain(next).unwrap());
    whole
}

/// Does one step to the frame and to its model, and compares what each said.
fn apply(step: Step, frame: &mut Mbuf, model: &mut Vec<u8>) {
    match step {
        Step::Pull(n) => {
            assert_eq!(frame.pull(n), n <= model.len() && n <= BUFFER);
            assert!(n > model.len() || n > BUFFER || frame.head().len() >= n);
        }
        Step::Prepend(n) => {
            let fits = n <= frame.headroom();
            let head = frame.prepend(n);
            assert_eq!(head.is_some(), fits);
            if let Some(head) = head {
                head[..n].fill(0xC3);
                model.splice(..0, vec![0xC3; n]);
            }
        }
        Step::TrimFront(n) => {
            let n = n.min(frame.head().len());
            frame.trim_front(n);
            model.drain(..n);
        }
        Step::Truncate(len) => {
            frame.truncate(len);
            model.truncate(len);
        }
        Step::Append(n) => {
            if let Some(added) = frame.append(n) {
                added.fill(0x3C);
                model.extend(vec![0x3C; n]);
            }
        }
        Step::Chain(parts) => {
            frame.chain(self::frame(&parts)).unwrap();
            model.extend(parts.concat());
        }
        Step::Copy => {
            *frame = pool().copy(frame).unwrap();
            assert_eq!(frame.headroom(), HEADROOM);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, rng_seed: RngSeed::Fixed(22), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_frame_behaves_like_its_bytes(first in parts(), steps in prop::collection::vec(step(), 0..24)) {
        let mut frame = frame(&first);
        let mut model = first.concat();
        for step in steps {
            apply(step, &mut frame, &mut model);
            let content: Vec<u8> = frame.segments().flatten().copied().collect();
            prop_assert_eq!(&content, &model);
            prop_assert_eq!(frame.len(), model.len());
            let segments = frame.segments().count();
            prop_assert_eq!(frame.is_segmented(), segments > 1);
            prop_assert!(model.is_empty() || !frame.head().is_empty(), "the first segment is never empty");
            prop_assert_eq!(pool().total() - pool().available(), segments as u32);
        }
        drop(frame);
        prop_assert_eq!(pool().available(), pool().total());
    }
}
