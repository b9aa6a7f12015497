//! What must hold of every parser, whatever the bytes; of every header, whatever its fields; of every checksum, whatever
//! changes.

use core::net::{Ipv4Addr, Ipv6Addr};
use std::vec::Vec;

use proptest::collection::vec;
use proptest::prelude::*;

use super::checksum::{Delta, Sum, update_u16, update_u32};
use super::*;

/// Any bytes, and often such that begin like the header in question, so that the later checks are reached.
fn bytes(start: &'static [u8]) -> impl Strategy<Value = Vec<u8>> {
    let any_bytes = vec(any::<u8>(), 0..160);
    (any_bytes, any::<bool>()).prop_map(move |(mut bytes, like)| {
        if like {
            bytes.iter_mut().zip(start).for_each(|(byte, wanted)| *byte = *wanted);
        }
        bytes
    })
}

/// Whether `part` lies inside `whole`: the same bytes in memory, not merely equal ones.
fn within(part: &[u8], whole: &[u8]) -> bool {
    let (part, whole) = (part.as_ptr_range(), whole.as_ptr_range());
    whole.start <= part.start && part.end <= whole.end
}

prop_compose! {
    fn mac()(octets: [u8; 6]) -> MacAddr {
        MacAddr(octets)
    }
}

prop_compose! {
    fn ipv4_header()(
        (class, total_len, identification, fragment) in (any::<u8>(), 20u16.., any::<u16>(), any::<u16>()),
        (ttl, protocol, source, destination) in any::<(u8, u8, u32, u32)>(),
    ) -> Ipv4Header {
        Ipv4Header {
            traffic_class: TrafficClass(class),
            total_len,
            identification,
            fragment: Fragment::from_bits(fragment),
            ttl,
            protocol: IpProtocol(protocol),
            source: Ipv4Addr::from(source),
            destination: Ipv4Addr::from(destination),
        }
    }
}

prop_compose! {
    fn ipv6_header()(
        (class, flow_label, payload_len) in (any::<u8>(), 0u32..1 << 20, any::<u16>()),
        (next, hop_limit, source, destination) in any::<(u8, u8, u128, u128)>(),
    ) -> Ipv6Header {
        Ipv6Header {
            traffic_class: TrafficClass(class),
            flow_label,
            payload_len,
            next_header: IpProtocol(next),
            hop_limit,
            source: Ipv6Addr::from(source),
            destination: Ipv6Addr::from(destination),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        rng_seed: proptest::test_runner::RngSeed::Fixed(1),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn any_bytes_into_the_link_layer(bytes in bytes(&[]), tpid: u16) {
        if let Ok((ethernet, payload)) = Ethernet::parse(&bytes) {
            prop_assert!(within(payload, &bytes) && payload.len() + EthernetHeader::LEN == bytes.len());
            let _ = std::format!("{ethernet:?}");
        } else {
            prop_assert!(bytes.len() < EthernetHeader::LEN);
        }
        if let Ok((tag, _, payload)) = Tag::parse(EtherType(tpid), &bytes) {
            prop_assert!(within(payload, &bytes) && payload.len() + 4 == bytes.len());
            prop_assert_eq!(tag.tci(), u16::from(tag.pcp()) << 13 | u16::from(tag.dei()) << 12 | tag.vid());
        }
    }

    #[test]
    fn any_bytes_into_arp(bytes in bytes(&[0, 1, 8, 0, 6, 4])) {
        if let Ok((arp, padding)) = Arp::parse(&bytes) {
            prop_assert!(within(padding, &bytes) && padding.len() + ArpHeader::LEN == bytes.len());
            let mut out = [0; ArpHeader::LEN];
            arp.header().write(&mut out);
            prop_assert_eq!(&out[..], &bytes[..ArpHeader::LEN]);
            let _ = std::format!("{arp:?} {}", arp.header());
        }
    }

    #[test]
    fn any_bytes_into_ipv4(bytes in bytes(&[0x46, 0, 0]), available in 0usize..200) {
        if let Ok((ip, payload)) = Ipv4::parse(&bytes) {
            prop_assert!(within(payload, &bytes) && within(ip.options(), &bytes));
            prop_assert_eq!(ip.header_len(), Ipv4Header::LEN + ip.options().len());
            prop_assert_eq!(ip.header_len() + payload.len(), ip.total_len());
            let _ = (ip.checksum_holds(), ip.is_source_routed(), std::format!("{ip:?} {}", ip.header()));
        }
        if let Ok(ip) = Ipv4::parse_head(&bytes, available) {
            prop_assert!(ip.total_len() <= available && ip.header_len() <= bytes.len());
        }
    }

    #[test]
    fn any_bytes_into_ipv6(bytes in bytes(&[0x60, 0, 0, 0, 0]), available in 0usize..200) {
        if let Ok((ip, payload)) = Ipv6::parse(&bytes) {
            prop_assert!(within(payload, &bytes));
            prop_assert_eq!(Ipv6Header::LEN + payload.len(), ip.total_len());
            if let Ok(upper) = ip.upper(payload) {
                prop_assert!(upper.offset <= payload.len());
            }
            let _ = std::format!("{ip:?} {}", ip.header());
        }
        if let Ok(ip) = Ipv6::parse_head(&bytes, available) {
            prop_assert!(ip.total_len() <= available);
        }
    }

    #[test]
    fn any_extension_headers(first: u8, chain in vec((any::<prop::sample::Index>(), 0u8..3, any::<[u8; 6]>()), 0..12)) {
        const KINDS: [u8; 10] = [0, 6, 17, 43, 44, 50, 51, 59, 60, 135];
        let mut payload = Vec::new();
        for (kind, len, rest) in &chain {
            payload.extend([*kind.get(&KINDS), *len]);
            payload.extend(rest);
        }
        let mut fixed = [0; Ipv6Header::LEN];
        (fixed[0], fixed[6]) = (0x60, KINDS[usize::from(first) % KINDS.len()]);
        let (ip, _) = Ipv6::parse(&fixed).unwrap();
        match ip.upper(&payload) {
            Ok(upper) => {
                prop_assert!(upper.offset <= payload.len());
                prop_assert_eq!(upper.fragment.is_none() && upper.routed && upper.offset == 0, false);
            }
            Err(malformed) => {
                prop_assert!(matches!(malformed, Malformed::Truncated | Malformed::TooManyExtensions));
            }
        }
    }

    #[test]
    fn any_bytes_into_udp(bytes in bytes(&[0, 53, 0, 53, 0]), available in 0usize..200) {
        if let Ok((udp, payload)) = Udp::parse(&bytes) {
            prop_assert!(within(payload, &bytes));
            prop_assert_eq!(UdpHeader::LEN + payload.len(), udp.len());
            let _ = (udp.checksum_holds(Sum::new(), payload), std::format!("{udp:?} {}", udp.header()));
        }
        if let Ok(udp) = Udp::parse_head(&bytes, available) {
            prop_assert!(udp.len() <= available && udp.len() >= UdpHeader::LEN);
        }
    }

    #[test]
    fn any_bytes_into_icmp_and_vxlan(bytes in bytes(&[8, 0])) {
        if let Ok((icmp, payload)) = Icmp::parse(&bytes) {
            prop_assert!(within(payload, &bytes) && payload.len() + EchoHeader::LEN == bytes.len());
            let _ = (icmp.checksum_holds(payload), icmp.echo(), std::format!("{icmp:?}"));
        }
        if let Ok((vxlan, inner)) = Vxlan::parse(&bytes) {
            prop_assert!(within(inner, &bytes) && inner.len() + VxlanHeader::LEN == bytes.len());
            let _ = std::format!("{vxlan:?}");
        }
    }

    #[test]
    fn any_bytes_into_icmpv6(bytes in bytes(&[128, 0])) {
        if let Ok((icmp, payload)) = Icmpv6::parse(&bytes) {
            prop_assert!(within(payload, &bytes) && payload.len() + EchoHeader::LEN == bytes.len());
            let _ = (icmp.checksum_holds(Sum::new(), payload), std::format!("{icmp:?}"));
            let answered = Icmpv6::answer(bytes.clone().first_chunk_mut().unwrap());
            prop_assert_eq!(answered, icmp.echo().is_some_and(|echo| !echo.reply));
        }
    }

    /// With a right checksum, so that the options are reached; some of them begin like options.
    #[test]
    fn any_bytes_into_nd(
        mut message in bytes(&[135, 0, 0, 0, 0, 0, 0, 0, 0x20, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 1, 1]),
        kind in 134u8..138,
        (source, destination) in any::<(u128, u128)>(),
        lens in vec((0usize..160, 0u8..3), 0..4),
    ) {
        let (source, destination) = (Ipv6Addr::from(source), Ipv6Addr::from(destination));
        for (at, len) in lens {
            message.get_mut(at).into_iter().for_each(|byte| *byte = len);
        }
        if message.len() >= 4 {
            (message[0], message[2], message[3]) = (kind, 0, 0);
            let pseudo = Sum::pseudo_ipv6(source, destination, IpProtocol::ICMPV6, message.len() as u32);
            let checksum = pseudo.with(&message).finish();
            message[2..4].copy_from_slice(&checksum.to_be_bytes());
        }
        match Nd::parse(source, destination, 255, &message) {
            Ok(Nd::Solicitation { target, source_mac }) => {
                prop_assert!(message[0] == 135 && !target.is_multicast());
                prop_assert!(source_mac.is_none() || message.windows(6).any(|part| Some(MacAddr(part.try_into().unwrap())) == source_mac));
            }
            Ok(Nd::Advertisement { target, solicited, .. }) => {
                prop_assert!(message[0] == 136 && !target.is_multicast() && !(solicited && destination.is_multicast()));
            }
            Err(malformed) => prop_assert_ne!(malformed, Malformed::BadChecksum),
        }
    }

    #[test]
    fn nd_comes_back(
        (source, destination, target) in any::<(u128, u128, u128)>(),
        mac in mac(),
        (router, solicited, override_) in any::<(bool, bool, bool)>(),
        dirt: u8,
    ) {
        // Addresses of hosts: 2000::/3.
        let [source, destination, target] = [source, destination, target].map(|bits| Ipv6Addr::from(bits >> 3 | 1 << 125));
        let read = |packet: &[u8]| {
            let (ip, message) = Ipv6::parse(packet).unwrap();
            Nd::parse(ip.source(), ip.destination(), ip.hop_limit(), message).map(|nd| (ip.source(), ip.destination(), nd))
        };
        let mut out = [dirt; NsPacket::LEN];
        NsPacket { source, destination, target, source_mac: mac }.write(&mut out);
        prop_assert_eq!(read(&out), Ok((source, destination, Nd::Solicitation { target, source_mac: Some(mac) })));

        let mut out = [dirt; NsProbe::LEN];
        NsProbe { target }.write(&mut out);
        let asked = Nd::Solicitation { target, source_mac: None };
        prop_assert_eq!(read(&out), Ok((Ipv6Addr::UNSPECIFIED, solicited_node(target), asked)));

        let mut out = [dirt; NaPacket::LEN];
        NaPacket { source, destination, target, target_mac: mac, router, solicited, override_ }.write(&mut out);
        let told = Nd::Advertisement { target, target_mac: Some(mac), router, solicited, override_ };
        prop_assert_eq!(read(&out), Ok((source, destination, told)));
    }

    /// Options of arbitrary codes and lengths behind a legal head, then anything.
    #[test]
    fn any_options_into_dhcp(
        options in vec((prop_oneof![Just(51), Just(53), Just(0), Just(255), any::<u8>()], 0usize..6), 0..20),
        rest in vec(any::<u8>(), 0..20),
        cut: prop::sample::Index,
    ) {
        let mut bytes = std::vec![0; 240];
        bytes[..3].copy_from_slice(&[2, 1, 6]);
        bytes[236..].copy_from_slice(&[0x63, 0x82, 0x53, 0x63]);
        for (code, len) in &options {
            bytes.extend([*code, *len as u8]);
            bytes.resize(bytes.len() + len, 5);
        }
        bytes.extend(&rest);
        if let Ok(dhcp) = Dhcp4::parse(&bytes) {
            prop_assert!(dhcp.reply && bytes[240..].contains(&53));
            prop_assert_eq!(dhcp.is_ack(), dhcp.message_type == Dhcp4Type::ACK);
        }
        let _ = Dhcp4::parse(&bytes[..cut.index(bytes.len())]);
    }

    #[test]
    fn any_options_into_dhcp6(
        groups in vec((prop_oneof![Just(3u8), Just(5), any::<u8>()], vec((prop_oneof![Just(5u8), any::<u8>()], 0usize..32), 0..5)), 0..5),
        cut: prop::sample::Index,
        lie: Option<(prop::sample::Index, u8)>,
    ) {
        let mut bytes = std::vec![7, 1, 2, 3];
        for (code, within) in &groups {
            let mut group = std::vec![0xaa; 12];
            for (code, len) in within {
                group.extend([0, *code, 0, *len as u8]);
                group.resize(group.len() + len, 0xbb);
            }
            bytes.extend([0, *code, 0, group.len() as u8]);
            bytes.extend(group);
        }
        let within = groups.iter().filter(|(code, _)| *code == 3).flat_map(|(_, within)| within);
        let lens: Vec<usize> = within.filter(|(code, _)| *code == 5).map(|(_, len)| *len).collect();
        match Dhcp6::parse(&bytes) {
            Ok(reply) => prop_assert_eq!(reply.addresses.len(), lens.len().min(MAX_DHCP6_ADDRESSES)),
            Err(malformed) => {
                prop_assert_eq!(malformed, Malformed::BadLength);
                prop_assert!(lens.iter().any(|len| *len < 24));
            }
        }
        let _ = Dhcp6::parse(&bytes[..cut.index(bytes.len())]);
        if let Some((at, value)) = lie {
            let at = at.index(bytes.len());
            bytes[at] = value;
            let _ = Dhcp6::parse(&bytes);
        }
    }

    #[test]
    fn any_bytes_at_all_into_dhcp(bytes in vec(any::<u8>(), 0..400)) {
        let _ = (Dhcp4::parse(&bytes), Dhcp6::parse(&bytes));
    }

    #[test]
    fn any_bytes_into_nvgre(bytes in bytes(&[0x20, 0, 0x65, 0x58])) {
        if let Ok((nvgre, inner)) = Nvgre::parse(&bytes) {
            prop_assert!(within(inner, &bytes) && inner.len() + NvgreHeader::LEN == bytes.len());
            prop_assert_eq!(nvgre.vsid_bits() << 8 | u32::from(nvgre.flow_id()), u32::from_be_bytes(bytes[4..8].try_into().unwrap()));
            let _ = std::format!("{nvgre:?}");
        }
    }

    /// Options of arbitrary types and lengths, cut or followed by anything: what is accepted was walked to its end.
    #[test]
    fn any_bytes_into_geneve(options in vec(any::<(u8, u8)>(), 0..8), behind in vec(any::<u8>(), 0..80), words: Option<u8>) {
        let mut bytes = std::vec![0, 0, 0x65, 0x58, 1, 2, 3, 0];
        for (kind, len) in &options {
            bytes.extend([0, 0, kind & 0x9f, len & 0xe3]);
            bytes.resize(bytes.len() + 4 * usize::from(len & 3), 0xaa);
        }
        let whole = bytes.len();
        bytes[0] = words.unwrap_or(((whole - 8) / 4) as u8);
        bytes.extend(&behind);
        match Geneve::parse(&bytes) {
            Ok((geneve, inner)) => {
                prop_assert!(within(inner, &bytes) && inner.len() + geneve.header_len() == bytes.len());
                let _ = std::format!("{geneve:?}");
            }
            Err(malformed) if words.is_none() => {
                prop_assert_eq!(malformed, Malformed::CriticalOption);
                prop_assert!(options.iter().any(|(kind, _)| kind & 0x80 != 0));
            }
            Err(_) => {}
        }
    }

    #[test]
    fn any_bytes_at_all_into_geneve(bytes in bytes(&[0x02, 0, 0x65, 0x58, 1, 2, 3, 0])) {
        if let Ok((geneve, inner)) = Geneve::parse(&bytes) {
            prop_assert!(within(inner, &bytes) && inner.len() + geneve.header_len() == bytes.len());
        }
    }

    #[test]
    fn nvgre_and_geneve_come_back(vsid in 0x1000u32..=0xff_fffe, vni in 0u32..1 << 24, flow_id: u8, dirt: u8) {
        let mut out = [dirt; NvgreHeader::LEN];
        NvgreHeader { vsid: Vsid::try_from(vsid).unwrap(), flow_id }.write(&mut out);
        let (nvgre, _) = Nvgre::parse(&out).unwrap();
        prop_assert_eq!((nvgre.vsid_bits(), nvgre.flow_id()), (vsid, flow_id));

        let header = GeneveHeader { vni: Vni::try_from(vni).unwrap() };
        let mut out = [dirt; GeneveHeader::LEN];
        header.write(&mut out);
        prop_assert_eq!(Geneve::parse(&out).unwrap().0.header(), header);
    }

    #[test]
    fn link_layer_headers_come_back(destination in mac(), source in mac(), numbers: [u16; 3], dirt: u8) {
        let [ether_type, tpid, tci] = numbers;
        let header = EthernetHeader { destination, source, ether_type: EtherType(ether_type) };
        let mut out = [dirt; EthernetHeader::LEN];
        header.write(&mut out);
        prop_assert_eq!(Ethernet::parse(&out).unwrap().0.header(), header);

        let tag = Tag::from_tci(EtherType(tpid), tci);
        let mut out = [dirt; 6];
        tag.write(out.first_chunk_mut().unwrap());
        let (read, ether_type, _) = Tag::parse(EtherType(be16(&out, 0)), &out[2..]).unwrap();
        prop_assert_eq!((read, ether_type), (tag, EtherType(u16::from_be_bytes([dirt, dirt]))));
    }

    #[test]
    fn arp_comes_back(macs in (mac(), mac()), ips: [u32; 2], operation: u16, dirt: u8) {
        let header = ArpHeader {
            operation: ArpOperation(operation),
            sender_mac: macs.0,
            sender_ip: Ipv4Addr::from(ips[0]),
            target_mac: macs.1,
            target_ip: Ipv4Addr::from(ips[1]),
        };
        let mut out = [dirt; ArpHeader::LEN];
        header.write(&mut out);
        prop_assert_eq!(Arp::parse(&out).unwrap().0.header(), header);
    }

    #[test]
    fn ipv4_comes_back_with_its_checksum(header in ipv4_header(), dirt: u8, ecn in 0u8..4) {
        let mut out = [dirt; Ipv4Header::LEN];
        header.write(&mut out);
        let ip = Ipv4::parse_head(&out, usize::from(header.total_len)).unwrap();
        prop_assert_eq!(ip.header(), header);
        prop_assert!(ip.checksum_holds());

        let (ecn, mut anew) = (Ecn::from_bits(ecn), [dirt; Ipv4Header::LEN]);
        Ipv4Header::set_ecn(&mut out, ecn);
        Ipv4Header { traffic_class: header.traffic_class.with_ecn(ecn), ..header }.write(&mut anew);
        prop_assert_eq!(out, anew);
    }

    #[test]
    fn ipv6_comes_back(header in ipv6_header(), dirt: u8) {
        let mut out = [dirt; Ipv6Header::LEN];
        header.write(&mut out);
        let ip = Ipv6::parse_head(&out, Ipv6Header::LEN + usize::from(header.payload_len)).unwrap();
        prop_assert_eq!(ip.header(), header);
    }

    #[test]
    fn udp_icmp_and_vxlan_come_back(numbers: [u16; 3], len in 8u16.., reply: bool, vni in 0u32..1 << 24, dirt: u8) {
        let [source, destination, checksum] = numbers;
        let header = UdpHeader { source, destination, len, checksum };
        let mut out = [dirt; UdpHeader::LEN];
        header.write(&mut out);
        prop_assert_eq!(Udp::parse_head(&out, usize::from(len)).unwrap().header(), header);

        let header = EchoHeader { reply, identifier: source, sequence: destination };
        let mut out = [dirt; EchoHeader::LEN];
        let payload = [dirt, !dirt, dirt];
        header.write(Sum::new().with(&payload), &mut out);
        let (icmp, _) = Icmp::parse(&out).unwrap();
        prop_assert_eq!(icmp.echo(), Some(header));
        prop_assert!(icmp.checksum_holds(&payload));

        let header = VxlanHeader { vni: Vni::try_from(vni).unwrap() };
        let mut out = [dirt; VxlanHeader::LEN];
        header.write(&mut out);
        prop_assert_eq!(Vxlan::parse(&out).unwrap().0.header(), header);
    }

    #[test]
    fn a_sum_in_pieces_is_the_sum_of_the_whole(bytes in vec(any::<u8>(), 0..300), cuts: [prop::sample::Index; 2]) {
        let mut cuts = cuts.map(|cut| cut.index(bytes.len() + 1));
        cuts.sort_unstable();
        let (start, end) = bytes.split_at(cuts[1]);
        let (start, middle) = start.split_at(cuts[0]);
        let pieces = Sum::new().with(start).with(middle).with(end);
        prop_assert_eq!(pieces.finish(), Sum::new().with(&bytes).finish());
        // The definition, one word at a time.
        let sum = bytes.chunks(2).fold(0u32, |sum, word| {
            let sum = sum + u32::from(word[0]) * 256 + u32::from(*word.get(1).unwrap_or(&0));
            sum % 0x1_0000 + sum / 0x1_0000
        });
        prop_assert_eq!(u32::from(!pieces.finish()), sum);
    }

    /// The first word never changes and is not zero, as the version of an IP header or the protocol of a pseudo header.
    #[test]
    fn an_update_is_the_checksum_made_anew(
        mut words in vec(any::<u16>(), 3..40),
        at: prop::sample::Index,
        to: u32,
        wrong in 1u16..=0xfffe,
    ) {
        words[0] |= 0x4000;
        let checksum = |words: &[u16]| words.iter().fold(Sum::new(), |sum, word| sum.with(&word.to_be_bytes())).finish();
        let before = checksum(&words);

        let at = 1 + at.index(words.len() - 2);
        let half = (words[at], (to >> 16) as u16);
        words[at] = half.1;
        let after = checksum(&words);
        prop_assert_eq!(update_u16(before, half.0, half.1), after);

        let old = u32::from(half.1) << 16 | u32::from(words[at + 1]);
        (words[at], words[at + 1]) = (to as u16, (to >> 16) as u16);
        let new = u32::from(words[at]) << 16 | u32::from(words[at + 1]);
        prop_assert_eq!(update_u32(after, old, new), checksum(&words));

        let both = Delta::new().u16(half.0, half.1).u32(old, new);
        prop_assert_eq!(both.apply(before), checksum(&words));
        prop_assert_eq!(both.apply_udp(0), 0);
        let udp = if before == 0 { 0xffff } else { before };
        prop_assert_eq!(both.apply_udp(udp), if checksum(&words) == 0 { 0xffff } else { checksum(&words) });

        // A checksum that was wrong is wrong by as much as before.
        let sum = |checksum: u16| words.iter().fold(Sum::new(), |sum, word| sum.with(&word.to_be_bytes())).with(&checksum.to_be_bytes());
        prop_assert!(sum(both.apply(before)).holds());
        let off = Sum::new().with(&before.to_be_bytes()).with(&wrong.to_be_bytes()).finish();
        prop_assert!(!sum(both.apply(!off)).holds());
    }
}
