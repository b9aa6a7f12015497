//! The flows that make Open vSwitch a router: one for each route and each host on the bridge, the longer prefix before the
//! shorter, and each does what a router does.

use super::written;
use crate::routed::{DVR_MAC, GATEWAY_IN, GATEWAY_OUT, Prefix, VID_OUT, host_address, hosts, next_hop, prefix};
use crate::trace::{Case, Traffic, VID};

/// What the tunnel port that routed frames leave by is called.
pub(super) const TUNNEL_OUT: &str = "tunnel-out";
/// Flows in a file.
const FILE: usize = 20_000;

/// All of them, one a line, in files of so many that loading one is soon done.
pub(super) fn flows(traffic: Traffic) -> Vec<String> {
    let routes = (0..traffic.routes).map(|n| (prefix(n), next_hop(n)));
    let hosts = (0..hosts(&traffic)).map(|host| (Prefix { address: host_address(host), length: 32 }, host));
    let flows: Vec<_> = routes.chain(hosts).map(|(prefix, host)| flow(traffic.case, prefix, host)).collect();
    flows.chunks(FILE).map(|lines| lines.join("\n") + "\n").collect()
}

fn flow(case: Case, prefix: Prefix, host: u32) -> String {
    let (from, source, out) = if case == Case::Route {
        ("in_port=tunnel".to_owned(), DVR_MAC, format!("output:{TUNNEL_OUT}"))
    } else {
        // Not by its port: that is added last, for it brings frames at once.
        (format!("dl_vlan={VID}"), GATEWAY_OUT, format!("mod_vlan_vid:{VID_OUT},output:sink"))
    };
    let (gateway, source, next) = (written(GATEWAY_IN), written(source), written(Traffic::destination(host)));
    let priority = 1000 + u32::from(prefix.length);
    format!(
        "priority={priority},{from},dl_dst={gateway},ip,nw_dst={prefix},\
         actions=mod_dl_src:{source},mod_dl_dst:{next},dec_ttl,{out}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_a_flow_for_every_route_and_every_host() {
        let traffic = Traffic::new(Case::Route, 80, 80).unwrap().with_routes(20).unwrap();
        let text = flows(traffic).concat();
        assert_eq!(text.lines().count(), 20 + 256 + 10);
        let first = "priority=1018,in_port=tunnel,dl_dst=02:00:5e:00:00:0a,ip,nw_dst=11.0.0.0/18,\
                     actions=mod_dl_src:02:00:5e:01:00:01,mod_dl_dst:02:0b:00:00:00:00,dec_ttl,output:tunnel-out";
        assert_eq!(text.lines().next(), Some(first));
        assert!(text.contains("priority=1032,in_port=tunnel,dl_dst=02:00:5e:00:00:0a,ip,nw_dst=10.128.1.10/32,"));
        assert_eq!(flows(traffic.with_routes(100_000).unwrap()).len(), 6);
        let tagged = flow(Case::RouteVlan, prefix(1), 1);
        assert!(tagged.contains("1020,dl_vlan=100,") && tagged.ends_with("mod_vlan_vid:200,output:sink"), "{tagged}");
    }
}
