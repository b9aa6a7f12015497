//! The traffic: which frames come in, and which must go out.
//!
//! Owns: the two cases, their flows, MACs and addresses. A flow is one 5-tuple and, in a trace, one frame per round.
//! Its number and the round stand in the payload, so that a frame at the sink says which one it was.

use crate::frame::{INNER_LENGTH, Inner, Mac, OVERHEAD, Outer, PAYLOAD_LENGTH, tagged};
use crate::pcap::Writer;
use anyhow::{Result, ensure};
use std::fmt;
use std::net::Ipv4Addr;
use std::path::Path;

/// The VLAN that the local hosts are on.
pub const VID: u16 = 100;
/// The VXLAN network that the remote hosts are on.
pub const VNI: u32 = 10_000;
/// The gateway's tunnel endpoint.
pub const VTEP: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
/// The remote tunnel endpoint.
pub const PEER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
/// The remote tunnel endpoint's MAC.
pub const PEER_MAC: Mac = [0x02, 0x57, 0x45, 0x49, 0x52, 0x02];
/// The most flows: what the addresses below leave room for, and one packet buffer each still fits a machine.
pub const MOST_FLOWS: u32 = 1 << 22;
/// The first of the dynamic ports (RFC 6335 §6), which VXLAN's source port is taken from (RFC 7348 §5).
pub const FIRST_DYNAMIC_PORT: u16 = 49_152;

/// Which way the frames go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Case {
    /// Tagged frames come in and leave in VXLAN.
    VlanVxlan,
    /// VXLAN frames come in and leave tagged.
    VxlanVlan,
}

impl Case {
    /// Both.
    pub const ALL: [Case; 2] = [Case::VlanVxlan, Case::VxlanVlan];

    /// As on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Case::VlanVxlan => "vlan-vxlan",
            Case::VxlanVlan => "vxlan-vlan",
        }
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What traffic there is.
#[derive(Clone, Copy, Debug)]
pub struct Traffic {
    /// Which way it goes.
    pub case: Case,
    /// How many 5-tuples.
    pub flows: u32,
    /// How many source MACs, and as many destination MACs.
    pub macs: u32,
}

impl Traffic {
    /// Refuses no flows, too many, and more MACs than flows could show.
    pub fn new(case: Case, flows: u32, macs: u32) -> Result<Self> {
        ensure!((1..=MOST_FLOWS).contains(&flows), "--flows {flows}: expected 1 to {MOST_FLOWS}");
        ensure!((1..=flows).contains(&macs), "--macs {macs}: expected 1 to the number of flows, {flows}");
        Ok(Self { case, flows, macs })
    }

    /// The MAC of the nth host that sends.
    pub fn source(n: u32) -> Mac {
        let [a, b, c, d] = n.to_be_bytes();
        [0x02, 0x0a, a, b, c, d]
    }

    /// The MAC of the nth host that is sent to.
    pub fn destination(n: u32) -> Mac {
        let [a, b, c, d] = n.to_be_bytes();
        [0x02, 0x0b, a, b, c, d]
    }

    /// Bytes of a frame as it comes in.
    pub fn input_length(&self) -> usize {
        match self.case {
            Case::VlanVxlan => INNER_LENGTH + 4,
            Case::VxlanVlan => INNER_LENGTH + OVERHEAD,
        }
    }

    /// The frame that the tenant's host made. Where there are fewer MACs than flows, every source still talks to
    /// several destinations.
    fn inner(&self, flow: u32, round: u32) -> [u8; INNER_LENGTH] {
        let mut payload = *b"weir-bench........";
        payload[PAYLOAD_LENGTH - 8..PAYLOAD_LENGTH - 4].copy_from_slice(&flow.to_be_bytes());
        payload[PAYLOAD_LENGTH - 4..].copy_from_slice(&round.to_be_bytes());
        Inner {
            destination: Self::destination((flow + flow / self.macs) % self.macs),
            source: Self::source(flow % self.macs),
            from: Ipv4Addr::from_bits(u32::from_be_bytes([10, 0, 0, 0]) + 1 + flow),
            to: Ipv4Addr::from_bits(u32::from_be_bytes([10, 128, 0, 0]) + 1 + flow),
            from_port: 1024 + (flow % 60_000) as u16,
            to_port: 53,
            payload,
        }
        .bytes()
    }

    /// The frame as it comes in. `gateway` is the MAC of the port it comes in on.
    pub fn input(&self, flow: u32, round: u32, gateway: Mac) -> Vec<u8> {
        let inner = self.inner(flow, round);
        match self.case {
            Case::VlanVxlan => tagged(VID, &inner),
            Case::VxlanVlan => {
                let from_port = FIRST_DYNAMIC_PORT + (flow.wrapping_mul(0x9e37_79b1) >> 18) as u16;
                Outer { destination: gateway, source: PEER_MAC, from: PEER, to: VTEP, from_port, vni: VNI }
                    .encapsulate(&inner)
            }
        }
    }

    /// The frame as it must go out. `gateway` is the MAC of the port it leaves on; `from_port` is the one number that
    /// the gateway may choose.
    pub fn output(&self, flow: u32, round: u32, gateway: Mac, from_port: u16) -> Vec<u8> {
        let inner = self.inner(flow, round);
        match self.case {
            Case::VlanVxlan => {
                Outer { destination: PEER_MAC, source: gateway, from: VTEP, to: PEER, from_port, vni: VNI }
                    .encapsulate(&inner)
            }
            Case::VxlanVlan => tagged(VID, &inner),
        }
    }

    /// The flow and the round that a frame at the sink says it is of.
    pub fn identify(&self, frame: &[u8]) -> Option<(u32, u32)> {
        let (rest, round) = frame.split_last_chunk::<4>()?;
        let (_, flow) = rest.split_last_chunk::<4>()?;
        let flow = u32::from_be_bytes(*flow);
        (flow < self.flows).then_some((flow, u32::from_be_bytes(*round)))
    }

    /// Writes a capture with every flow's frame, `rounds` times over.
    pub fn write(&self, path: &Path, rounds: u32, gateway: Mac) -> Result<()> {
        let mut file = Writer::create(path)?;
        for round in 0..rounds {
            for flow in 0..self.flows {
                file.frame(&self.input(flow, round, gateway))?;
            }
        }
        file.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pcap::Reader;
    use std::collections::HashSet;

    const GATEWAY: Mac = [2, 0, 0, 0, 0, 1];

    fn traffic(case: Case) -> Traffic {
        Traffic::new(case, 1000, 64).unwrap()
    }

    #[test]
    fn flows_and_macs_are_as_many_as_asked_for() {
        for case in Case::ALL {
            let traffic = traffic(case);
            let tuples: HashSet<_> = (0..1000).map(|f| traffic.inner(f, 0)[26..38].to_vec()).collect();
            let sources: HashSet<_> = (0..1000).map(|f| traffic.inner(f, 0)[6..12].to_vec()).collect();
            let destinations: HashSet<_> = (0..1000).map(|f| traffic.inner(f, 0)[..6].to_vec()).collect();
            assert_eq!((tuples.len(), sources.len(), destinations.len()), (1000, 64, 64));
        }
    }

    #[test]
    fn a_frame_says_which_one_it_was_on_either_side() {
        for case in Case::ALL {
            let traffic = traffic(case);
            assert_eq!(traffic.identify(&traffic.input(7, 3, GATEWAY)), Some((7, 3)));
            assert_eq!(traffic.identify(&traffic.output(999, 0, GATEWAY, 50_000)), Some((999, 0)));
            assert_eq!(traffic.identify(&[0xff; 60]), None);
            assert_eq!(traffic.identify(&[0; 7]), None);
        }
    }

    #[test]
    fn frames_have_the_length_that_the_case_says() {
        assert_eq!(traffic(Case::VlanVxlan).input(0, 0, GATEWAY).len(), 64);
        assert_eq!(traffic(Case::VlanVxlan).output(0, 0, GATEWAY, 50_000).len(), 110);
        assert_eq!(traffic(Case::VxlanVlan).input(0, 0, GATEWAY).len(), 110);
        assert_eq!(traffic(Case::VxlanVlan).output(0, 0, GATEWAY, 50_000).len(), 64);
        assert_eq!(traffic(Case::VxlanVlan).input_length(), 110);
    }

    #[test]
    fn a_tunnelled_frame_is_for_the_gateway_and_from_the_peer() {
        let frame = traffic(Case::VxlanVlan).input(5, 0, GATEWAY);
        assert_eq!((&frame[..6], &frame[6..12]), (&GATEWAY[..], &PEER_MAC[..]));
        assert_eq!((&frame[26..30], &frame[30..34]), (&PEER.octets()[..], &VTEP.octets()[..]));
        assert!(u16::from_be_bytes([frame[34], frame[35]]) >= FIRST_DYNAMIC_PORT);
    }

    #[test]
    fn a_capture_holds_every_round_of_every_flow() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("trace.pcap");
        let traffic = Traffic::new(Case::VlanVxlan, 3, 3).unwrap();
        traffic.write(&path, 2, GATEWAY).unwrap();
        let mut reader = Reader::open(&path).unwrap();
        let mut seen = Vec::new();
        while let Some(frame) = reader.frame().unwrap() {
            seen.push(traffic.identify(&frame).unwrap());
        }
        assert_eq!(seen, [(0, 0), (1, 0), (2, 0), (0, 1), (1, 1), (2, 1)]);
    }

    #[test]
    fn numbers_that_make_no_trace_are_refused() {
        for (flows, macs) in [(0, 0), (MOST_FLOWS + 1, 1), (10, 11), (10, 0)] {
            assert!(Traffic::new(Case::VlanVxlan, flows, macs).is_err(), "{flows} {macs}");
        }
    }
}
