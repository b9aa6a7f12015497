//! Routing judged by a plain model: random networks and packets, each packet sent several times between changes.
//!
//! `model.rs` was written from the RFCs, not from the gateway. What leaves, and what drops are counted, must be one of its answers
//! for every frame, and every buffer and frame must end in exactly one way. A failure names its seed; `MODEL_SEED=n` runs it
//! alone.

mod bytes;
mod change;
mod compare;
mod elsewhere;
mod facts;
mod hops;
mod hosts;
mod model;
mod nets;
mod packets;
mod rng;
mod topology;
mod world;

use change::{Change, change};
use packets::{Packet, twin};
use rng::Rng;
use world::World;

/// How many networks there are.
const NETWORKS: u64 = 150;
/// How often something changes in each.
const ROUNDS: usize = 8;
/// How many bursts there are between two changes.
const BURSTS: usize = 6;

/// One network with all its changes. Answers how many frames were sent.
fn run(seed: u64) -> Result<usize, String> {
    let mut rng = Rng::new(seed);
    let mut world = World::new(&mut rng);
    let mut packets: Vec<Packet> = (0..6).map(|_| Packet::random(&mut rng, &world.t)).collect();
    let mut sent = 0;
    for round in 0..ROUNDS {
        packets.extend((0..3).map(|_| Packet::random(&mut rng, &world.t)));
        let of = rng.pick(&packets).clone();
        packets.extend(twin(&mut rng, &world.t, &of));
        for _ in 0..BURSTS {
            let out = world.burst(&mut rng, &packets);
            sent += out.map_err(|why| format!("round {round}: {why}\n{:?}", world.t))?;
        }
        world.wait(&mut rng)?;
        match change(&mut rng, &mut world.t, &mut world.snapshot) {
            Change::Routes => world.flows.clear(),
            // What a router may tell fills as time passes.
            Change::Other("icmp_limit") => world.now = world.now + 1000,
            Change::HopGone | Change::Other(_) => {}
        }
    }
    Ok(sent)
}

/// Runs a test over networks, and fails with what the first that failed says.
fn over(networks: u64, run: impl Fn(u64) -> Result<usize, String>) {
    let number = |name| std::env::var(name).ok().map(|n| n.parse::<u64>().expect("a number"));
    let seeds = number("MODEL_SEED").map_or(0..number("MODEL_NETWORKS").unwrap_or(networks), |seed| seed..seed + 1);
    let (mut sent, mut failures) = (0, Vec::new());
    for seed in seeds {
        match run(seed) {
            Ok(frames) => sent += frames,
            Err(why) => failures.push(format!("seed {seed}: {why}")),
        }
    }
    println!("{sent} frames");
    assert!(failures.is_empty(), "{} networks failed; the first:\n{}", failures.len(), failures[0]);
}

#[test]
fn every_packet_becomes_what_the_model_says() {
    over(NETWORKS, run);
}

#[test]
fn hosts_that_are_not_configured_are_found_or_given_up() {
    over(NETWORKS, hosts::run);
}

#[test]
fn a_flow_keeps_its_next_hop() {
    over(3, hops::run);
}

#[test]
fn what_another_gateway_has_routed_is_delivered_as_it_is() {
    over(NETWORKS, elsewhere::run);
}
