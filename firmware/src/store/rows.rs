//! Many small objects of one owner in a row: a bridge's endpoints, a router's routes.
//!
//! Owns: which row an object is in. There may be a million of them, and a row of its own for each would cost more than all
//! else that an `apply` does with it. What a row looks like is its kind's; refused, on reading, is whatever would not have
//! been written: each row has a checksum, and its members must be those that belong there.
//!
//! The members of an owner, in their order, are parted before every one that [`Member::begins_row`]: before one in 64, by a
//! hash of it alone. So a change touches the row that it is in, and, if it comes or goes where a row begins, the one
//! before; however the others came about.

use rustc_hash::FxHashSet;
use std::collections::BTreeMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::Bound;
use weir_api::id::Name;

/// What tells the objects of one owner apart.
pub(super) trait Member: Copy + Ord + Hash {
    /// Whether a row begins with it. Part of the format.
    fn begins_row(self) -> bool;
}

/// One in 64, by a hash. Part of the format.
pub(super) fn is_chosen(number: u64) -> bool {
    number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 58 == 0
}

/// What tells one row from another: the owner, and the member that it begins with; `None` is what comes before the first
/// that begins one.
pub(super) type Row<'a, M> = (&'a Name, Option<M>);

/// A member that changed.
pub(super) struct Touch<'a, M> {
    pub(super) owner: &'a Name,
    pub(super) member: M,
    /// Whether it was there before, and is there now.
    pub(super) stays: bool,
}

/// The rows that changes touch, in order: those of the state as it is now, and those that have gone.
pub(super) fn touched<'a, 's, M: Member + 's, V: 's>(
    changes: impl Iterator<Item = Touch<'a, M>>,
    members: impl Fn(&Name) -> Option<&'s BTreeMap<M, V>>,
) -> Vec<Row<'a, M>> {
    let mut rows = FxHashSet::default();
    // The row of the change before, from its begin to the next one's: neighbours mostly come together.
    let mut last: Option<(Row<'a, M>, Option<M>)> = None;
    for Touch { owner, member, stays } in changes {
        let begins = member.begins_row();
        if let Some(((name, begin), end)) = last
            && (!begins && name == owner && begin.is_none_or(|b| b < member) && end.is_none_or(|e| member < e))
        {
            continue;
        }
        let of_owner = members(owner);
        let begin_up_to =
            |bound| of_owner.and_then(|all| all.range((Bound::Unbounded, bound)).rev().find(|(m, _)| m.begins_row()));
        // Where a row began or begins to begin, the one before has become longer or shorter.
        if begins && !stays {
            rows.insert((owner, begin_up_to(Bound::Excluded(member)).map(|(m, _)| *m)));
        }
        let begin = if begins { Some(member) } else { begin_up_to(Bound::Included(member)).map(|(m, _)| *m) };
        let behind = (Bound::Excluded(member), Bound::Unbounded);
        let end = of_owner.and_then(|all| all.range(behind).find(|(m, _)| m.begins_row()));
        rows.insert((owner, begin));
        last = Some(((owner, begin), end.map(|(m, _)| *m)));
    }
    let mut rows: Vec<_> = rows.into_iter().collect();
    rows.sort_unstable();
    rows
}

/// Every row that an owner may have.
pub(super) fn all<'a, M: Member, V>(owner: &'a Name, members: &BTreeMap<M, V>) -> Vec<Row<'a, M>> {
    let begins = members.keys().filter(|member| member.begins_row()).map(|member| (owner, Some(*member)));
    begins.chain([(owner, None)]).collect()
}

/// The members of a row, in order; none if its begin is gone, whatever follows it.
pub(super) fn of_row<M: Member, V>(members: &BTreeMap<M, V>, begin: Option<M>) -> impl Iterator<Item = (M, &V)> {
    let from = begin.map_or(Bound::Unbounded, Bound::Included);
    let there = begin.is_none_or(|begin| members.contains_key(&begin));
    let row = members.range((from, Bound::Unbounded)).map(|(member, value)| (*member, value));
    row.take_while(move |(member, _)| there && (begin == Some(*member) || !member.begins_row()))
}

/// Whether a member can follow `before` in the row that begins with `begin`.
pub(super) fn is_in_place<M: Member>(begin: Option<M>, before: Option<M>, member: M) -> bool {
    match before {
        None => begin.is_none_or(|begin| begin == member) && begin.is_some() == member.begins_row(),
        Some(before) => before < member && !member.begins_row(),
    }
}

/// Ends a row with its checksum; one of nothing stays nothing.
pub(super) fn seal(row: &mut Vec<u8>) {
    if !row.is_empty() {
        let sum = checksum(row);
        row.extend_from_slice(&sum.to_le_bytes());
    }
}

pub(super) fn encode_address(address: IpAddr, out: &mut Vec<u8>) {
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
pub(super) struct Reader<'a>(&'a [u8]);

/// Why a row is not one.
pub(super) type Reason = String;

impl<'a> Reader<'a> {
    /// A row without its checksum, which has to be right.
    pub(super) fn open(row: &'a [u8]) -> Result<Self, Reason> {
        let (row, sum) = row.split_last_chunk::<8>().ok_or("it ends too early")?;
        if checksum(row) != u64::from_le_bytes(*sum) {
            return Err("its checksum is wrong".to_owned());
        }
        Ok(Self(row))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn take(&mut self, n: usize) -> Result<&'a [u8], Reason> {
        let (taken, rest) = self.0.split_at_checked(n).ok_or("it ends too early")?;
        self.0 = rest;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Reason> {
        let (taken, rest) = self.0.split_first_chunk().ok_or("it ends too early")?;
        self.0 = rest;
        Ok(*taken)
    }

    pub(super) fn byte(&mut self) -> Result<u8, Reason> {
        self.array().map(|[byte]| byte)
    }

    /// An address; `None` for the byte 0.
    pub(super) fn address(&mut self) -> Result<Option<IpAddr>, Reason> {
        Ok(match self.byte()? {
            0 => None,
            4 => Some(Ipv4Addr::from(self.array::<4>()?).into()),
            6 => Some(Ipv6Addr::from(self.array::<16>()?).into()),
            other => return Err(format!("{other} is no kind of address")),
        })
    }
}

/// The name that a row's key begins with, and what follows the slash behind it: so many bytes.
pub(super) fn owner<const N: usize>(key: &[u8]) -> Result<(Name, [u8; N]), Reason> {
    let (owner, rest) = key.split_last_chunk::<N>().ok_or("its key is too short")?;
    let owner =
        owner.strip_suffix(b"/").and_then(|name| std::str::from_utf8(name).ok()).ok_or("its key has no name")?;
    Ok((owner.parse().map_err(|e| format!("its key: {e}"))?, *rest))
}
