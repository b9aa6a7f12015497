//! Safe, owned DPDK (filled in next).
