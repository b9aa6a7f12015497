//! Endpoints on disk: many of a bridge in a row ([`rows`]).

use super::rows::{self, Member, Reader, Reason, Row, Touch, encode_address};
use crate::manager::batch::Change;
use crate::manager::desired::{Desired, Host};
use crate::manager::key::ObjectKey;
use std::io::Write;
use weir_api::id::{Location, Mac, Name, SegmentId};
use weir_api::object::{Endpoint, Object};

impl Member for Mac {
    fn begins_row(self) -> bool {
        let [a, b, c, d, e, f] = self.octets();
        rows::is_chosen(u64::from_be_bytes([0, 0, a, b, c, d, e, f]))
    }
}

/// The rows that a batch touches, in order.
pub(super) fn touched<'a>(changes: &'a [Change], state: &Desired) -> Vec<Row<'a, Mac>> {
    let touches = changes.iter().filter_map(|change| match &change.key {
        ObjectKey::Endpoint(owner, mac) => {
            Some(Touch { owner, member: *mac, stays: change.there && change.old.is_some() })
        }
        _ => None,
    });
    rows::touched(touches, |bridge| state.hosts(bridge))
}

/// Every row that a state may have.
pub(super) fn all(state: &Desired) -> Vec<Row<'_, Mac>> {
    state.all_hosts().flat_map(|(bridge, hosts)| rows::all(bridge, hosts)).collect()
}

/// The row's key in the table: the bridge, a slash, the MAC or six zeros.
pub(super) fn key((bridge, begin): Row<'_, Mac>) -> Vec<u8> {
    let mac = begin.map_or([0; 6], Mac::octets);
    [bridge.as_str().as_bytes(), b"/", &mac].concat()
}

/// Writes a row's endpoints behind each other into `out`; nothing if it has none.
pub(super) fn encode((bridge, begin): Row<'_, Mac>, state: &Desired, out: &mut Vec<u8>) -> std::io::Result<()> {
    out.clear();
    let Some(hosts) = state.hosts(bridge) else { return Ok(()) };
    let mut segment = None;
    for (mac, host) in rows::of_row(hosts, begin) {
        encode_host(bridge, mac, host, &mut segment, out)?;
    }
    rows::seal(out);
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

/// Reads a row, and puts its endpoints behind what `out` has.
///
/// # Errors
/// Why that is no row with this key.
pub(super) fn decode(key: &[u8], value: &[u8], out: &mut Vec<Object>) -> Result<(), Reason> {
    let (bridge, begin) = rows::owner::<6>(key)?;
    let begin = if begin == [0; 6] { None } else { Some(Mac::try_from(begin).map_err(|e| e.to_string())?) };
    let mut rest = Reader::open(value)?;
    let mut before = None;
    let mut segment = None;
    while !rest.is_empty() {
        let mac = Mac::try_from(rest.array::<6>()?).map_err(|e| e.to_string())?;
        if !rows::is_in_place(begin, before, mac) {
            return Err(format!("{mac} does not belong there"));
        }
        before = Some(mac);
        out.push(Object::Endpoint(decode_host(&bridge, mac, &mut segment, &mut rest)?));
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
