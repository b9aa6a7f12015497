//! Where the programs' packet buffers live: in hugepages where there are any, else in ordinary memory; all programs of
//! a run the same way.
//!
//! Owns: reserving hugepages for the run and putting the machine back as it was. Refuses: to take hugepages that
//! somebody else reserved beyond those that are free.

use anyhow::{Context, Result, ensure};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const RESERVED: &str = "/proc/sys/vm/nr_hugepages";
const MOUNT_POINT: &str = "/dev/hugepages";

/// What the operator allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Hugepages {
    /// Take free ones; as root, reserve what is missing and give it back; without any, run with ordinary memory.
    Auto,
    /// Ordinary memory (`--no-huge`).
    None,
}

/// What the programs of a run get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Whether they use hugepages.
    pub huge: bool,
    /// How much each may take, MiB.
    pub mib: u32,
}

impl Memory {
    /// The EAL's arguments for a program that speaks them.
    pub fn eal_arguments(&self) -> Vec<String> {
        let mut arguments: Vec<String> = vec!["-m".into(), self.mib.to_string()];
        arguments.push(if self.huge { "--huge-unlink".into() } else { "--no-huge".into() });
        arguments
    }
}

/// The buffers that `flows` preloaded frames need beside those in flight.
pub fn mbufs(flows: u32) -> u32 {
    flows + 16_384
}

/// MiB that `mbufs` buffers of 2 KiB and their headers take, with room for rings and tables.
fn mib(mbufs: u32, huge: bool) -> u32 {
    // A buffer never crosses a page, so that each takes an ordinary one for itself.
    let each: u64 = if huge { 2_880 } else { 4_352 };
    (u64::from(mbufs) * each / (1 << 20)) as u32 + 256
}

/// Hugepages as they were found; dropping it puts them back.
#[derive(Debug, Default)]
pub struct Reservation {
    reserved: Option<u64>,
    mounted: bool,
    made: bool,
}

/// Sees to memory for `mbufs` buffers, and to `least` MiB in any case, for one program at a time. Answers in words what
/// was done, for the report.
pub fn acquire(wish: Hugepages, mbufs: u32, least: u32) -> Result<(Memory, Reservation, String)> {
    let memory = |huge| Memory { huge, mib: mib(mbufs, huge).max(least) };
    let ordinary = |why: String| Ok((memory(false), Reservation::default(), why));
    if wish == Hugepages::None {
        return ordinary("none (--hugepages none)".into());
    }
    let mut reservation = Reservation::default();
    match reservation.take(memory(true).mib) {
        Ok(pages) => Ok((memory(true), reservation, pages)),
        Err(e) => ordinary(format!("none ({e:#})")),
    }
}

impl Reservation {
    fn take(&mut self, mib: u32) -> Result<String> {
        let (size_kib, free) = free_pages(&fs::read_to_string("/proc/meminfo")?)?;
        let needed = (u64::from(mib) * 1024).div_ceil(size_kib);
        let mut reserved_here = 0;
        if free < needed {
            let before = read_number(RESERVED)?;
            reserved_here = needed - free;
            self.reserved = Some(before);
            fs::write(RESERVED, (before + reserved_here).to_string())
                .with_context(|| format!("{free} of {needed} are free, and {RESERVED} cannot be written"))?;
            let (_, now) = free_pages(&fs::read_to_string("/proc/meminfo")?)?;
            ensure!(now >= needed, "the kernel found {now} of {needed} pages");
        }
        self.mount()?;
        Ok(format!("{needed} of {size_kib} kB, {reserved_here} of them reserved for this run"))
    }

    fn mount(&mut self) -> Result<()> {
        let mounts = fs::read_to_string("/proc/mounts")?;
        if mounts.lines().any(|l| l.split(' ').nth(2) == Some("hugetlbfs")) {
            return Ok(());
        }
        if !Path::new(MOUNT_POINT).exists() {
            fs::create_dir(MOUNT_POINT).with_context(|| format!("cannot make {MOUNT_POINT}"))?;
            self.made = true;
        }
        let status = Command::new("mount").args(["-t", "hugetlbfs", "hugetlbfs", MOUNT_POINT]).status()?;
        ensure!(status.success(), "cannot mount hugetlbfs on {MOUNT_POINT}");
        self.mounted = true;
        Ok(())
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if self.mounted && !Command::new("umount").arg(MOUNT_POINT).status().is_ok_and(|s| s.success()) {
            eprintln!("weir-bench: {MOUNT_POINT} stays mounted: umount {MOUNT_POINT}");
        }
        if self.made {
            let _ = fs::remove_dir(MOUNT_POINT);
        }
        if let Some(before) = self.reserved
            && fs::write(RESERVED, before.to_string()).is_err()
        {
            eprintln!("weir-bench: hugepages stay reserved: sysctl vm.nr_hugepages={before}");
        }
    }
}

/// Removes what a DPDK process with this file prefix left behind: its run-time directory, and hugepages.
pub fn sweep(file_prefix: &str) {
    for base in ["/var/run/dpdk", "/tmp/dpdk"].map(PathBuf::from) {
        let _ = fs::remove_dir_all(base.join(file_prefix));
    }
    let pages = format!("{file_prefix}map_");
    for entry in fs::read_dir(MOUNT_POINT).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(&pages) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

fn read_number(path: &str) -> Result<u64> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {path}"))?;
    text.trim().parse().with_context(|| format!("{path} holds {:?}", text.trim()))
}

/// Size in KiB and number of the free hugepages of the default size.
fn free_pages(meminfo: &str) -> Result<(u64, u64)> {
    let field = |name: &str| {
        let line = meminfo.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(':'));
        let number = line.and_then(|l| l.trim().trim_end_matches(" kB").parse().ok());
        number.with_context(|| format!("the kernel shows no {name} in /proc/meminfo"))
    };
    Ok((field("Hugepagesize")?, field("HugePages_Free")? - field("HugePages_Rsvd")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_hugepages_are_those_that_nobody_was_promised() {
        let meminfo = "MemTotal:       24683664 kB\nHugePages_Total:     300\nHugePages_Free:      280\n\
                       HugePages_Rsvd:       30\nHugePages_Surp:        0\nHugepagesize:       2048 kB\n";
        assert_eq!(free_pages(meminfo).unwrap(), (2048, 250));
        assert!(free_pages("MemTotal: 1 kB\n").unwrap_err().to_string().contains("Hugepagesize"));
    }

    #[test]
    fn every_program_is_told_its_share() {
        assert_eq!(Memory { huge: false, mib: 300 }.eal_arguments(), ["-m", "300", "--no-huge"]);
        assert_eq!(Memory { huge: true, mib: 300 }.eal_arguments(), ["-m", "300", "--huge-unlink"]);
    }

    #[test]
    fn a_buffer_takes_a_page_of_its_own_where_pages_are_small() {
        assert_eq!((mib(65_536, true), mib(65_536, false)), (180 + 256, 272 + 256));
        assert_eq!(acquire(Hugepages::None, 65_536, 0).unwrap().0, Memory { huge: false, mib: 528 });
        assert_eq!(acquire(Hugepages::None, 65_536, 1280).unwrap().0, Memory { huge: false, mib: 1280 });
    }
}
