//! Where flooded frames go, and which mesh a peer is in.

use super::*;
use std::collections::BTreeSet;
use weir_api::object::FloodList;
use weir_pipelines::tables::{BridgeId, Encap, MeshId, PeerIx, SegmentKind};

/// What bridges flood to and the meshes of it, as the snapshot tells them; each place once.
pub(super) fn told(c: &Configuration) -> BTreeSet<String> {
    let (s, ids, meshes) = (c.snapshot(), c.translator().segment_ids(), c.translator().mesh_names());
    let mut lines = BTreeSet::new();
    for (id, name) in c.translator().bridge_names() {
        let bridge = s.bridge(id).unwrap();
        for (segment, peer) in &bridge.remote {
            let mesh = s.mesh(*segment, s.segment(*segment).unwrap(), Some(*peer));
            let mesh = if mesh == MeshId(0) { "default".to_owned() } else { meshes[&mesh].to_string() };
            let peer = s.peer(*peer).unwrap();
            let vtep = s.vtep(peer.vtep).unwrap().address;
            lines.insert(format!("{name} floods to {}/{} from {vtep} in {mesh}", ids[segment], peer.address));
        }
        assert_eq!(lines.iter().filter(|line| line.starts_with(name.as_str())).count(), bridge.remote.len(), "twice");
    }
    lines
}

/// The same, from the objects, in the plainest way.
pub(super) fn desired(c: &Configuration) -> BTreeSet<String> {
    let mut lines = BTreeSet::new();
    for object in whole(c) {
        let (segment, address) = match object {
            Object::Peer(o) => (o.segment, o.address),
            Object::Endpoint(o) => {
                let floods = c.desired().bridges.get(&o.bridge).unwrap().flood_list == FloodList::Endpoints;
                let Some(peer) = o.location.peer.filter(|_| floods) else { continue };
                (o.location.segment, peer)
            }
            _ => continue,
        };
        let of = c.desired().segments.get(&segment).unwrap();
        let vtep = c.desired().vteps.get(of.vtep.as_ref().unwrap()).unwrap().address.address();
        let mesh = c.desired().peer_mesh(&segment, address).or(of.mesh.as_ref());
        let mesh = mesh.map_or("default".to_owned(), ToString::to_string);
        lines.insert(format!("{} floods to {segment}/{address} from {vtep} in {mesh}", of.bridge));
    }
    lines
}

#[test]
fn a_bridge_floods_to_peers_or_to_endpoints_too() {
    let mut c = with_red();
    let remotes = |c: &Configuration| c.snapshot().bridge(BridgeId(0)).unwrap().remote.len();
    assert_eq!(remotes(&c), 1, "endpoints are no reason by default");
    let list = |list: &str| json!([{"put": {"bridge": {"name": "red", "flood_list": list}}}]);
    apply(&mut c, list("endpoints")).unwrap();
    assert_eq!((remotes(&c), told(&c)), (2, desired(&c)));
    // A second endpoint at the same place, and a peer there: one copy for all, until the last is gone.
    let more = json!([
        {"put": {"endpoint": {"bridge": "red", "mac": "02:00:00:00:00:03", "location": "vxlan/7/192.0.2.3"}}},
        {"put": {"peer": {"segment": "vxlan/7", "address": "192.0.2.3"}}},
    ]);
    apply(&mut c, more).unwrap();
    assert_eq!(remotes(&c), 2);
    for (kind, id, left) in [
        ("endpoint", "red/02:00:00:00:00:02", 2),
        ("peer", "vxlan/7/192.0.2.3", 2),
        ("endpoint", "red/02:00:00:00:00:03", 1),
    ] {
        apply(&mut c, json!([{"delete": {"kind": kind, "id": id}}])).unwrap();
        assert_eq!((remotes(&c), told(&c)), (left, desired(&c)), "{kind} {id}");
    }
    apply(
        &mut c,
        json!([{"put": {"endpoint": {"bridge": "red", "mac": "02:00:00:00:00:03", "location": "vxlan/7/192.0.2.9"}}}]),
    )
    .unwrap();
    assert_eq!(remotes(&c), 2);
    apply(&mut c, list("peers")).unwrap();
    assert_eq!((remotes(&c), told(&c)), (1, desired(&c)));
}

#[test]
fn a_flood_list_goes_along_with_its_segment() {
    let mut c = with_red();
    apply(&mut c, json!([{"put": {"bridge": {"name": "red", "flood_list": "endpoints"}}}])).unwrap();
    let moved = json!([
        {"put": {"bridge": {"name": "blue", "flood_list": "peers"}}},
        {"put": {"segment": {"id": "vxlan/7", "bridge": "blue", "vtep": "up"}}},
        {"delete": {"kind": "endpoint", "id": "red/02:00:00:00:00:02"}},
        {"put": {"endpoint": {"bridge": "blue", "mac": "02:00:00:00:00:02", "location": "vxlan/7/192.0.2.3"}}},
    ]);
    apply(&mut c, moved).unwrap();
    assert_eq!(told(&c), desired(&c));
    assert_eq!(
        told(&c).into_iter().collect::<Vec<_>>(),
        ["blue floods to vxlan/7/192.0.2.2 from 192.0.2.1 in default"]
    );
}

#[test]
fn a_mesh_is_of_a_segment_or_of_a_peer() {
    let mut c = with_red();
    let mesh = |c: &Configuration, last: u8| {
        let s = c.snapshot();
        let ix = s.network(Encap::Vxlan, 7).unwrap();
        let segment = s.segment(ix).unwrap();
        let SegmentKind::Tunnel { vtep, .. } = segment.kind else { panic!("{segment:?}") };
        let peer: PeerIx = s
            .peer_number(weir_pipelines::tables::Peer { vtep, encap: Encap::Vxlan, address: [192, 0, 2, last].into() })
            .unwrap();
        s.mesh(ix, segment, Some(peer))
    };
    assert_eq!((mesh(&c, 2), mesh(&c, 3)), (MeshId(0), MeshId(0)));
    let put =
        |mesh: Value| json!([{"put": {"segment": {"id": "vxlan/7", "bridge": "red", "vtep": "up", "mesh": mesh}}}]);
    apply(&mut c, put(json!("east"))).unwrap();
    let east = mesh(&c, 2);
    assert!(east != MeshId(0) && mesh(&c, 3) == east);
    let peer = |mesh: Value| json!([{"put": {"peer": {"segment": "vxlan/7", "address": "192.0.2.2", "mesh": mesh}}}]);
    apply(&mut c, peer(json!("west"))).unwrap();
    assert!(mesh(&c, 2) != east && mesh(&c, 2) != MeshId(0) && mesh(&c, 3) == east);
    assert_eq!(c.translator().mesh_names().len(), 2);
    // The default again, and names that nothing has any more are forgotten.
    apply(&mut c, put(Value::Null)).unwrap();
    assert!(mesh(&c, 2) != MeshId(0) && mesh(&c, 3) == MeshId(0));
    apply(&mut c, peer(Value::Null)).unwrap();
    assert_eq!((mesh(&c, 2), c.translator().mesh_names().len()), (MeshId(0), 0));
}
