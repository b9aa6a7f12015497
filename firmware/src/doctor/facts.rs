//! What the doctor looks at: facts of this machine, gathered once, so that each judgement can be tested without it.
//!
//! Owns: reading /proc, /sys and the directories that `weir.toml` names. Judges nothing.

use crate::config::Config;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

/// `CAP_NET_RAW` as a bit of `CapEff` (linux/capability.h).
pub const CAP_NET_RAW: u64 = 1 << 13;
/// `CAP_NET_ADMIN`.
pub const CAP_NET_ADMIN: u64 = 1 << 12;

/// Facts of this machine.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// CPUs that are online.
    pub online: BTreeSet<u32>,
    /// CPUs that this process may run on.
    pub allowed: BTreeSet<u32>,
    /// Free hugepages, by size in KiB.
    pub free_hugepages: BTreeMap<u64, u64>,
    /// Where hugetlbfs is mounted.
    pub hugetlbfs: Option<PathBuf>,
    /// Memory that programs can still have, KiB.
    pub available_kib: u64,
    /// Effective capabilities.
    pub capabilities: u64,
    /// Network interfaces in this namespace, and the MTU of each.
    pub interfaces: BTreeMap<String, u32>,
    /// The driver of each PCI device that a port names; `None` inside if it has none, absent if there is no device.
    pub pci: BTreeMap<String, Option<String>>,
    /// What is wrong with writing to the state directory.
    pub state_directory: Option<String>,
    /// Whether another process holds the state directory's lock.
    pub state_locked: bool,
    /// What is wrong with making the socket.
    pub socket_directory: Option<String>,
    /// Whether another process listens on the socket.
    pub socket_alive: bool,
}

impl Facts {
    /// Looks at this machine, as far as the configuration needs it. What cannot be read counts as not there.
    pub fn gather(config: &Config) -> Self {
        let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let status = text("/proc/self/status");
        let field = |name: &str| status.lines().find_map(|l| l.strip_prefix(name)).map(str::trim).unwrap_or_default();
        let directory = &config.state.directory;
        let socket_directory = config.rpc.socket.parent().unwrap_or(Path::new("/"));
        Self {
            online: cpu_list(&text("/sys/devices/system/cpu/online")),
            allowed: cpu_list(field("Cpus_allowed_list:")),
            free_hugepages: free_hugepages(Path::new("/sys/kernel/mm/hugepages")),
            hugetlbfs: mount_of("hugetlbfs", &text("/proc/mounts")),
            available_kib: available_kib(&text("/proc/meminfo")),
            capabilities: u64::from_str_radix(field("CapEff:"), 16).unwrap_or(0),
            interfaces: interfaces(Path::new("/sys/class/net")),
            pci: config.ports.iter().filter(|p| p.is_pci()).filter_map(|p| pci_device(&p.device)).collect(),
            state_directory: unwritable(directory),
            state_locked: locked(&directory.join(crate::store::LOCK)),
            socket_directory: unwritable(socket_directory),
            socket_alive: UnixStream::connect(&config.rpc.socket).is_ok(),
        }
    }
}

/// `0-3,8` as a set.
fn cpu_list(text: &str) -> BTreeSet<u32> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.trim().parse::<u32>().ok()?..=last.trim().parse::<u32>().ok()?)
    };
    text.trim().split(',').filter_map(range).flatten().collect()
}

fn free_hugepages(directory: &Path) -> BTreeMap<u64, u64> {
    let sizes = fs::read_dir(directory).into_iter().flatten().flatten();
    let size = |entry: fs::DirEntry| {
        let name = entry.file_name().into_string().ok()?;
        let kib = name.strip_prefix("hugepages-")?.strip_suffix("kB")?.parse().ok()?;
        let free = fs::read_to_string(entry.path().join("free_hugepages")).ok()?;
        Some((kib, free.trim().parse().ok()?))
    };
    sizes.filter_map(size).collect()
}

/// Interfaces and their MTUs. What has none, such as the file `bonding_masters`, is no interface.
fn interfaces(directory: &Path) -> BTreeMap<String, u32> {
    let interface = |entry: fs::DirEntry| {
        let mtu = fs::read_to_string(entry.path().join("mtu")).ok()?;
        Some((entry.file_name().into_string().ok()?, mtu.trim().parse().ok()?))
    };
    fs::read_dir(directory).into_iter().flatten().flatten().filter_map(interface).collect()
}

fn mount_of(kind: &str, mounts: &str) -> Option<PathBuf> {
    let mut rows = mounts.lines().map(|l| l.split(' ').collect::<Vec<_>>());
    rows.find_map(|row| match row[..] {
        [_, at, of, ..] if of == kind => Some(PathBuf::from(at)),
        _ => None,
    })
}

fn available_kib(meminfo: &str) -> u64 {
    let line = meminfo.lines().find_map(|l| l.strip_prefix("MemAvailable:"));
    line.and_then(|l| l.trim().strip_suffix("kB")).and_then(|n| n.trim().parse().ok()).unwrap_or(0)
}

/// A port's PCI device, if it is there, and its driver.
fn pci_device(device: &str) -> Option<(String, Option<String>)> {
    let address = device.split(',').next()?;
    let path = Path::new("/sys/bus/pci/devices").join(address);
    if !path.exists() {
        return None;
    }
    let driver = fs::read_link(path.join("driver")).ok();
    let driver = driver.and_then(|d| Some(d.file_name()?.to_str()?.to_owned()));
    Some((address.to_owned(), driver))
}

/// Why nothing can be written to a directory, or where it would have to be made. Tries with a file that it removes.
fn unwritable(directory: &Path) -> Option<String> {
    let mut at = directory;
    while !at.exists() {
        at = at.parent()?;
    }
    if !at.is_dir() {
        return Some(format!("{} is not a directory", at.display()));
    }
    let probe = at.join(format!(".weir-check-{}", std::process::id()));
    let tried = fs::write(&probe, b"").and_then(|()| fs::remove_file(&probe));
    tried.err().map(|e: io::Error| format!("{}: {e}", at.display()))
}

fn locked(path: &Path) -> bool {
    let Ok(file) = fs::File::open(path) else { return false };
    matches!(file.try_lock(), Err(fs::TryLockError::WouldBlock))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_texts_are_read() {
        assert_eq!(cpu_list("0-2,5\n"), BTreeSet::from([0, 1, 2, 5]));
        assert_eq!(cpu_list(""), BTreeSet::new());
        assert_eq!(available_kib("MemTotal: 9 kB\nMemAvailable:   1234 kB\n"), 1234);
        let mounts = "proc /proc proc rw 0 0\nnodev /dev/hugepages hugetlbfs rw 0 0\n";
        assert_eq!(mount_of("hugetlbfs", mounts), Some(PathBuf::from("/dev/hugepages")));
        assert_eq!(mount_of("hugetlbfs", "proc /proc proc rw 0 0\n"), None);
    }

    #[test]
    fn interfaces_come_with_their_mtu() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("veth0")).unwrap();
        fs::write(directory.path().join("veth0/mtu"), "1500\n").unwrap();
        fs::write(directory.path().join("bonding_masters"), "bond0\n").unwrap();
        assert_eq!(interfaces(directory.path()), BTreeMap::from([("veth0".to_owned(), 1500)]));
        assert_eq!(interfaces(&directory.path().join("none")), BTreeMap::new());
    }

    #[test]
    fn directories_and_locks_are_tried() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(unwritable(&directory.path().join("a/b")), None);
        let file = directory.path().join("file");
        fs::write(&file, b"").unwrap();
        assert!(unwritable(&file.join("below")).unwrap().contains("not a directory"));
        assert!(!locked(&file));
        let holder = fs::File::open(&file).unwrap();
        holder.lock().unwrap();
        assert!(locked(&file));
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }
}
