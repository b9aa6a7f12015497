//! A device that no driver makes: the EAL's own words reach the operator.

use weir_pmd::{Eal, EalConfig};

#[test]
fn a_vdev_that_cannot_be_made_is_explained() {
    let config = EalConfig {
        memory_mib: 32,
        hugepages: false,
        file_prefix: "weir-test-refused".to_owned(),
        devices: vec!["net_nosuch0".to_owned()],
        ..EalConfig::default()
    };
    let refused = Eal::start(&config).unwrap_err().to_string();
    assert!(refused.starts_with("cannot start the EAL: "), "{refused}");
    assert!(refused.contains("net_nosuch0"), "{refused}");
}
