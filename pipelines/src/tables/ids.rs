//! What configured objects are called on the packet path: small numbers that the manager hands out.
//!
//! Learned entries name segments and peers by these numbers and may outlive them for a while, so the manager reuses a
//! freed [`SegmentIx`] or [`PeerIx`] as late as it can (first freed, first reused), and the path checks that a segment
//! is still of the bridge that the entry is of.

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($t:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub $t);

        impl $name {
            /// As an index into a table.
            #[inline]
            pub const fn index(self) -> usize {
                self.0 as usize
            }
        }
    };
}

id!(
    /// A port, in the order of `weir.toml`.
    PortId(u16)
);
id!(
    /// A bridge. 16 bits, so that a bridge and a MAC together are one 64-bit key.
    BridgeId(u16)
);
id!(
    /// A segment; below [`SegmentIx::LIMIT`].
    SegmentIx(u32)
);
id!(
    /// A remote tunnel endpoint as seen from one vtep; below [`PeerIx::LIMIT`]. Those below the worker's configured
    /// capacity are the snapshot's, the others the worker's own.
    PeerIx(u32)
);
id!(
    /// A local tunnel endpoint.
    VtepIx(u16)
);

id!(
    /// A full mesh of tunnel peers; 0 is the one of all who name none.
    MeshId(u16)
);
id!(
    /// What a MAC may hold besides its endpoint's own addresses.
    GuardIx(u32)
);

id!(
    /// A router. 16 bits, so that it and a prefix together are one 64-bit key.
    RouterIx(u16)
);
id!(
    /// A router's interface on a bridge.
    InterfaceIx(u32)
);
id!(
    /// The next hops that routes of a router share.
    NextHopsIx(u32)
);

impl SegmentIx {
    /// One more than the largest: a learned entry has 20 bits for it.
    pub const LIMIT: u32 = 1 << 20;
}

impl PeerIx {
    /// One more than the largest: a learned entry has 20 bits for it.
    pub const LIMIT: u32 = 1 << 20;
}
