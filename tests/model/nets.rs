//! Addresses and prefixes, counted out plainly.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use weir_pipelines::tables::Prefix;

/// The prefix that a text says.
pub(crate) fn prefix(text: &str) -> Prefix {
    let (address, len) = text.split_once('/').expect("a length");
    Prefix { address: address.parse().expect("an address"), len: len.parse().expect("a number") }
}

/// The `n`th address of a net.
pub(crate) fn nth(net: Prefix, n: u128) -> IpAddr {
    match net.address {
        IpAddr::V4(v4) => Ipv4Addr::from_bits(v4.to_bits().wrapping_add(n as u32)).into(),
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits().wrapping_add(n)).into(),
    }
}

/// How many addresses a net has, cut to what a test looks at.
pub(crate) fn size(net: Prefix) -> u128 {
    1 << (if net.address.is_ipv4() { 32 } else { 128 } - u32::from(net.len)).min(16)
}

/// The bits of an address, in 128 whatever the family, those of IPv4 first.
fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(v4.to_bits()) << 96,
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

/// Whether a prefix covers an address, bit by bit.
pub(crate) fn covers(prefix: Prefix, address: IpAddr) -> bool {
    let (a, b) = (bits(prefix.address), bits(address));
    prefix.address.is_ipv4() == address.is_ipv4() && (0..prefix.len).all(|n| (a ^ b) >> (127 - n) & 1 == 0)
}

/// The net of an address with a length: its first address.
pub(crate) fn net_of(own: Prefix) -> Prefix {
    let mask = if own.len == 0 { 0 } else { u128::MAX << (128 - u32::from(own.len)) };
    let first = bits(own.address) & mask;
    let address = match own.address {
        IpAddr::V4(_) => Ipv4Addr::from_bits((first >> 96) as u32).into(),
        IpAddr::V6(_) => Ipv6Addr::from_bits(first).into(),
    };
    Prefix { address, len: own.len }
}
