//! Endpoints on disk: many of them in a row.
//!
//! Owns: which row an endpoint is in, and what a row looks like. There may be a million endpoints, and a row of its own
//! for each would cost more than all else that an `apply` does with it. Refuses, on reading, whatever it would not have
//! written: each row has a checksum, and its endpoints must be those that belong there.
//!
//! The endpoints of a bridge, in the order of their MACs, are parted before every MAC that [`begins_row`]: before one in
//! 64, by a hash of the MAC alone. So a change touches the row that it is in, and, if it comes or goes where a row
//! begins, the one before; however the others came about.

use crate::manager::batch::Change;
use crate::manager::desired::{Desired, Host};
use crate::manager::key::ObjectKey;
use rustc_hash::FxHashSet;
use std::collections::BTreeMap;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::Bound;
use weir_api::id::{Location, Mac, Name, SegmentId};
use weir_api::object::{Endpoint, Object};

/// What tells one row from another: the bridge, and the MAC that it begins with; `None` is what comes before the first
/// that begins one.
pub(super) type Row<'a> = (&'a Name, Option<Mac>);

/// Whether a row begins with this MAC. Part of the format.
fn begins_row(mac: Mac) -> bool {
    let [a, b, c, d, e, f] = mac.octets();
    u64::from_be_bytes([0, 0, a, b, c, d, e, f]).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 58 == 0
}

/// The rows that a batch touches, in order: those of the state as it is now, and those that have gone.
pub(super) fn touched<'a>(changes: &'a [Change], state: &Desired) -> Vec<Row<'a>> {
    let mut rows = FxHashSet::default();
    // The row of the change before, from its begin to the next one's: neighbours mostly come together.
    let mut last: Option<(Row<'a>, Option<Mac>)> = None;
    for change in changes {
        let ObjectKey::Endpoint(bridge, mac) = &change.key else { continue };
        let begins = begins_row(*mac);
        if let Some(((name, begin), end)) = last
            && (!begins && name == bridge && begin.is_none_or(|b| b < *mac) && end.is_none_or(|e| *mac < e))
        {
            continue;
        }
        let hosts = state.hosts(bridge);
        let begin_up_to =
            |bound| hosts.and_then(|h| h.range((Bound::Unbounded, bound)).rev().find(|(m, _)| begins_row(**m)));
        // Where a row began or begins to begin, the one before has become longer or shorter.
        if begins && !(change.there && change.old.is_some()) {
            rows.insert((bridge, begin_up_to(Bound::Excluded(*mac)).map(|(m, _)| *m)));
        }
        let begin = if begins { Some(*mac) } else { begin_up_to(Bound::Included(*mac)).map(|(m, _)| *m) };
        let end = hosts.and_then(|h| h.range((Bound::Excluded(*mac), Bound::Unbounded)).find(|(m, _)| begins_row(**m)));
        rows.insert((bridge, begin));
        last = Some(((bridge, begin), end.map(|(m, _)| *m)));
    }
    let mut rows: Vec<_> = rows.into_iter().collect();
    rows.sort_unstable();
    rows
}

/// Every row that a state may have.
pub(super) fn all(state: &Desired) -> Vec<Row<'_>> {
    let of_bridge = |(bridge, hosts): (_, &BTreeMap<Mac, Host>)| {
        let begins: Vec<_> = hosts.keys().filter(|mac| begins_row(**mac)).map(|mac| (bridge, Some(*mac))).collect();
        begins.into_iter().chain([(bridge, None)])
    };
    state.all_hosts().flat_map(of_bridge).collect()
}

/// The row's key in the table: the bridge, a slash, the MAC or six zeros.
pub(super) fn key((bridge, begin): Row<'_>) -> Vec<u8> {
    let mac = begin.map_or([0; 6], Mac::octets);
    [bridge.as_str().as_bytes(), b"/", &mac].concat()
}

/// Writes a row's endpoints behind each other into `out`; nothing if it has none.
pub(super) fn encode((bridge, begin): Row<'_>, state: &Desired, out: &mut Vec<u8>) -> std::io::Result<()> {
    out.clear();
    let Some(hosts) = state.hosts(bridge) else { return Ok(()) };
    let from = begin.map_or(Bound::Unbounded, Bound::Included);
    let of_row =
        hosts.range((from, Bound::Unbounded)).take_while(|(mac, _)| begin == Some(**mac) || !begins_row(**mac));
    let mut segment = None;
    for (mac, host) in of_row {
        // A begin that is gone has no row, whatever follows it.
        if out.is_empty() && begin.is_some_and(|begin| begin != *mac) {
            return Ok(());
        }
        encode_host(bridge, *mac, host, &mut segment, out)?;
    }
    if !out.is_empty() {
        let sum = checksum(out);
        out.extend_from_slice(&sum.to_le_bytes());
    }
    Ok(())
}

/// How an endpoint is written: by fields, or, with anything that fields do not have, as JSON.
const FIELDS: u8 = 1;
const JSON: u8 = 2;

/// Its MAC; [`FIELDS`]; the length of its segment's text, 0 if that is as before, and the text; its peer; how many
/// addresses, and these. Or its MAC; [`JSON`]; a length of four bytes, and the JSON.
fn encode_host<'a>(
    bridge: &Name,
    mac: Mac,
    host: &'a Host,
    before: &mut Option<&'a SegmentId>,
    out: &mut Vec<u8>,
) -> std::io::Result<()> {
    out.extend_from_slice(&mac.octets());
    let Host { location, ips, allowed_pairs } = host;
    let (Ok(count), true) = (u8::try_from(ips.len()), allowed_pairs.is_empty()) else {
        let Host { location, ips, allowed_pairs } = host.clone();
        let whole = Endpoint { bridge: bridge.clone(), mac, location, ips, allowed_pairs };
        let json = serde_json::to_vec(&whole)?;
        out.push(JSON);
        out.extend_from_slice(&(json.len() as u32).to_le_bytes());
        out.extend_from_slice(&json);
        return Ok(());
    };
    out.push(FIELDS);
    let Location { segment, peer } = location;
    let at = out.len();
    out.push(0);
    if *before != Some(segment) {
        write!(out, "{segment}")?;
        // The longest has a name of 63 bytes.
        out[at] = u8::try_from(out.len() - at - 1).map_err(std::io::Error::other)?;
        *before = Some(segment);
    }
    match peer {
        None => out.push(0),
        Some(peer) => encode_address(*peer, out),
    }
    out.push(count);
    ips.iter().for_each(|ip| encode_address(*ip, out));
    Ok(())
}

fn encode_address(address: IpAddr, out: &mut Vec<u8>) {
    match address {
        IpAddr::V4(v4) => {
            out.push(4);
            out.extend_from_slice(&v4.octets());
        }
        IpAddr::V6(v6) => {
            out.push(6);
            out.extend_from_slice(&v6.octets());
        }
    }
}

/// 64 bits that change whatever changes. Part of the format.
fn checksum(bytes: &[u8]) -> u64 {
    let mut sum = bytes.len() as u64;
    for chunk in bytes.chunks(8) {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        sum = (sum ^ u64::from_le_bytes(word)).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
    }
    sum
}

/// What is left of a row that is read.
struct Reader<'a>(&'a [u8]);

/// Why a row is not one.
type Reason = String;

impl<'a> Reader<'a> {
    fn take(&mut self, n: usize) -> Result<&'a [u8], Reason> {
        let (taken, rest) = self.0.split_at_checked(n).ok_or("it ends too early")?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Reason> {
        let (taken, rest) = self.0.split_first_chunk().ok_or("it ends too early")?;
        self.0 = rest;
        Ok(*taken)
    }

    fn byte(&mut self) -> Result<u8, Reason> {
        self.array().map(|[byte]| byte)
    }

    /// An address; `None` for the byte 0.
    fn address(&mut self) -> Result<Option<IpAddr>, Reason> {
        Ok(match self.byte()? {
            0 => None,
            4 => Some(Ipv4Addr::from(self.array::<4>()?).into()),
            6 => Some(Ipv6Addr::from(self.array::<16>()?).into()),
            other => return Err(format!("{other} is no kind of address")),
        })
    }
}

/// Reads a row, and hands out its endpoints.
///
/// # Errors
/// Why that is no row with this key.
pub(super) fn decode(key: &[u8], value: &[u8], mut each: impl FnMut(Object)) -> Result<(), Reason> {
    let (bridge, begin) = key.split_last_chunk::<6>().ok_or("its key is too short")?;
    let bridge =
        bridge.strip_suffix(b"/").and_then(|name| std::str::from_utf8(name).ok()).ok_or("its key has no name")?;
    let bridge: Name = bridge.parse().map_err(|e| format!("its key: {e}"))?;
    let begin = if *begin == [0; 6] { None } else { Some(Mac::try_from(*begin).map_err(|e| e.to_string())?) };
    let (value, sum) = value.split_last_chunk::<8>().ok_or("it ends too early")?;
    if checksum(value) != u64::from_le_bytes(*sum) {
        return Err("its checksum is wrong".to_owned());
    }
    let mut rest = Reader(value);
    let mut before = None;
    let mut segment = None;
    while !rest.0.is_empty() {
        let mac = Mac::try_from(rest.array::<6>()?).map_err(|e| e.to_string())?;
        let in_place = match before {
            None => begin.is_none_or(|begin| begin == mac) && begin.is_some() == begins_row(mac),
            Some(before) => before < mac && !begins_row(mac),
        };
        if !in_place {
            return Err(format!("{mac} does not belong there"));
        }
        before = Some(mac);
        each(Object::Endpoint(decode_host(&bridge, mac, &mut segment, &mut rest)?));
    }
    Ok(())
}

fn decode_host(
    bridge: &Name,
    mac: Mac,
    before: &mut Option<SegmentId>,
    rest: &mut Reader<'_>,
) -> Result<Endpoint, Reason> {
    match rest.byte()? {
        JSON => {
            let length = u32::from_le_bytes(rest.array()?);
            let endpoint: Endpoint = serde_json::from_slice(rest.take(length as usize)?).map_err(|e| e.to_string())?;
            if (&endpoint.bridge, endpoint.mac) != (bridge, mac) {
                return Err(format!("under {bridge}/{mac} stands {}/{}", endpoint.bridge, endpoint.mac));
            }
            Ok(endpoint)
        }
        FIELDS => {
            let length = rest.byte()?;
            if length > 0 {
                let text = std::str::from_utf8(rest.take(length.into())?).map_err(|e| e.to_string())?;
                *before = Some(text.parse().map_err(|e: weir_api::id::IdError| e.to_string())?);
            }
            let segment = before.clone().ok_or("its first endpoint is on no segment")?;
            let location = Location { segment, peer: rest.address()? };
            if location.segment.is_tunnel() != location.peer.is_some() {
                return Err(format!("{location} is not where {mac} can be"));
            }
            let count = rest.byte()?;
            let ips = (0..count).map(|_| rest.address()?.ok_or_else(|| "an address is missing".to_owned()));
            let ips = ips.collect::<Result<_, Reason>>()?;
            Ok(Endpoint { bridge: bridge.clone(), mac, location, ips, allowed_pairs: Vec::new() })
        }
        other => Err(format!("{other} is no way to write an endpoint")),
    }
}
