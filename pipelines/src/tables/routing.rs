//! Routers as the packet path reads them: their interfaces, next hops and routes, and who the gateways are.
//!
//! Owns: which MAC of a bridge is a gateway's, which addresses are gateways' own, what an interface brings with it (a route
//! to each of its nets, one to each of its addresses, a link-local address made of its MAC), and the DVR MACs. Judging
//! whether that makes sense is the manager's.
//! Read first: RFC 1812 §5, RFC 4291 §2.5.6 and appendix A.

use super::cow::CowMap;
use super::objects::Prefix;
use super::snapshot::{Full, Snapshot, address_key, mac_key};
use super::{BridgeId, InterfaceIx, NextHopsIx, RouterIx, Target};
use crate::wire::{MacAddr, link_local};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::IpAddr;

/// What an operator sets on a router.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RouterSettings {
    /// Whether TCP's maximum segment size is lowered to what fits the way out.
    pub mss_clamp: bool,
    /// ICMP errors that it sends in a second at most, on each worker; 0 is none.
    pub icmp_limit: u32,
}

/// A router.
#[derive(Clone, Debug, Default)]
pub struct Router {
    /// What the operator set.
    pub settings: RouterSettings,
    /// Its interfaces.
    pub interfaces: Vec<InterfaceIx>,
}

/// A router's interface: the gateway of a bridge's hosts, or a way out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Whose it is.
    pub router: RouterIx,
    /// The bridge it is on.
    pub bridge: BridgeId,
    /// The gateway MAC, the same on every gateway.
    pub mac: MacAddr,
    /// The gateway's own addresses, each with the prefix length of its net.
    pub addresses: Vec<Prefix>,
    /// The most that the bridge's hosts take, bytes of an IP packet; `u16::MAX` if only the ways there limit it.
    pub mtu: u16,
    /// Whether it is a way out.
    pub external: bool,
    /// Of a way out: whether packets pass that no NAT has translated.
    pub pass_without_nat: bool,
    /// How the router advertises itself, if it does.
    pub advertise: Option<Advertise>,
}

impl Interface {
    /// The link-local address that every interface has (RFC 4291 appendix A).
    pub fn link_local(&self) -> IpAddr {
        link_local(self.mac).into()
    }

    /// Every address of its own.
    pub fn own_addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.addresses.iter().map(|own| own.address).chain([self.link_local()])
    }

    /// Its own address that speaks to `to`: one of a net that covers it, else one of its family.
    pub fn address_towards(&self, to: IpAddr) -> Option<IpAddr> {
        let covers = self.addresses.iter().find(|own| own.contains(to));
        let same = || self.addresses.iter().find(|own| own.address.is_ipv4() == to.is_ipv4());
        let other = || to.is_ipv6().then(|| self.link_local());
        covers.or_else(same).map(|own| own.address).or_else(other)
    }
}

/// How a router advertises itself (RFC 4861 §6.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Advertise {
    /// The longest time between two advertisements, seconds.
    pub interval: u16,
    /// For how long it is a default router, seconds; 0 is not at all.
    pub lifetime: u16,
    /// Whether hosts get addresses by DHCPv6.
    pub managed: bool,
    /// Whether hosts get other things by DHCPv6.
    pub other: bool,
}

/// A next hop of routes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NextHop {
    /// The interface that it is reached by.
    pub interface: InterfaceIx,
    /// Its address.
    pub address: IpAddr,
}

/// The gateway MACs of a bridge, in a word: none, one, or several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gate(u64);

impl Default for Gate {
    /// None.
    fn default() -> Self {
        Self(Self::NONE)
    }
}

impl Gate {
    /// Neither of them is a MAC.
    const NONE: u64 = u64::MAX;
    const SEVERAL: u64 = 1 << 63;

    /// The only gateway's MAC.
    fn only(self) -> Option<u64> {
        (self.0 >> 48 == 0).then_some(self.0)
    }

    /// Whether a MAC is the only gateway's.
    #[inline(always)]
    pub(crate) fn is(self, mac: u64) -> bool {
        self.0 == mac
    }

    /// Whether there are several: then [`Snapshot::interface_with`] knows.
    #[inline(always)]
    pub(crate) fn is_several(self) -> bool {
        self.0 == Self::SEVERAL
    }

    /// Whether there is any.
    #[inline(always)]
    pub(crate) fn is_any(self) -> bool {
        self.0 != Self::NONE
    }
}

/// The DVR MACs of all gateways.
#[derive(Clone, Debug, Default)]
pub(super) struct DvrMacs {
    own: Option<MacAddr>,
    /// In order.
    others: Vec<MacAddr>,
}

/// Routers, interfaces and next hops, by number.
#[derive(Clone, Debug)]
pub(super) struct Routing {
    pub(super) routers: super::cow::CowVec<Option<Arc<Router>>>,
    pub(super) interfaces: super::cow::CowVec<Option<Arc<Interface>>>,
    /// From bridge and MAC, and from bridge and address, to the interface: on a bridge to the outside there may be thousands.
    by_mac: CowMap,
    by_address: CowMap,
    pub(super) next_hops: super::cow::CowVec<Option<Arc<[NextHop]>>>,
    pub(super) routes: super::route::RouteTable,
    pub(super) dvr_macs: Arc<DvrMacs>,
    /// The interfaces that advertise themselves, in order.
    advertising: Arc<Vec<InterfaceIx>>,
    /// In which generation each interface became what it is.
    since: super::cow::CowVec<u64>,
}

impl Routing {
    pub(super) fn new(secret: super::Secret) -> Self {
        Self {
            routers: super::cow::CowVec::new(),
            interfaces: super::cow::CowVec::new(),
            by_mac: CowMap::new(secret),
            by_address: CowMap::new(secret),
            next_hops: super::cow::CowVec::new(),
            routes: super::route::RouteTable::new(secret),
            dvr_macs: Arc::default(),
            advertising: Arc::default(),
            since: super::cow::CowVec::new(),
        }
    }
}

impl Snapshot {
    /// The router.
    #[inline]
    pub fn router(&self, ix: RouterIx) -> Option<&Router> {
        self.routing.routers.get(ix.index())?.as_deref()
    }

    /// The interface.
    #[inline]
    pub fn interface(&self, ix: InterfaceIx) -> Option<&Interface> {
        self.routing.interfaces.get(ix.index())?.as_deref()
    }

    /// The next hops that routes share.
    #[inline]
    pub fn next_hops(&self, ix: NextHopsIx) -> &[NextHop] {
        self.routing.next_hops.get(ix.index()).and_then(Option::as_deref).unwrap_or(&[])
    }

    /// The route of a router to an address: the length of its prefix, bits, and its target.
    #[inline]
    pub fn route(&self, router: RouterIx, to: IpAddr) -> Option<(u8, Target)> {
        self.routing.routes.get(router, to)
    }

    /// The target of a router's route to exactly that prefix.
    pub fn exact_route(&self, router: RouterIx, prefix: Prefix) -> Option<Target> {
        self.routing.routes.exact(router, prefix)
    }

    /// A bridge's interfaces.
    pub fn interfaces_of(&self, bridge: BridgeId) -> impl Iterator<Item = (InterfaceIx, &Interface)> {
        let numbers = self.bridge(bridge).map_or(&[][..], |bridge| &bridge.interfaces);
        numbers.iter().filter_map(|&ix| self.interface(ix).map(|interface| (ix, interface)))
    }

    /// The interface of a bridge that has that MAC.
    #[inline]
    pub fn interface_with(&self, bridge: BridgeId, mac: MacAddr) -> Option<(InterfaceIx, &Interface)> {
        let gate = self.bridge(bridge)?.gate;
        if !gate.is_several() && gate.only() != Some(mac.to_bits()) {
            return None;
        }
        let key = mac_key(bridge, mac);
        let ix = InterfaceIx(self.routing.by_mac.get(self.secret().hash(key), key)? as u32);
        Some((ix, self.interface(ix)?))
    }

    /// The interface of a bridge that an address is one of.
    pub fn interface_at(&self, bridge: BridgeId, address: IpAddr) -> Option<(InterfaceIx, &Interface)> {
        if !self.bridge(bridge)?.gate.is_any() {
            return None;
        }
        let (key, more) = address_key(self.secret(), bridge, address);
        let bits = self.routing.by_address.get(self.secret().hash(key), key)?;
        let ix = InterfaceIx(bits as u32);
        (bits >> 48 == u64::from(more)).then_some(())?;
        Some((ix, self.interface(ix)?))
    }

    /// In which generation an interface became what it is.
    pub(crate) fn interface_since(&self, ix: InterfaceIx) -> u64 {
        self.routing.since.get(ix.index()).copied().unwrap_or(0)
    }

    /// The interfaces that advertise themselves.
    pub fn advertising(&self) -> &[InterfaceIx] {
        &self.routing.advertising
    }

    /// This gateway's own DVR MAC: what was set, else its first port's.
    pub fn dvr_mac(&self) -> MacAddr {
        self.routing.dvr_macs.own.unwrap_or_else(|| self.ports().first().map_or(MacAddr::ZERO, |port| port.mac))
    }

    /// Whether a MAC is another gateway's DVR MAC.
    #[inline]
    pub fn is_dvr_mac(&self, mac: MacAddr) -> bool {
        let others = &self.routing.dvr_macs.others;
        !others.is_empty() && others.binary_search(&mac).is_ok()
    }

    /// Sets the DVR MACs: this gateway's, and those of the others.
    pub fn set_dvr_macs(&mut self, own: Option<MacAddr>, others: &[MacAddr]) {
        let mut others = others.to_vec();
        others.sort_unstable();
        others.dedup();
        self.routing.dvr_macs = Arc::new(DvrMacs { own, others });
    }

    /// Creates, changes or (`None`) deletes a router. It is deleted after its interfaces and routes.
    pub fn set_router(&mut self, ix: RouterIx, settings: Option<RouterSettings>) {
        let router = self.routing.routers.get_mut(ix.index());
        match (router, settings) {
            (Some(router), Some(settings)) => Arc::make_mut(router).settings = settings,
            (router, settings) => {
                *router = settings.map(|settings| Arc::new(Router { settings, interfaces: Vec::new() }));
            }
        }
    }

    /// Creates, changes or (`None`) deletes an interface, and with it the routes to its nets and to its own addresses. The router
    /// and the bridge that it names must be there.
    ///
    /// # Errors
    /// [`Full`]: the snapshot is not to be used.
    pub fn set_interface(&mut self, ix: InterfaceIx, interface: Option<Interface>) -> Result<(), Full> {
        let new = interface.map(Arc::new);
        *self.routing.since.get_mut(ix.index()) = self.generation;
        let before = core::mem::replace(self.routing.interfaces.get_mut(ix.index()), new.clone());
        if let Some(old) = before {
            for (prefix, target) in own_routes(ix, &old) {
                // It may be another's by now.
                if self.routing.routes.exact(old.router, prefix) == Some(target) {
                    self.routing.routes.set(old.router, prefix, None)?;
                }
            }
            if let Some(router) = self.routing.routers.get_mut(old.router.index()) {
                Arc::make_mut(router).interfaces.retain(|&other| other != ix);
            }
            self.unindex(ix, &old);
            self.change_gates(old.bridge, |interfaces| interfaces.retain(|&other| other != ix));
            if old.advertise.is_some() {
                Arc::make_mut(&mut self.routing.advertising).retain(|&other| other != ix);
            }
        }
        let Some(new) = new else { return Ok(()) };
        for (prefix, target) in own_routes(ix, &new) {
            self.routing.routes.set(new.router, prefix, Some(target))?;
        }
        if let Some(router) = self.routing.routers.get_mut(new.router.index()) {
            Arc::make_mut(router).interfaces.push(ix);
        }
        self.index(ix, &new)?;
        self.change_gates(new.bridge, |interfaces| interfaces.push(ix));
        if new.advertise.is_some() {
            let advertising = Arc::make_mut(&mut self.routing.advertising);
            advertising.push(ix);
            advertising.sort_unstable();
        }
        Ok(())
    }

    /// Makes an interface known by its MAC and its addresses.
    fn index(&mut self, ix: InterfaceIx, interface: &Interface) -> Result<(), Full> {
        let (secret, number) = (self.secret(), u64::from(ix.0));
        let mut there = self.routing.by_mac.insert(mac_key(interface.bridge, interface.mac), number);
        for address in interface.own_addresses() {
            let (key, more) = address_key(secret, interface.bridge, address);
            there &= self.routing.by_address.insert(key, number | u64::from(more) << 48);
        }
        if there { Ok(()) } else { Err(Full) }
    }

    /// The reverse, as far as what it was known by is not another's by now.
    fn unindex(&mut self, ix: InterfaceIx, interface: &Interface) {
        let secret = self.secret();
        let is_its = |map: &CowMap, key| map.get(secret.hash(key), key).is_some_and(|bits| bits as u32 == ix.0);
        let key = mac_key(interface.bridge, interface.mac);
        if is_its(&self.routing.by_mac, key) {
            self.routing.by_mac.remove(key);
        }
        for address in interface.own_addresses() {
            let (key, _) = address_key(secret, interface.bridge, address);
            if is_its(&self.routing.by_address, key) {
                self.routing.by_address.remove(key);
            }
        }
    }

    /// Changes which interfaces are on a bridge, and what its attachments say of that.
    fn change_gates(&mut self, id: BridgeId, change: impl FnOnce(&mut Vec<InterfaceIx>)) {
        let Some(bridge) = self.bridges.get_mut(id.index()) else { return };
        let bridge = Arc::make_mut(bridge);
        change(&mut bridge.interfaces);
        let interfaces = &self.routing.interfaces;
        let gate = match bridge.interfaces[..] {
            [] => Gate::default(),
            [ix] => {
                let only = interfaces.get(ix.index()).and_then(Option::as_ref);
                Gate(only.map_or(Gate::NONE, |interface| interface.mac.to_bits()))
            }
            _ => Gate(Gate::SEVERAL),
        };
        if core::mem::replace(&mut bridge.gate, gate) != gate {
            self.mark_attachments(id);
        }
    }

    /// Sets or (`None`) deletes next hops that routes share.
    pub fn set_next_hops(&mut self, ix: NextHopsIx, hops: Option<&[NextHop]>) {
        *self.routing.next_hops.get_mut(ix.index()) = hops.map(Arc::from);
    }

    /// Sets or (`None`) deletes a configured route.
    ///
    /// # Errors
    /// [`Full`]: the snapshot is not to be used.
    pub fn set_route(&mut self, router: RouterIx, prefix: Prefix, target: Option<Target>) -> Result<(), Full> {
        self.routing.routes.set(router, prefix, target)
    }
}

/// The routes that an interface brings along: to its nets, and to its own addresses.
fn own_routes(ix: InterfaceIx, interface: &Interface) -> impl Iterator<Item = (Prefix, Target)> {
    let nets = interface.addresses.iter().filter(|own| !own.is_host()).map(move |own| (*own, Target::Connected(ix)));
    let own = interface.addresses.iter().map(move |own| (Prefix::host(own.address), Target::Local(ix)));
    nets.chain(own)
}
