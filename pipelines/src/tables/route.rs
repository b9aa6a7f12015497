//! Routes: longest prefix match for every router, in one copy-on-write map.
//!
//! Owns: from router and prefix to target. A lookup asks for the lengths that the router has at all, longest first; where
//! those are many, a **hint** says which of the long ones there are below the address's first bits, so that nearly every
//! question has an answer. So a router of a few routes costs a few entries, a million routes share one map, and a change
//! copies the groups that it touches. Counts say when the last route of a length is gone, per router and per hint.
//! Keys are exact for IPv4; of an IPv6 prefix, 78 bits of a keyed hash stand for it, as for addresses in the snapshot.
//! Read first: Waldvogel et al., Scalable High Speed IP Routing Lookups (SIGCOMM 1997), §3, whose markers hints are;
//! RFC 4632 §5.1.

use super::buckets::Secret;
use super::cow::{CowMap, CowVec};
use super::objects::{Prefix, fold};
use super::snapshot::Full;
use super::{InterfaceIx, NextHopsIx, RouterIx};
use core::net::IpAddr;

/// Where packets to a prefix go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// To the router itself: an address of that interface.
    Local(InterfaceIx),
    /// To hosts on that interface's bridge.
    Connected(InterfaceIx),
    /// By next hops.
    Via(NextHopsIx),
    /// Nowhere.
    Blackhole,
}

impl Target {
    fn to_bits(self) -> u64 {
        match self {
            Self::Blackhole => 0,
            Self::Local(ix) => 1 << 32 | u64::from(ix.0),
            Self::Connected(ix) => 2 << 32 | u64::from(ix.0),
            Self::Via(ix) => 3 << 32 | u64::from(ix.0),
        }
    }

    fn from_bits(bits: u64) -> Self {
        let ix = bits as u32;
        match bits >> 32 & 3 {
            0 => Self::Blackhole,
            1 => Self::Local(InterfaceIx(ix)),
            2 => Self::Connected(InterfaceIx(ix)),
            _ => Self::Via(NextHopsIx(ix)),
        }
    }
}

/// Which prefix lengths a router has: bit n is length n + 1.
#[derive(Clone, Copy, Debug, Default)]
struct Lengths {
    v6: u128,
    v4: u32,
    /// Whether it has a default route: of IPv4, of IPv6.
    defaults: [bool; 2],
}

/// With so many long lengths or fewer, asking for all of them is as fast as asking for the hint first.
const FEW: u32 = 2;
/// In an entry's value, above what it says: more bits of its key's hash.
const MORE_AT: u32 = 48;
const SAID: u64 = (1 << MORE_AT) - 1;

/// What an entry says; for a route, the length of its prefix.
#[derive(Clone, Copy)]
enum Entry {
    Route(u8),
    /// Which classes of lengths there are below these bits.
    Hint,
    /// How many routes of a class there are below these bits.
    Below(u8),
    /// How many routes of a length the router has.
    Length(u8),
}

/// An address's family: how its bits are keyed, and where its hints are.
#[derive(Clone, Copy)]
struct Family {
    v6: bool,
    /// Longest prefix, bits.
    longest: u8,
    /// Hints are about the lengths above this one.
    level: u8,
}

const V4: Family = Family { v6: false, longest: 32, level: 16 };
const V6: Family = Family { v6: true, longest: 128, level: 32 };

/// An address as a number, left-aligned within its family's width, and that family.
fn bits_of(address: IpAddr) -> (u128, Family) {
    match address {
        IpAddr::V4(v4) => (v4.to_bits().into(), V4),
        IpAddr::V6(v6) => (v6.to_bits(), V6),
    }
}

impl Family {
    /// The first `len` bits of an address, and zeros.
    #[inline]
    fn cut(self, bits: u128, len: u8) -> u128 {
        let behind = u32::from(self.longest - len);
        (bits.checked_shr(behind).unwrap_or(0)).checked_shl(behind).unwrap_or(0)
    }

    /// The class of a length above the level. Those of IPv4, and those of IPv6 up to 64, are each their own; longer ones are
    /// four to a class.
    fn class(self, len: u8) -> u8 {
        match len - self.level - 1 {
            n if n < 32 => n,
            n => 32 + (n - 32) / 4,
        }
    }

    /// The lengths of classes: bit n is length n + 1.
    #[inline]
    fn lengths(self, classes: u64) -> u128 {
        let each = u128::from(classes as u32) << self.level;
        if !self.v6 {
            return each;
        }
        let mut fours = 0;
        let mut groups = classes >> 32;
        while groups != 0 {
            fours |= 0xf_u128 << (64 + 4 * groups.trailing_zeros());
            groups &= groups - 1;
        }
        each | fours
    }
}

/// The table.
#[derive(Clone, Debug)]
pub(super) struct RouteTable {
    secret: Secret,
    entries: CowMap,
    lengths: CowVec<Lengths>,
}

impl RouteTable {
    pub(super) fn new(secret: Secret) -> Self {
        Self { secret, entries: CowMap::new(secret), lengths: CowVec::new() }
    }

    /// The key of an entry, and more bits of its hash where the key alone is one.
    #[inline]
    fn key(&self, router: RouterIx, family: Family, entry: Entry, bits: u128) -> (u64, u64) {
        let code = match entry {
            Entry::Route(len) => u64::from(len),
            Entry::Hint => 0xff,
            Entry::Below(class) => 0x100 | u64::from(class),
            Entry::Length(len) => 0x200 | u64::from(len),
        };
        let owner = u64::from(router.0) << 10 | code;
        if !family.v6 {
            return (1 << 62 | owner << 32 | bits as u64, 0);
        }
        let folded = fold(self.secret, bits);
        let again = self.secret.hash(fold(self.secret, bits.rotate_left(40) ^ u128::from(owner)));
        (3 << 62 | self.secret.mix(folded, owner), again >> MORE_AT)
    }

    #[inline]
    fn read(&self, (key, more): (u64, u64)) -> Option<u64> {
        let value = self.entries.get(self.secret.hash(key), key)?;
        (value >> MORE_AT == more).then_some(value & SAID)
    }

    /// Sets or (`None`) removes an entry.
    fn write(&mut self, (key, more): (u64, u64), said: Option<u64>) -> Result<(), Full> {
        let before = self.entries.get(self.secret.hash(key), key);
        if before.is_some_and(|before| before >> MORE_AT != more) {
            // Two prefixes of one key: so unlikely that it is a full table.
            return Err(Full);
        }
        match said {
            None => drop(self.entries.remove(key)),
            Some(said) if self.entries.insert(key, said | more << MORE_AT) => {}
            Some(_) => return Err(Full),
        }
        Ok(())
    }

    /// Counts one more or one less; how many there are then.
    fn count(&mut self, key: (u64, u64), more: bool) -> Result<u64, Full> {
        let before = self.read(key).unwrap_or(0);
        let now = if more { before + 1 } else { before.saturating_sub(1) };
        self.write(key, (now > 0).then_some(now))?;
        Ok(now)
    }

    /// The target of exactly that prefix.
    pub(super) fn exact(&self, router: RouterIx, prefix: Prefix) -> Option<Target> {
        let (bits, family) = bits_of(prefix.address);
        let len = prefix.len.min(family.longest);
        self.read(self.key(router, family, Entry::Route(len), family.cut(bits, len))).map(Target::from_bits)
    }

    /// The longest prefix of a router that covers an address: its length in bits, and its target.
    #[inline]
    pub(super) fn get(&self, router: RouterIx, to: IpAddr) -> Option<(u8, Target)> {
        let lengths = self.lengths.get(router.index())?;
        let (bits, family) = bits_of(to);
        let mut set = if family.v6 { lengths.v6 } else { lengths.v4.into() };
        let below = (1_u128 << family.level) - 1;
        if (set & !below).count_ones() > FEW {
            let hint = self.key(router, family, Entry::Hint, family.cut(bits, family.level));
            set &= below | family.lengths(self.read(hint).unwrap_or(0));
        }
        while set != 0 {
            let len = (u128::BITS - set.leading_zeros()) as u8;
            let key = self.key(router, family, Entry::Route(len), family.cut(bits, len));
            if let Some(target) = self.read(key) {
                return Some((len, Target::from_bits(target)));
            }
            set &= !(1 << (len - 1));
        }
        let default = lengths.defaults[usize::from(family.v6)];
        let key = self.key(router, family, Entry::Route(0), 0);
        self.read(key).filter(|_| default).map(|target| (0, Target::from_bits(target)))
    }

    /// Sets or (`None`) removes the target of a prefix.
    ///
    /// # Errors
    /// [`Full`]: the table is not to be used.
    pub(super) fn set(&mut self, router: RouterIx, prefix: Prefix, target: Option<Target>) -> Result<(), Full> {
        let (bits, family) = bits_of(prefix.address);
        let len = prefix.len.min(family.longest);
        let key = self.key(router, family, Entry::Route(len), family.cut(bits, len));
        let was = self.read(key).is_some();
        self.write(key, target.map(Target::to_bits))?;
        if was == target.is_some() {
            return Ok(());
        }
        let left = self.count(self.key(router, family, Entry::Length(len), 0), !was)?;
        let lengths = self.lengths.get_mut(router.index());
        let there = left > 0;
        match (len.checked_sub(1), family.v6) {
            (None, v6) => lengths.defaults[usize::from(v6)] = there,
            (Some(n), false) => lengths.v4 = lengths.v4 & !(1 << n) | u32::from(there) << n,
            (Some(n), true) => lengths.v6 = lengths.v6 & !(1 << n) | u128::from(there) << n,
        }
        if len > family.level {
            self.set_hint(router, family, bits, len, !was)?;
        }
        Ok(())
    }

    /// Counts a route of that length below its first bits, and keeps the hint about them true.
    fn set_hint(&mut self, router: RouterIx, family: Family, bits: u128, len: u8, more: bool) -> Result<(), Full> {
        let (top, class) = (family.cut(bits, family.level), family.class(len));
        let left = self.count(self.key(router, family, Entry::Below(class), top), more)?;
        if left > u64::from(more) {
            return Ok(());
        }
        let hint = self.key(router, family, Entry::Hint, top);
        let classes = self.read(hint).unwrap_or(0) & !(1 << class) | u64::from(left > 0) << class;
        self.write(hint, (classes != 0).then_some(classes))
    }

    /// Bytes that it takes, without the lengths.
    #[cfg(test)]
    fn bytes(&self) -> usize {
        self.entries.bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::{Ipv4Addr, Ipv6Addr};
    use proptest::prelude::*;
    use std::collections::BTreeMap;
    use std::vec::Vec;

    const SECRET: Secret = Secret::new([0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344]);

    fn via(n: u32) -> Option<Target> {
        Some(Target::Via(NextHopsIx(n)))
    }

    /// Addresses and lengths that often cover each other.
    fn prefixes() -> impl Strategy<Value = Prefix> {
        let v4 = (any::<u32>(), 0..=32u8).prop_map(|(bits, len)| Prefix {
            address: Ipv4Addr::from_bits(0x0a00_0000 | bits & 0x0303_0303).into(),
            len,
        });
        let v6 = (any::<u128>(), 0..=128u8).prop_map(|(bits, len)| {
            let mask = 0x0000_0001_0000_0003_0000_0001_0000_0003_u128;
            Prefix { address: Ipv6Addr::from_bits(0x2001_0db8 << 96 | bits & mask).into(), len }
        });
        prop_oneof![v4, v6]
    }

    /// The plainest longest prefix match there is.
    fn longest(model: &BTreeMap<(u16, IpAddr, u8), Target>, router: u16, to: IpAddr) -> Option<(u8, Target)> {
        let covering = model
            .iter()
            .filter(|((r, address, len), _)| *r == router && Prefix { address: *address, len: *len }.contains(to));
        covering.map(|((.., len), target)| (*len, *target)).max_by_key(|(len, _)| *len)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 60, rng_seed: proptest::test_runner::RngSeed::Fixed(1), failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn it_agrees_with_looking_at_every_route(
            steps in prop::collection::vec((0..2u16, prefixes(), 0..3u32), 1..150),
            asked in prop::collection::vec(prefixes(), 40),
        ) {
            let (mut table, mut model) = (RouteTable::new(SECRET), BTreeMap::new());
            for (router, prefix, n) in steps {
                let target = if n == 0 { None } else { via(n) };
                let (bits, family) = bits_of(prefix.address);
                let net: IpAddr = match family.v6 {
                    true => Ipv6Addr::from_bits(family.cut(bits, prefix.len)).into(),
                    false => Ipv4Addr::from_bits(family.cut(bits, prefix.len) as u32).into(),
                };
                table.set(RouterIx(router), prefix, target).expect("room");
                match target {
                    Some(target) => drop(model.insert((router, net, prefix.len), target)),
                    None => drop(model.remove(&(router, net, prefix.len))),
                }
                prop_assert_eq!(table.exact(RouterIx(router), prefix), target);
            }
            for to in asked {
                for router in 0..2 {
                    prop_assert_eq!(table.get(RouterIx(router), to.address), longest(&model, router, to.address));
                }
            }
            for ((router, address, len), _) in core::mem::take(&mut model) {
                table.set(RouterIx(router), Prefix { address, len }, None).expect("room");
            }
            prop_assert_eq!(table.entries.len(), 0, "nothing is left behind");
        }
    }

    #[test]
    fn an_older_clone_keeps_its_routes() {
        let mut new = RouteTable::new(SECRET);
        let net = Prefix { address: Ipv4Addr::new(10, 0, 0, 0).into(), len: 8 };
        new.set(RouterIx(3), net, via(1)).expect("room");
        let old = new.clone();
        new.set(RouterIx(3), net, None).expect("room");
        let to = Ipv4Addr::new(10, 1, 2, 3).into();
        assert_eq!((old.get(RouterIx(3), to), new.get(RouterIx(3), to)), (Some((8, Target::Via(NextHopsIx(1)))), None));
    }

    /// A million prefixes of lengths as in the Internet's table: most are /24, the rest spread from /16 on.
    fn many() -> Vec<Prefix> {
        let lengths = [24, 24, 24, 24, 24, 24, 22, 23, 20, 21, 19, 18, 16];
        let mut all: Vec<_> = (0..1_000_000u32)
            .map(|n| {
                let len = lengths[n as usize % lengths.len()];
                let bits = n.wrapping_mul(0x9e37_79b1) >> (32 - len) << (32 - len);
                Prefix { address: Ipv4Addr::from_bits(bits).into(), len }
            })
            .collect();
        all.sort_unstable_by_key(|p| (p.address, p.len));
        all.dedup();
        all
    }

    #[test]
    fn a_route_of_a_million_takes_at_most_64_bytes() {
        let mut table = RouteTable::new(SECRET);
        let all = many();
        for prefix in &all {
            table.set(RouterIx(1), *prefix, via(7)).expect("room");
        }
        let each = table.bytes() as f64 / all.len() as f64;
        assert!(each <= 64.0, "{each:.1} bytes for each of {} routes", all.len());
    }

    #[test]
    fn as_many_routers_as_there_can_be_with_a_few_routes_each_take_less_than_a_kibibyte_a_router() {
        let mut table = RouteTable::new(SECRET);
        let net = |a, b, len| Prefix { address: Ipv4Addr::new(10, a, b, 0).into(), len };
        for router in 0..=u16::MAX {
            for (n, prefix) in [net(0, 0, 24), net(0, 1, 24), net(0, 0, 0)].into_iter().enumerate() {
                table.set(RouterIx(router), prefix, via(u32::from(router) + n as u32)).expect("room");
            }
        }
        for router in [0, 1, 40_000, u16::MAX] {
            let at = |b, len, n| {
                let to = Ipv4Addr::new(10, 0, b, 7).into();
                assert_eq!(table.get(RouterIx(router), to), via(u32::from(router) + n).map(|target| (len, target)));
            };
            at(0, 24, 0);
            at(1, 24, 1);
            at(9, 0, 2);
        }
        assert!(table.bytes() < 1024 << 16, "{} bytes", table.bytes());
    }
}
