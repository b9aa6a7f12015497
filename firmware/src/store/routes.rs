//! Routes on disk: many of a router in a row ([`rows`]). One whose next hops are those of the route before it takes 6 bytes
//! or so, where a row of JSON would take a hundred.

use super::rows::{self, Member, Reader, Reason, Row, Touch, encode_address};
use crate::manager::batch::Change;
use crate::manager::desired::Desired;
use crate::manager::desired::routing::Target;
use crate::manager::key::ObjectKey;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use weir_api::id::{IpPrefix, Name};
use weir_api::object::{Object, Route};
use weir_pipelines::tables::NEXT_HOPS;

impl Member for IpPrefix {
    fn begins_row(self) -> bool {
        let bits = match self.address() {
            IpAddr::V4(v4) => v4.to_bits().into(),
            IpAddr::V6(v6) => (v6.to_bits() >> 64) as u64 ^ (v6.to_bits() as u64).rotate_left(17),
        };
        rows::is_chosen(bits ^ u64::from(self.length()).rotate_right(8))
    }
}

/// The rows that a batch touches, in order.
pub(super) fn touched<'a>(changes: &'a [Change], state: &Desired) -> Vec<Row<'a, IpPrefix>> {
    let touches = changes.iter().filter_map(|change| match &change.key {
        ObjectKey::Route(owner, prefix) => {
            Some(Touch { owner, member: *prefix, stays: change.there && change.old.is_some() })
        }
        _ => None,
    });
    rows::touched(touches, |router| state.routing().domain(router).map(|domain| domain.routes()))
}

/// The row's key in the table: the router, a slash, and the prefix as family, address and length, or zeros.
pub(super) fn key((router, begin): Row<'_, IpPrefix>) -> Vec<u8> {
    let (family, octets, length) = match begin.map(|prefix| (prefix.address(), prefix.length())) {
        None => (0, [0; 16], 0),
        Some((IpAddr::V4(v4), length)) => (4, v4.to_ipv6_mapped().octets(), length),
        Some((IpAddr::V6(v6), length)) => (6, v6.octets(), length),
    };
    [router.as_str().as_bytes(), b"/", &[family], &octets, &[length]].concat()
}

/// In place of the number of next hops: they are those of the route before.
const AS_BEFORE: u8 = 255;

/// Writes a row's routes behind each other into `out`; nothing if it has none. Each is its prefix: family, length, and as
/// many octets as the length needs; then 0 for a blackhole, [`AS_BEFORE`], or how many next hops there are, and these.
pub(super) fn encode((router, begin): Row<'_, IpPrefix>, state: &Desired, out: &mut Vec<u8>) -> std::io::Result<()> {
    out.clear();
    let Some(domain) = state.routing().domain(router) else { return Ok(()) };
    let mut before: &[IpAddr] = &[];
    for (prefix, Target { via, blackhole }) in rows::of_row(domain.routes(), begin) {
        let octets = usize::from(prefix.length().div_ceil(8));
        match prefix.address() {
            IpAddr::V4(v4) => {
                out.extend_from_slice(&[4, prefix.length()]);
                out.extend_from_slice(v4.octets().get(..octets).unwrap_or_default());
            }
            IpAddr::V6(v6) => {
                out.extend_from_slice(&[6, prefix.length()]);
                out.extend_from_slice(v6.octets().get(..octets).unwrap_or_default());
            }
        }
        match via.len() {
            _ if *blackhole => out.push(0),
            1.. if **via == *before => out.push(AS_BEFORE),
            count @ 1..=NEXT_HOPS => {
                out.push(count as u8);
                via.iter().for_each(|hop| encode_address(*hop, out));
                before = via;
            }
            count => return Err(std::io::Error::other(format!("a route with {count} next hops"))),
        }
    }
    rows::seal(out);
    Ok(())
}

/// Reads a row, and puts its routes behind what `out` has.
///
/// # Errors
/// Why that is no row with this key.
pub(super) fn decode(key: &[u8], value: &[u8], out: &mut Vec<Object>) -> Result<(), Reason> {
    let (router, [family, octets @ .., length]) = rows::owner::<18>(key)?;
    let begin = match family {
        0 if (octets, length) == ([0; 16], 0) => None,
        4 => Ipv6Addr::from(octets).to_ipv4_mapped().map(|v4| (IpAddr::from(v4), length)),
        6 => Some((Ipv6Addr::from(octets).into(), length)),
        _ => return Err("its key has no prefix".to_owned()),
    };
    let begin = begin.map(IpPrefix::try_from).transpose().map_err(|e| format!("its key: {e}"))?;
    if family == 4 && begin.is_none() {
        return Err("its key has no prefix".to_owned());
    }
    let mut rest = Reader::open(value)?;
    let (mut before, mut hops) = (None, Vec::new());
    while !rest.is_empty() {
        let prefix = decode_prefix(&mut rest)?;
        if prefix.net() != prefix || !rows::is_in_place(begin, before, prefix) {
            return Err(format!("{prefix} does not belong there"));
        }
        before = Some(prefix);
        out.push(Object::Route(decode_target(&router, prefix, &mut hops, &mut rest)?));
    }
    Ok(())
}

fn decode_prefix(rest: &mut Reader<'_>) -> Result<IpPrefix, Reason> {
    let [family, length] = rest.array()?;
    let octets = rest.take(usize::from(length.div_ceil(8)))?;
    let mut whole = [0; 16];
    whole.get_mut(..octets.len()).ok_or("a prefix is too long")?.copy_from_slice(octets);
    let [a, b, c, d, ..] = whole;
    let address = match family {
        4 => Ipv4Addr::new(a, b, c, d).into(),
        6 => Ipv6Addr::from(whole).into(),
        other => return Err(format!("{other} is no kind of address")),
    };
    IpPrefix::try_from((address, length)).map_err(|e| e.to_string())
}

/// `hops` are those of the route before, and become this one's, if it has any.
fn decode_target(
    router: &Name,
    prefix: IpPrefix,
    hops: &mut Vec<IpAddr>,
    rest: &mut Reader<'_>,
) -> Result<Route, Reason> {
    let router = router.clone();
    match rest.byte()? {
        0 => return Ok(Route { router, prefix, via: Vec::new(), blackhole: true }),
        AS_BEFORE if hops.is_empty() => return Err("its first route has no next hops".to_owned()),
        AS_BEFORE => {}
        count if usize::from(count) <= NEXT_HOPS => {
            let via = (0..count).map(|_| rest.address()?.ok_or_else(|| "a next hop is missing".to_owned()));
            *hops = via.collect::<Result<_, Reason>>()?;
        }
        count => return Err(format!("{count} next hops are too many")),
    }
    Ok(Route { router, prefix, via: hops.clone(), blackhole: false })
}
