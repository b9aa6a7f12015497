//! What is counted: one reason for every dropped frame, and what else happened.

use crate::tables::PortId;
use alloc::vec;
use alloc::vec::Vec;

macro_rules! named {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum $name {
            $($(#[$vdoc])* $variant,)*
        }

        impl $name {
            /// All of them, in the order of their numbers.
            pub const ALL: &'static [$name] = &[$($name::$variant,)*];

            /// Its name, the same in the CLI, in JSON and in metrics.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $($name::$variant => $text,)*
                }
            }
        }
    };
}

named! {
    /// Why a frame was dropped. Every dropped frame has exactly one.
    DropReason {
        /// Shorter than its own headers say, or too short for them.
        Truncated = "truncated",
        /// An IPv4 header that is none: version, header length, total length.
        MalformedIpv4 = "malformed_ipv4",
        /// An IPv6 header that is none: version, payload length.
        MalformedIpv6 = "malformed_ipv6",
        /// A UDP length that lies.
        MalformedUdp = "malformed_udp",
        /// An ARP message that is cut or of other lengths than Ethernet's and IPv4's.
        MalformedArp = "malformed_arp",
        /// A neighbour solicitation or advertisement that hosts must discard (RFC 4861 §7.1).
        MalformedNd = "malformed_nd",
        /// An outer IPv4 header whose checksum is wrong.
        OuterChecksum = "outer_checksum",
        /// A fragment of an outer datagram: tunnels are not reassembled.
        OuterFragment = "outer_fragment",
        /// A VLAN that no segment has on that port.
        UnknownVlan = "unknown_vlan",
        /// A VNI that no segment has.
        UnknownVni = "unknown_vni",
        /// A VSID that no segment has.
        UnknownVsid = "unknown_vsid",
        /// VXLAN without the I flag (RFC 7348 §5).
        VxlanFlags = "vxlan_flags",
        /// GRE that is no NVGRE: another version or protocol, a checksum or sequence number, no key (RFC 7637 §3.2).
        GreFlags = "gre_flags",
        /// Geneve of another version or protocol, a control packet, or with critical options (RFC 8926 §3.4, §3.5).
        GeneveFlags = "geneve_flags",
        /// From a peer that the bridge does not list, where it asks for that.
        PeerNotListed = "peer_not_listed",
        /// A VLAN tag of its own, from or to a tunnel whose segment does not carry tags (RFC 7348 §6.1), or to an untagged
        /// segment, where it would be taken for another VLAN's.
        InnerTag = "inner_tag",
        /// A source MAC that no host has: multicast, zero, this gateway's own, or, where it came in without a tunnel, another
        /// gateway's DVR MAC.
        SourceMac = "source_mac",
        /// To 01-80-C2-00-00-0x, which is never forwarded (IEEE 802.1Q §8.6.3).
        LinkLocalControl = "link_local_control",
        /// From a MAC or an address that is not its sender's, or a claim on an address that is another's.
        Spoofed = "spoofed",
        /// Asks for an address of which nothing is known, on a bridge that does not flood those.
        UnknownTarget = "unknown_target",
        /// On the underlay, and nothing that this gateway serves or learns from.
        NotForUs = "not_for_us",
        /// To a MAC that is where the frame came from.
        SameSegment = "same_segment",
        /// From a tunnel to a tunnel of the same full mesh.
        SplitHorizon = "split_horizon",
        /// To be flooded, and the bridge has no other place.
        NoFloodTarget = "no_flood_target",
        /// To a MAC that is not known, on a bridge that does not flood those.
        UnknownUnicast = "unknown_unicast",
        /// To be flooded, and its bridge's port has brought as many of those as it may for now.
        Storm = "storm",
        /// Congestion was marked on the outer header and cannot be on the inner one (RFC 6040 §4.2).
        EcnCongestion = "ecn_congestion",
        /// Larger than the MTU of the port it would leave by.
        MtuExceeded = "mtu_exceeded",
        /// To a peer that is not there any more.
        PeerGone = "peer_gone",
        /// To a peer outside the vtep's net, which has no gateway.
        NoRoute = "no_route",
        /// The next hop did not answer.
        NextHopFailed = "next_hop_failed",
        /// The next hop is being resolved, and enough frames wait already.
        HoldFull = "hold_full",
        /// The table of next hops is full.
        NeighbourTableFull = "neighbour_table_full",
        /// No packet buffer was free.
        NoMbuf = "no_mbuf",
        /// The buffer has no room for the headers.
        NoHeadroom = "no_headroom",
        /// The device took no more.
        TxFull = "tx_full",
        /// It waited for its next hop when the gateway stopped.
        Stopped = "stopped",
        /// To a router, with an IPv4 header whose checksum is wrong.
        IpChecksum = "ip_checksum",
        /// To a router, with a source route: none is followed (RFC 7126 §4.3, RFC 5095).
        SourceRoute = "source_route",
        /// To a router, from or to an address that packets are not routed from or to: a group's, a whole net's, loopback, or
        /// link-local (RFC 1812 §5.3.7, RFC 4291 §2.5.6).
        Martian = "martian",
        /// A router had no hop left for it (TTL, hop limit).
        TtlExceeded = "ttl_exceeded",
        /// A router has no route to it.
        Unroutable = "unroutable",
        /// A router's route to it is a blackhole.
        Blackhole = "blackhole",
        /// Between a router's way out and its bridges, without NAT, where that is not let through.
        Prohibited = "prohibited",
        /// Nobody has its address, or the next hop's, on the bridge that it was routed to.
        HostUnreachable = "host_unreachable",
        /// Too many wait already for hosts to be found on the bridge that it was routed to.
        ResolveFull = "resolve_full",
        /// Too large for the way on, and not to be fragmented.
        FragmentationNeeded = "fragmentation_needed",
        /// To a router itself, which has nothing there.
        PortUnreachable = "port_unreachable",
        /// A router advertisement of another gateway, on a bridge where this one is the router.
        RouterElsewhere = "router_elsewhere",
    }
}

named! {
    /// What happened besides frames coming and going.
    Event {
        /// A MAC was learned that was not known. A MAC that another worker learned is counted there.
        Learned = "learned",
        /// A learned MAC turned up elsewhere.
        Moved = "moved",
        /// A MAC moved too often within 180 s, and stays where it is for as long (RFC 7432 §15.1).
        Frozen = "frozen",
        /// A frozen MAC turned up elsewhere, and stays where it is.
        FrozenMacElsewhere = "frozen_mac_elsewhere",
        /// A learned MAC was forgotten, by each worker for itself.
        Aged = "aged",
        /// A MAC was not learned: its bridge has as many as it may.
        MacLimit = "mac_limit",
        /// A MAC was not learned: the table is full.
        MacTableFull = "mac_table_full",
        /// A MAC was not learned: no number is left for the peer it is at.
        PeerTableFull = "peer_table_full",
        /// A configured MAC turned up elsewhere, and stays where it is.
        ConfiguredMacElsewhere = "configured_mac_elsewhere",
        /// A bridge's port brought more than it may: counted once a second for each class.
        StormSeconds = "storm_seconds",
        /// A frame was flooded.
        Flooded = "flooded",
        /// An ARP request for a vtep, or for a gateway address, was answered.
        ArpAnswered = "arp_answered",
        /// A neighbour solicitation for a vtep, or for a gateway address, was answered.
        NdAnswered = "nd_answered",
        /// A ping to a vtep, or to a gateway address, was answered.
        EchoAnswered = "echo_answered",
        /// An ARP request was sent for a next hop.
        ArpAsked = "arp_asked",
        /// A neighbour solicitation was sent for a next hop.
        NdAsked = "nd_asked",
        /// A next hop answered.
        NeighbourConfirmed = "neighbour_confirmed",
        /// A next hop did not.
        NeighbourFailed = "neighbour_failed",
        /// An ARP request was answered for the owner of the address.
        ArpSuppressed = "arp_suppressed",
        /// A neighbour solicitation was.
        NdSuppressed = "nd_suppressed",
        /// An address was learned that was not known.
        BindingLearned = "binding_learned",
        /// An address turned up with another MAC.
        BindingMoved = "binding_moved",
        /// The owner of a binding was asked whether it is there.
        BindingProbed = "binding_probed",
        /// A learned binding was forgotten: its owner is silent, or may not hold it any more.
        BindingAged = "binding_aged",
        /// A binding was not learned: its bridge has as many as it may.
        BindingLimit = "binding_limit",
        /// A binding was not learned: the table is full.
        BindingTableFull = "binding_table_full",
        /// What was learned could not be passed on: too much waits. It is offered again.
        OfferFull = "offer_full",
        /// A router told a host why its packet was dropped.
        IcmpSent = "icmp_sent",
        /// It did not: it had told as many as it may for now.
        IcmpLimited = "icmp_limited",
        /// A packet was cut in fragments.
        Fragmented = "fragmented",
        /// A host on a routed bridge was asked for.
        HostAsked = "host_asked",
        /// It did not answer.
        HostFailed = "host_failed",
        /// A router advertised itself on a bridge, or to who asked.
        RouterAdvertised = "router_advertised",
        /// What was learned was kept from a worker that stands still.
        NewsFull = "news_full",
    }
}

/// A worker's counters. Plain numbers: only the worker writes them, and it copies them between bursts for who asks.
#[derive(Clone, Debug)]
pub struct Counters {
    /// By port × number of reasons + reason.
    drops: Vec<u64>,
    events: [u64; Event::ALL.len()],
    /// Frames received.
    pub received: u64,
    /// Frames made here: flood copies and questions.
    pub originated: u64,
    /// Frames given to the ports.
    pub sent: u64,
    /// Frames for the gateway itself that taught it something, and went no further: answers of next hops, and of owners of
    /// bindings.
    pub consumed: u64,
}

impl Counters {
    /// All zero.
    pub fn new(ports: usize) -> Self {
        let drops = vec![0; ports * DropReason::ALL.len()];
        Self { drops, events: [0; Event::ALL.len()], received: 0, originated: 0, sent: 0, consumed: 0 }
    }

    /// Counts a frame dropped that came in on a port, or was to leave by it if it was made here.
    #[inline]
    pub fn drop(&mut self, port: PortId, reason: DropReason) {
        if let Some(count) = self.drops.get_mut(port.index() * DropReason::ALL.len() + reason as usize) {
            *count += 1;
        }
    }

    /// How many frames of a port were dropped for a reason.
    pub fn dropped(&self, port: PortId, reason: DropReason) -> u64 {
        self.drops.get(port.index() * DropReason::ALL.len() + reason as usize).copied().unwrap_or(0)
    }

    /// How many frames were dropped in all.
    pub fn dropped_total(&self) -> u64 {
        self.drops.iter().sum()
    }

    /// Counts an event.
    #[inline]
    pub fn count(&mut self, event: Event) {
        self.events[event as usize] += 1;
    }

    /// How often an event happened.
    pub fn counted(&self, event: Event) -> u64 {
        self.events[event as usize]
    }

    /// Takes over another's counts without allocating, where both are of as many ports.
    pub fn copy_from(&mut self, other: &Counters) {
        self.drops.clone_from(&other.drops);
        self.events = other.events;
        (self.received, self.originated) = (other.received, other.originated);
        (self.sent, self.consumed) = (other.sent, other.consumed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_fit_a_metric() {
        let mut names: std::vec::Vec<_> = DropReason::ALL.iter().map(|r| r.as_str()).collect();
        names.extend(Event::ALL.iter().map(|e| e.as_str()));
        assert!(names.iter().all(|n| n.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')));
        names.sort_unstable();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count);
    }

    #[test]
    fn each_port_and_reason_has_a_counter_of_its_own() {
        let mut c = Counters::new(3);
        for (i, &reason) in DropReason::ALL.iter().enumerate() {
            for _ in 0..=i {
                c.drop(PortId(2), reason);
            }
        }
        for (i, &reason) in DropReason::ALL.iter().enumerate() {
            assert_eq!((c.dropped(PortId(2), reason), c.dropped(PortId(1), reason)), (i as u64 + 1, 0));
        }
        c.drop(PortId(3), DropReason::Truncated);
        assert_eq!(c.dropped_total(), (1..=DropReason::ALL.len() as u64).sum());
    }
}
