//! Bindings to the installed DPDK (filled in next).
