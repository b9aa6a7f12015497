//! What a packet's own headers say, and what is wrong with them (RFC 791 §3.1, RFC 8200 §4, RFC 6040 §4.2).

use crate::bytes::{checksum, ends, fix, get16};
use std::net::IpAddr;
use weir_pipelines::gateway::DropReason as Reason;

/// A packet taken apart.
pub(crate) struct Facts {
    /// Its bytes without what is behind its end, with the congestion mark that came on the outer header.
    pub(crate) ip: Vec<u8>,
    /// The same without that mark.
    pub(crate) unmarked: Vec<u8>,
    pub(crate) v4: bool,
    pub(crate) source: IpAddr,
    pub(crate) destination: IpAddr,
    pub(crate) ttl: u8,
    pub(crate) protocol: u8,
    /// Where it says so.
    pub(crate) protocol_at: usize,
    /// Where what it carries begins.
    pub(crate) message: usize,
    pub(crate) is_fragment: bool,
    /// Not the first one.
    pub(crate) is_later_fragment: bool,
    /// Whether it is an ICMP error message, of which no other may tell.
    pub(crate) is_icmp_error: bool,
    /// Why it is dropped before anybody asks where to.
    pub(crate) early: Vec<Reason>,
}

/// The marks of an inner header behind the decapsulation (RFC 6040 §4.2, figure 4). `None`: the packet is dropped.
fn decapsulated(outer: u8, inner: u8) -> Option<u8> {
    match (outer & 3, inner & 3) {
        (3, 0) => None,
        (3, _) => Some(3),
        (1, 2) => Some(1),
        (_, inner) => Some(inner),
    }
}

impl Facts {
    /// Reads a packet of which so many bytes have arrived, padding included.
    ///
    /// # Errors
    /// Why it is none.
    pub(crate) fn read(bytes: &[u8], arrived: usize, outer_class: u8) -> Result<Self, Vec<Reason>> {
        match bytes[0] >> 4 {
            4 => Self::read_v4(bytes, arrived, outer_class),
            _ => Self::read_v6(bytes, arrived, outer_class),
        }
    }

    fn read_v4(bytes: &[u8], arrived: usize, outer_class: u8) -> Result<Self, Vec<Reason>> {
        let (message, total) = (usize::from(bytes[0] & 0xf) * 4, usize::from(get16(bytes, 2)));
        if message < 20 || total < message || arrived < total {
            return Err(vec![Reason::MalformedIpv4, Reason::Truncated]);
        }
        let mut ip = bytes[..total].to_vec();
        let mut early = Vec::new();
        if checksum(&ip[..message]) != 0 {
            early.push(Reason::IpChecksum);
        } else {
            let mark = decapsulated(outer_class, ip[1]);
            ip[1] = ip[1] & !3 | mark.unwrap_or(0);
            fix(&mut ip);
        }
        if decapsulated(outer_class, bytes[1]).is_none() {
            early.push(Reason::EcnCongestion);
        }
        if has_source_route(&ip[20..message]) {
            early.push(Reason::SourceRoute);
        }
        let (source, destination) = ends(&ip);
        let (fragment, protocol) = (get16(&ip, 6), ip[9]);
        let is_later_fragment = fragment & 0x1fff != 0;
        let kind = ip.get(message).copied().unwrap_or(0);
        Ok(Self {
            v4: true,
            source,
            destination,
            ttl: ip[8],
            protocol,
            protocol_at: 9,
            message,
            is_fragment: fragment & 0x3fff != 0,
            is_later_fragment,
            is_icmp_error: protocol == 1 && !is_later_fragment && [3, 4, 5, 11, 12].contains(&kind),
            early,
            unmarked: bytes[..total].to_vec(),
            ip,
        })
    }

    fn read_v6(bytes: &[u8], arrived: usize, outer_class: u8) -> Result<Self, Vec<Reason>> {
        let total = 40 + usize::from(get16(bytes, 4));
        if arrived < total {
            return Err(vec![Reason::MalformedIpv6, Reason::Truncated]);
        }
        let mut ip = bytes[..total].to_vec();
        let mut early = Vec::new();
        match decapsulated(outer_class, ip[1] >> 4) {
            None => early.push(Reason::EcnCongestion),
            Some(mark) => ip[1] = ip[1] & !0x30 | mark << 4,
        }
        let (source, destination) = ends(&ip);
        let (mut protocol_at, mut message) = (6, 40);
        let (mut is_fragment, mut is_later_fragment) = (false, false);
        while [0, 43, 44, 60].contains(&ip[protocol_at]) && !is_later_fragment {
            let len = if ip[protocol_at] == 44 { 8 } else { 8 + usize::from(ip[message + 1]) * 8 };
            if ip[protocol_at] == 43 && ip[message + 3] != 0 {
                early.push(Reason::SourceRoute);
            }
            if ip[protocol_at] == 44 {
                let bits = get16(&ip, message + 2);
                is_fragment = bits & 0xfff9 != 0;
                is_later_fragment = bits >> 3 != 0;
            }
            (protocol_at, message) = (message, message + len);
        }
        let (protocol, kind) = (ip[protocol_at], ip.get(message).copied().unwrap_or(0));
        Ok(Self {
            v4: false,
            source,
            destination,
            ttl: ip[7],
            protocol,
            protocol_at,
            message,
            is_fragment,
            is_later_fragment,
            is_icmp_error: protocol == 58 && !is_later_fragment && kind < 128,
            early,
            unmarked: bytes[..total].to_vec(),
            ip,
        })
    }
}

impl Facts {
    /// What makes a flow: protocol, addresses, and, of what is whole, ports.
    pub(crate) fn flow(&self) -> Vec<u8> {
        let addresses = if self.v4 { &self.ip[12..20] } else { &self.ip[8..40] };
        let ports = match self.protocol {
            6 | 17 if !self.is_fragment => &self.ip[self.message..self.message + 4],
            _ => &[],
        };
        // Over IPv6, extension headers may make it another flow.
        let kind = if self.v4 { self.protocol } else { self.ip[6] };
        [&[kind], addresses, ports].concat()
    }
}

/// Whether there is a source route among options (RFC 791 §3.1).
fn has_source_route(mut options: &[u8]) -> bool {
    while let Some(&kind) = options.first() {
        match kind {
            0 => return false,
            1 => options = &options[1..],
            131 | 137 => return true,
            _ => options = &options[usize::from(options[1])..],
        }
    }
    false
}

/// The options that every fragment has, of those that the first has (RFC 791 §3.1: the copied flag), padded.
pub(crate) fn copied_options(mut options: &[u8]) -> Vec<u8> {
    let mut copied = Vec::new();
    while let Some(&kind) = options.first() {
        let len = if kind == 1 {
            1
        } else if kind == 0 {
            break;
        } else {
            usize::from(options[1])
        };
        if kind & 0x80 != 0 {
            copied.extend_from_slice(&options[..len]);
        }
        options = &options[len..];
    }
    copied.resize(copied.len().next_multiple_of(4), 0);
    copied
}
