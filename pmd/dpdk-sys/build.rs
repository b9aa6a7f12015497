//! Finds the installed DPDK by pkg-config, generates bindings to what `shim/dpdk.h` declares and the lists below allow,
//! and compiles the shim of DPDK's inline functions.
//!
//! Nothing here names a DPDK library: pkg-config does, and the linker keeps those that are used. The drivers are not
//! linked at all; the EAL loads them from the distribution's plugin directory when it starts.

use std::path::PathBuf;
use std::process::Command;

/// DPDK's oldest release that this code is written against.
const OLDEST: &str = "22.11";

/// Exported functions in use. Inline ones are in the shim.
const FUNCTIONS: &[&str] = &[
    "weir_.*",
    "rte_version",
    "rte_eal_init",
    "rte_eal_cleanup",
    "rte_eal_remote_launch",
    "rte_eal_wait_lcore",
    "rte_eal_get_lcore_state",
    "rte_get_tsc_hz",
    "rte_log_cur_msg_loglevel",
    "rte_pktmbuf_pool_create",
    "rte_pktmbuf_copy",
    "rte_pktmbuf_free_bulk",
    "rte_mempool_avail_count",
    "rte_eth_dev_get_port_by_name",
    "rte_eth_dev_info_get",
    "rte_eth_dev_configure",
    "rte_eth_dev_adjust_nb_rx_tx_desc",
    "rte_eth_rx_queue_setup",
    "rte_eth_tx_queue_setup",
    "rte_eth_dev_start",
    "rte_eth_dev_stop",
    "rte_eth_dev_close",
    "rte_eth_dev_socket_id",
    "rte_eth_dev_get_mtu",
    "rte_eth_dev_set_mtu",
    "rte_eth_dev_get_vlan_offload",
    "rte_eth_macaddr_get",
    "rte_eth_promiscuous_enable",
    "rte_eth_promiscuous_disable",
    "rte_eth_stats_get",
];

/// Structures whose fields are read or written here; what they contain comes along.
const TYPES: &[&str] = &["rte_eth_conf", "rte_eth_dev_info", "rte_eth_stats", "rte_ether_addr"];

/// Structures that only ever pass as pointers. Their layout differs between releases, or cannot be said in Rust.
const OPAQUE: &[&str] = &["rte_mbuf", "rte_mempool", "rte_device", "rte_eth_link"];

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=shim/dpdk.h");
    println!("cargo:rerun-if-changed=shim/dpdk.c");

    // Prints the link flags for cargo, and says what is missing where something is.
    let found = pkg_config::Config::new().atleast_version(OLDEST).probe("libdpdk");
    if let Err(error) = found {
        panic!("{error}\n\nDPDK {OLDEST} or newer is needed: on Debian, `apt-get install libdpdk-dev`");
    }
    let flags = compiler_flags();

    let mut shim = cc::Build::new();
    shim.file("shim/dpdk.c").include("shim").opt_level(3).warnings(true);
    // DPDK's headers are not written for -Wextra's view of unused parameters.
    shim.flag("-Wno-unused-parameter");
    for flag in &flags {
        shim.flag(flag);
    }
    shim.compile("weir_dpdk_shim");

    let mut bindings = bindgen::Builder::default()
        .header("shim/dpdk.h")
        .clang_args(&flags)
        .use_core()
        .generate_comments(false)
        .prepend_enum_name(false)
        .default_enum_style(bindgen::EnumVariation::Consts)
        .derive_default(true)
        .allowlist_var("WEIR_.*")
        // The insides of what is opaque.
        .blocklist_item("rte_(mbuf|mempool)__bindgen_.*");
    for name in FUNCTIONS {
        bindings = bindings.allowlist_function(name);
    }
    for name in TYPES {
        bindings = bindings.allowlist_type(name);
    }
    for name in OPAQUE {
        bindings = bindings.opaque_type(name);
    }
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR")).join("bindings.rs");
    bindings
        .generate()
        .expect("bindgen cannot read DPDK's headers: on Debian, `apt-get install libclang-dev`")
        .write_to_file(out)
        .expect("OUT_DIR is writable");
}

/// All of pkg-config's compiler flags: the crate of that name keeps only include paths and definitions, and DPDK's
/// headers also need `-include rte_config.h` and the `-march` that they were configured for.
fn compiler_flags() -> Vec<String> {
    let program = std::env::var("PKG_CONFIG").unwrap_or_else(|_| "pkg-config".to_owned());
    let output = Command::new(program).args(["--cflags", "libdpdk"]).output().expect("pkg-config ran just before");
    assert!(output.status.success(), "pkg-config --cflags libdpdk: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).split_whitespace().map(str::to_owned).collect()
}
