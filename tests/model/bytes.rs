//! Checksums and headers, byte by byte, as the RFCs draw them.

use std::net::IpAddr;

/// The Internet checksum (RFC 1071): 0 over bytes that carry theirs.
pub(crate) fn checksum(bytes: &[u8]) -> u16 {
    let mut sum = 0u64;
    for pair in bytes.chunks(2) {
        sum += u64::from(pair[0]) << 8 | u64::from(*pair.get(1).unwrap_or(&0));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// The bytes of an address.
pub(crate) fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

/// The checksum of a message behind its pseudo-header (RFC 768, RFC 8200 §8.1).
pub(crate) fn checksum_with(source: IpAddr, destination: IpAddr, protocol: u8, message: &[u8]) -> u16 {
    let mut bytes = [octets(source), octets(destination)].concat();
    bytes.extend((message.len() as u32).to_be_bytes());
    bytes.extend([0, 0, 0, protocol]);
    bytes.extend_from_slice(message);
    checksum(&bytes)
}

pub(crate) fn get16(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

pub(crate) fn put16(bytes: &mut [u8], at: usize, value: u16) {
    bytes[at..at + 2].copy_from_slice(&value.to_be_bytes());
}

/// Makes the checksum of an IPv4 header right.
pub(crate) fn fix(packet: &mut [u8]) {
    let len = usize::from(packet[0] & 0xf) * 4;
    put16(packet, 10, 0);
    let sum = checksum(&packet[..len]);
    put16(packet, 10, sum);
}

/// The address at a place of a packet.
pub(crate) fn address(packet: &[u8], at: usize, v4: bool) -> IpAddr {
    match v4 {
        true => <[u8; 4]>::try_from(&packet[at..at + 4]).expect("four").into(),
        false => <[u8; 16]>::try_from(&packet[at..at + 16]).expect("sixteen").into(),
    }
}

/// The source and the destination of a packet.
pub(crate) fn ends(packet: &[u8]) -> (IpAddr, IpAddr) {
    match packet[0] >> 4 {
        4 => (address(packet, 12, true), address(packet, 16, true)),
        _ => (address(packet, 8, false), address(packet, 24, false)),
    }
}
