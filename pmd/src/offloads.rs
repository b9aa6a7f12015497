//! What a device can do, in this crate's words.
//!
//! Owns: [`Capabilities`]. Where a device lacks something, software does it: checksums and tags are the pipeline's work
//! in any case, queues without RSS are fewer, segments are joined in [`crate::TxQueue::send`].

use std::ffi::CStr;

use bitflags::bitflags;
use weir_dpdk_sys as sys;

bitflags! {
    /// What a device can do for received frames.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct RxOffloads: u64 {
        /// Takes the VLAN tag out. Never asked for.
        const VLAN_STRIP = sys::WEIR_RX_OFFLOAD_VLAN_STRIP;
        /// Checks the IPv4 header's checksum.
        const IPV4_CHECKSUM = sys::WEIR_RX_OFFLOAD_IPV4_CKSUM;
        /// Checks the UDP checksum.
        const UDP_CHECKSUM = sys::WEIR_RX_OFFLOAD_UDP_CKSUM;
        /// Checks the TCP checksum.
        const TCP_CHECKSUM = sys::WEIR_RX_OFFLOAD_TCP_CKSUM;
        /// Spreads a frame over several buffers.
        const SCATTER = sys::WEIR_RX_OFFLOAD_SCATTER;
    }
}

bitflags! {
    /// What a device can do for frames it sends.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct TxOffloads: u64 {
        /// Puts a VLAN tag in.
        const VLAN_INSERT = sys::WEIR_TX_OFFLOAD_VLAN_INSERT;
        /// Computes the IPv4 header's checksum.
        const IPV4_CHECKSUM = sys::WEIR_TX_OFFLOAD_IPV4_CKSUM;
        /// Computes the UDP checksum.
        const UDP_CHECKSUM = sys::WEIR_TX_OFFLOAD_UDP_CKSUM;
        /// Computes the TCP checksum.
        const TCP_CHECKSUM = sys::WEIR_TX_OFFLOAD_TCP_CKSUM;
        /// Computes a tunnel's outer IPv4 header checksum.
        const OUTER_IPV4_CHECKSUM = sys::WEIR_TX_OFFLOAD_OUTER_IPV4_CKSUM;
        /// Takes frames of several segments.
        const SEGMENTS = sys::WEIR_TX_OFFLOAD_MULTI_SEGS;
    }
}

/// What a port's device is and can do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// The driver's name: `net_af_packet`, `mlx5_pci`.
    pub driver: String,
    /// The device's MAC address.
    pub mac: [u8; 6],
    /// The NUMA node it is attached to, where it is to one.
    pub numa_node: Option<u32>,
    /// Most rx queues.
    pub max_rx_queues: u16,
    /// Most tx queues.
    pub max_tx_queues: u16,
    /// Smallest MTU, bytes.
    pub min_mtu: u16,
    /// Largest MTU that the driver admits to, bytes; 65535 where it does not say.
    pub max_mtu: u16,
    /// For received frames.
    pub rx: RxOffloads,
    /// For sent frames.
    pub tx: TxOffloads,
    /// Whether it can spread flows over rx queues by a hash that the driver lets us choose.
    pub rss: bool,
}

impl Capabilities {
    pub(crate) fn new(info: &sys::rte_eth_dev_info, mac: [u8; 6], numa_node: i32) -> Self {
        let driver = if info.driver_name.is_null() {
            String::new()
        } else {
            // SAFETY: the driver's name is a terminated string, and lives as long as the driver.
            unsafe { CStr::from_ptr(info.driver_name) }.to_string_lossy().into_owned()
        };
        Self {
            driver,
            mac,
            numa_node: u32::try_from(numa_node).ok(),
            max_rx_queues: info.max_rx_queues,
            max_tx_queues: info.max_tx_queues,
            min_mtu: info.min_mtu,
            max_mtu: max_mtu(info.max_mtu, info.max_rx_pktlen),
            rx: RxOffloads::from_bits_truncate(info.rx_offload_capa),
            tx: TxOffloads::from_bits_truncate(info.tx_offload_capa),
            rss: rss_hash(info) != 0,
        }
    }
}

/// The hash over IP addresses and ports, as far as the device has it.
pub(crate) fn rss_hash(info: &sys::rte_eth_dev_info) -> u64 {
    info.flow_type_rss_offloads & sys::WEIR_RSS_IP_UDP_TCP
}

/// The largest MTU by a driver's two limits, as ethdev itself computes it: bytes of frame around the MTU are what the limits
/// differ by, or an Ethernet header and FCS.
fn max_mtu(max_mtu: u16, max_frame: u32) -> u16 {
    const HEADER_AND_FCS: u32 = 14 + 4;
    let known = max_mtu != u16::MAX && max_frame > u32::from(max_mtu);
    let overhead = if known { max_frame - u32::from(max_mtu) } else { HEADER_AND_FCS };
    let by_frame = u16::try_from(max_frame.saturating_sub(overhead)).unwrap_or(u16::MAX);
    max_mtu.min(by_frame)
}

#[cfg(test)]
mod tests {
    use super::max_mtu;

    #[test]
    fn the_smaller_limit_counts() {
        assert_eq!(max_mtu(u16::MAX, 1518), 1500);
        assert_eq!(max_mtu(9600, 9618), 9600);
        assert_eq!(max_mtu(9600, 9622), 9600);
        assert_eq!(max_mtu(u16::MAX, u32::MAX), u16::MAX);
        assert_eq!(max_mtu(u16::MAX, 0), 0);
    }
}
