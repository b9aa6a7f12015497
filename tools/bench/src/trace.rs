//! The traffic: which frames come in, and which must go out.
//!
//! Owns: the cases, their flows, MACs and addresses. A flow is one 5-tuple and, in a trace, one frame per round. Its
//! number and the round stand in the payload, so that a frame at the sink says which one it was. An ARP request has no
//! payload: there a flow is one host that asks for one other.

use crate::frame::{Arp, INNER_LENGTH, Inner, Mac, Outer, PAYLOAD_LENGTH, TTL, Tunnel, tagged};
use crate::pcap::Writer;
use crate::routed::{self, DEFAULT_ROUTES, MOST_ROUTES};
use anyhow::{Result, ensure};
use std::fmt;
use std::net::Ipv4Addr;
use std::path::Path;

/// The VLAN that the local hosts are on.
pub const VID: u16 = 100;
/// The VXLAN network that the remote hosts are on.
pub const VNI: u32 = 10_000;
/// The NVGRE network, where it is one.
pub const VSID: u32 = 5000;
/// The Geneve network, where it is one.
pub const GENEVE_VNI: u32 = 20_000;
/// The gateway's tunnel endpoint.
pub const VTEP: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
/// The first remote tunnel endpoint.
pub const PEER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
/// The first remote tunnel endpoint's MAC.
pub const PEER_MAC: Mac = [0x02, 0x57, 0x45, 0x49, 0x52, 0x02];
/// Remote tunnel endpoints that a flooded frame goes to.
pub const FLOOD_PEERS: u32 = 16;
/// The most flows: what the addresses below leave room for, and one packet buffer each still fits a machine.
pub const MOST_FLOWS: u32 = 1 << 22;
/// The first of the dynamic ports (RFC 6335 §6), which the source port of VXLAN and Geneve is taken from (RFC 7348 §5,
/// RFC 8926 §3.3).
pub const FIRST_DYNAMIC_PORT: u16 = 49_152;

/// What comes in, and what leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Case {
    /// Tagged frames come in and leave in VXLAN.
    VlanVxlan,
    /// VXLAN frames come in and leave tagged.
    VxlanVlan,
    /// Tagged frames come in and leave in NVGRE.
    VlanNvgre,
    /// NVGRE frames come in and leave tagged.
    NvgreVlan,
    /// Tagged frames come in and leave in Geneve.
    VlanGeneve,
    /// ARP requests for configured hosts come in, and answers leave where they came from.
    Arp,
    /// Broadcasts come in tagged, and a copy leaves to each of 16 VXLAN peers.
    Flood,
    /// VXLAN frames to a router come in, and leave routed in another VXLAN network.
    Route,
    /// Tagged frames to a router come in, and leave routed in another VLAN.
    RouteVlan,
}

impl Case {
    /// All of them.
    pub const ALL: [Case; 9] = [
        Case::VlanVxlan,
        Case::VxlanVlan,
        Case::VlanNvgre,
        Case::NvgreVlan,
        Case::VlanGeneve,
        Case::Arp,
        Case::Flood,
        Case::Route,
        Case::RouteVlan,
    ];

    /// As on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Case::VlanVxlan => "vlan-vxlan",
            Case::VxlanVlan => "vxlan-vlan",
            Case::VlanNvgre => "vlan-nvgre",
            Case::NvgreVlan => "nvgre-vlan",
            Case::VlanGeneve => "vlan-geneve",
            Case::Arp => "arp",
            Case::Flood => "flood",
            Case::Route => "route",
            Case::RouteVlan => "route-vlan",
        }
    }

    /// The tunnel on the bridge that frames come from.
    pub fn tunnel(self) -> Tunnel {
        match self {
            Case::VlanVxlan | Case::VxlanVlan | Case::Arp | Case::Flood => Tunnel::Vxlan(VNI),
            Case::Route | Case::RouteVlan => Tunnel::Vxlan(VNI),
            Case::VlanNvgre | Case::NvgreVlan => Tunnel::Nvgre(VSID),
            Case::VlanGeneve => Tunnel::Geneve(GENEVE_VNI),
        }
    }

    /// Whether frames come in by the tunnel, and not tagged.
    pub fn comes_tunnelled(self) -> bool {
        matches!(self, Case::VxlanVlan | Case::NvgreVlan | Case::Route)
    }

    /// Whether frames leave by the tunnel, and not tagged.
    pub fn leaves_tunnelled(self) -> bool {
        matches!(self, Case::VlanVxlan | Case::VlanNvgre | Case::VlanGeneve | Case::Flood | Case::Route)
    }

    /// Whether frames leave by the port that they come in on.
    pub fn returns(self) -> bool {
        matches!(self, Case::Arp | Case::Route)
    }

    /// Whether a router's two bridges are what they go between.
    pub fn is_routed(self) -> bool {
        matches!(self, Case::Route | Case::RouteVlan)
    }

    /// Remote tunnel endpoints, and how many frames leave for each that came.
    pub fn copies(self) -> u32 {
        if self == Case::Flood { FLOOD_PEERS } else { 1 }
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The address and the MAC of the nth remote tunnel endpoint.
pub fn peer(n: u32) -> (Ipv4Addr, Mac) {
    let mut mac = PEER_MAC;
    mac[5] = mac[5].wrapping_add(n as u8);
    (Ipv4Addr::from_bits(PEER.to_bits() + n), mac)
}

/// What traffic there is.
#[derive(Clone, Copy, Debug)]
pub struct Traffic {
    /// Which way it goes.
    pub case: Case,
    /// How many 5-tuples; of ARP, pairs of hosts.
    pub flows: u32,
    /// How many source MACs, and unless they are routed, as many destination MACs.
    pub macs: u32,
    /// Configured routes of the router; zero where there is none.
    pub routes: u32,
}

/// Which frame it is that leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The flow's number.
    pub flow: u32,
    /// The round's number; `None` where frames of all rounds are the same.
    pub round: Option<u32>,
    /// Which of the copies, by peer.
    pub copy: u32,
}

impl Traffic {
    /// Refuses no flows, too many, and more MACs than flows could show.
    pub fn new(case: Case, flows: u32, macs: u32) -> Result<Self> {
        ensure!((1..=MOST_FLOWS).contains(&flows), "--flows {flows}: expected 1 to {MOST_FLOWS}");
        ensure!((1..=flows).contains(&macs), "--macs {macs}: expected 1 to the number of flows, {flows}");
        Ok(Self { case, flows, macs, routes: if case.is_routed() { DEFAULT_ROUTES } else { 0 } })
    }

    /// The same with another number of routes. Refuses none, too many, and any where nothing is routed.
    pub fn with_routes(self, routes: u32) -> Result<Self> {
        ensure!(self.case.is_routed(), "--routes: --case {} has no router", self.case);
        ensure!((1..=MOST_ROUTES).contains(&routes), "--routes {routes}: expected 1 to {MOST_ROUTES}");
        Ok(Self { routes, ..self })
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

    /// The address that a flow's frames come from.
    pub fn source_address(flow: u32) -> Ipv4Addr {
        Ipv4Addr::from_bits(u32::from_be_bytes([10, 0, 0, 0]) + 1 + flow)
    }

    /// The address that a flow's frames go to.
    pub fn destination_address(flow: u32) -> Ipv4Addr {
        Ipv4Addr::from_bits(u32::from_be_bytes([10, 128, 0, 0]) + 1 + flow)
    }

    /// Which host a flow's frames go to. Where there are fewer MACs than flows, every source still talks to several
    /// destinations.
    pub fn destination_of(&self, flow: u32) -> u32 {
        (flow + flow / self.macs) % self.macs
    }

    /// The question that is a flow of ARP requests.
    fn arp(&self, flow: u32) -> Arp {
        Arp {
            sender: Self::source(flow % self.macs),
            sender_address: Self::source_address(flow),
            target: Self::destination(self.destination_of(flow)),
            target_address: Self::destination_address(flow),
        }
    }

    /// The frame that the tenant's host made.
    fn inner(&self, flow: u32, round: u32) -> [u8; INNER_LENGTH] {
        if self.case == Case::Arp { self.arp(flow).request() } else { self.packet(flow, round).bytes() }
    }

    /// The same, where it is no question.
    fn packet(&self, flow: u32, round: u32) -> Inner {
        let mut payload = *b"weir-bench........";
        payload[PAYLOAD_LENGTH - 8..PAYLOAD_LENGTH - 4].copy_from_slice(&flow.to_be_bytes());
        payload[PAYLOAD_LENGTH - 4..].copy_from_slice(&round.to_be_bytes());
        let (destination, to) = match self.case {
            Case::Flood => ([0xff; 6], Ipv4Addr::BROADCAST),
            Case::Route | Case::RouteVlan => (routed::GATEWAY_IN, routed::destination(self, flow).address),
            _ => (Self::destination(self.destination_of(flow)), Self::destination_address(flow)),
        };
        Inner {
            destination,
            source: Self::source(flow % self.macs),
            from: Self::source_address(flow),
            to,
            from_port: 1024 + (flow % 60_000) as u16,
            to_port: 53,
            ttl: TTL,
            payload,
        }
    }

    /// What a router makes of it: a hop less, to the next hop's MAC. In a tunnel it comes from the DVR MAC, else from the gateway's.
    fn onward(&self, flow: u32, round: u32) -> Inner {
        let source = if self.case.leaves_tunnelled() { routed::DVR_MAC } else { routed::GATEWAY_OUT };
        let destination = Self::destination(routed::destination(self, flow).host);
        Inner { destination, source, ttl: TTL - 1, ..self.packet(flow, round) }
    }

    /// The frame as it comes in. `gateway` is the MAC of the port it comes in on.
    pub fn input(&self, flow: u32, round: u32, gateway: Mac) -> Vec<u8> {
        let inner = self.inner(flow, round);
        if !self.case.comes_tunnelled() {
            return tagged(VID, &inner);
        }
        let entropy = FIRST_DYNAMIC_PORT + (flow.wrapping_mul(0x9e37_79b1) >> 18) as u16;
        let tunnel = self.case.tunnel();
        Outer { destination: gateway, source: PEER_MAC, from: PEER, to: VTEP, entropy, tunnel }.encapsulate(&inner)
    }

    /// The frame as it must go out, for the peer of that number where there are several. `gateway` is the MAC of the
    /// port it leaves on; `entropy` is the one number that the gateway may choose.
    pub fn output(&self, identity: Identity, gateway: Mac, entropy: u16) -> Vec<u8> {
        let Identity { flow, round, copy } = identity;
        if self.case == Case::Arp {
            let asked = self.arp(flow);
            let answer = Arp {
                sender: asked.target,
                sender_address: asked.target_address,
                target: asked.sender,
                target_address: asked.sender_address,
            };
            return tagged(VID, &answer.answer());
        }
        let round = round.unwrap_or(0);
        let routed = self.case.is_routed();
        let inner = if routed { self.onward(flow, round).bytes() } else { self.inner(flow, round) };
        if !self.case.leaves_tunnelled() {
            return tagged(if routed { routed::VID_OUT } else { VID }, &inner);
        }
        let (peer, tunnel) =
            if routed { (peer(routed::PEER_OUT), routed::TUNNEL_OUT) } else { (peer(copy), self.case.tunnel()) };
        let (to, destination) = peer;
        Outer { destination, source: gateway, from: VTEP, to, entropy, tunnel }.encapsulate(&inner)
    }

    /// What a frame at the sink says it is.
    pub fn identify(&self, frame: &[u8]) -> Option<Identity> {
        let word = |at: usize| Some(u32::from_be_bytes(*frame.get(at..)?.first_chunk()?));
        let identity = match self.case {
            // The address that answers.
            Case::Arp => {
                let flow = word(14 + 4 + 14)?.checked_sub(Self::destination_address(0).to_bits())?;
                Identity { flow, round: None, copy: 0 }
            }
            case => {
                let end = frame.len().checked_sub(8)?;
                let copy = if case == Case::Flood { word(30)?.checked_sub(PEER.to_bits())? } else { 0 };
                Identity { flow: word(end)?, round: Some(word(end + 4)?), copy }
            }
        };
        (identity.flow < self.flows && identity.copy < self.case.copies()).then_some(identity)
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

    fn identity(flow: u32, round: u32, copy: u32) -> Identity {
        Identity { flow, round: Some(round), copy }
    }

    #[test]
    fn flows_and_macs_are_as_many_as_asked_for() {
        for case in Case::ALL {
            let traffic = traffic(case);
            let one = matches!(case, Case::Flood | Case::Arp | Case::Route | Case::RouteVlan);
            // Addresses and ports; of ARP, who asks for whom.
            let tuple = if case == Case::Arp { 22..42 } else { 26..38 };
            let tuples: HashSet<_> = (0..1000).map(|f| traffic.inner(f, 0)[tuple.clone()].to_vec()).collect();
            let sources: HashSet<_> = (0..1000).map(|f| traffic.inner(f, 0)[6..12].to_vec()).collect();
            let destinations: HashSet<_> = (0..1000).map(|f| traffic.destination_of(f)).collect();
            assert_eq!((tuples.len(), sources.len(), destinations.len()), (1000, 64, 64));
            let to: HashSet<_> = (0..1000).map(|f| traffic.inner(f, 0)[..6].to_vec()).collect();
            assert_eq!(to.len(), if one { 1 } else { 64 }, "{case}");
        }
    }

    #[test]
    fn a_frame_says_which_one_it_is() {
        for case in Case::ALL {
            let traffic = traffic(case);
            for copy in 0..case.copies() {
                let identity = Identity { round: (case != Case::Arp).then_some(3), ..identity(999, 3, copy) };
                assert_eq!(traffic.identify(&traffic.output(identity, GATEWAY, 50_000)), Some(identity), "{case}");
            }
            assert_eq!(traffic.identify(&[0xff; 60]), None);
            for length in 0..8 {
                assert_eq!(traffic.identify(&[0; 8][..length]), None);
            }
        }
        // Neither a peer that there is not, nor the request itself, for what it asks is not who sends it.
        let flood = traffic(Case::Flood);
        assert_eq!(flood.identify(&flood.output(identity(1, 0, FLOOD_PEERS), GATEWAY, 50_000)), None);
        let arp = traffic(Case::Arp);
        assert_eq!(arp.identify(&arp.input(7, 0, GATEWAY)), None);
    }

    #[test]
    fn frames_have_the_length_that_the_case_says() {
        for (case, input, output) in [
            (Case::VlanVxlan, 64, 110),
            (Case::VxlanVlan, 110, 64),
            (Case::VlanNvgre, 64, 102),
            (Case::NvgreVlan, 102, 64),
            (Case::VlanGeneve, 64, 110),
            (Case::Arp, 64, 64),
            (Case::Flood, 64, 110),
            (Case::Route, 110, 110),
            (Case::RouteVlan, 64, 64),
        ] {
            let traffic = traffic(case);
            assert_eq!(traffic.input(0, 0, GATEWAY).len(), input, "{case}");
            assert_eq!(traffic.output(identity(0, 0, 0), GATEWAY, 50_000).len(), output, "{case}");
        }
    }

    #[test]
    fn a_tunnelled_frame_is_for_the_gateway_and_from_the_peer() {
        for case in [Case::VxlanVlan, Case::NvgreVlan, Case::Route] {
            let frame = traffic(case).input(5, 0, GATEWAY);
            assert_eq!((&frame[..6], &frame[6..12]), (&GATEWAY[..], &PEER_MAC[..]));
            assert_eq!((&frame[26..30], &frame[30..34]), (&PEER.octets()[..], &VTEP.octets()[..]));
            let entropies: HashSet<_> =
                (0..1000).map(|f| traffic(case).input(f, 0, GATEWAY)[case.tunnel().entropy()].to_vec()).collect();
            assert!(entropies.len() > 200, "{case} tells {} of 1000 flows apart", entropies.len());
        }
        let port = &traffic(Case::VxlanVlan).input(5, 0, GATEWAY)[34..36];
        assert!(u16::from_be_bytes([port[0], port[1]]) >= FIRST_DYNAMIC_PORT);
    }

    #[test]
    fn an_answer_is_of_the_one_who_was_asked_for_to_the_one_who_asked() {
        let traffic = traffic(Case::Arp);
        let (request, answer) = (
            traffic.input(999, 0, GATEWAY),
            traffic.output(Identity { round: None, ..identity(999, 0, 0) }, GATEWAY, 0),
        );
        assert_eq!((&answer[..6], &answer[12..16]), (&request[6..12], &request[12..16]), "to the asker, same tag");
        assert_eq!(answer[6..12], Traffic::destination(traffic.destination_of(999)));
        assert_eq!((&answer[32..36], &answer[42..46]), (&request[42..46], &request[32..36]), "addresses change places");
        assert_eq!(answer[22..26], [6, 4, 0, 2]);
    }

    #[test]
    fn every_copy_of_a_flooded_frame_is_for_a_peer_of_its_own() {
        let traffic = traffic(Case::Flood);
        let copies: HashSet<_> = (0..FLOOD_PEERS).map(|n| traffic.output(identity(0, 0, n), GATEWAY, 50_000)).collect();
        assert_eq!(copies.len(), FLOOD_PEERS as usize);
        assert_eq!(traffic.input(0, 0, GATEWAY)[..6], [0xff; 6]);
    }

    #[test]
    fn a_routed_frame_is_to_the_gateway_and_goes_on_to_the_next_hop() {
        let traffic = traffic(Case::Route);
        let (input, output) = (traffic.input(5, 0, GATEWAY), traffic.output(identity(5, 0, 0), GATEWAY, 50_000));
        assert_eq!((&input[50..56], &input[56..62]), (&routed::GATEWAY_IN[..], &Traffic::source(5)[..]));
        let next = Traffic::destination(routed::destination(&traffic, 5).host);
        assert_eq!((&output[50..56], &output[56..62]), (&next[..], &routed::DVR_MAC[..]));
        assert_eq!((input[72], output[72]), (64, 63), "a hop less");
        assert_eq!((&input[46..50], &output[46..50]), (&[0, 0x27, 0x10, 0][..], &[0, 0x27, 0x11, 0][..]), "VNI");
        assert_eq!(input[76..], output[76..], "addresses, ports and payload");
        let tagged = Traffic::new(Case::RouteVlan, 8, 8).unwrap().output(identity(5, 0, 0), GATEWAY, 0);
        assert_eq!((&tagged[6..12], &tagged[12..16]), (&routed::GATEWAY_OUT[..], &[0x81, 0, 0, 200][..]));
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
            seen.push(traffic.identify(&frame).and_then(|i| Some((i.flow, i.round?))).unwrap());
        }
        assert_eq!(seen, [(0, 0), (1, 0), (2, 0), (0, 1), (1, 1), (2, 1)]);
    }

    #[test]
    fn numbers_that_make_no_trace_are_refused() {
        for (flows, macs) in [(0, 0), (MOST_FLOWS + 1, 1), (10, 11), (10, 0)] {
            assert!(Traffic::new(Case::VlanVxlan, flows, macs).is_err(), "{flows} {macs}");
        }
        assert!(traffic(Case::Route).with_routes(MOST_ROUTES).is_ok());
        for (case, routes) in [(Case::Route, 0), (Case::Route, MOST_ROUTES + 1), (Case::VlanVxlan, 1)] {
            assert!(traffic(case).with_routes(routes).is_err(), "{case} {routes}");
        }
    }
}
