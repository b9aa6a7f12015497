//! The running environment of DPDK: memory, lcores, devices.
//!
//! Owns: [`Eal`], once per process, from start to stop. Refuses: a second start, and a stop that would pull memory from
//! under a frame, a pool, a port or a worker. Read first: the "Environment Abstraction Layer" chapter of DPDK's
//! programmer's guide, and "EAL parameters" of its Linux guide.

use std::collections::BTreeSet;
use std::ffi::{CStr, CString};
use std::ops::RangeInclusive;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use log::LevelFilter;
use weir_dpdk_sys as sys;

use crate::error::PmdError;
use crate::{logging, mempool};

/// The lcore of the thread that starts the EAL. Worker number i is lcore i + 1.
const MAIN_LCORE: u32 = 0;

const START: &str = "start the EAL";

/// Set by the first start that got as far as DPDK, which can be started once in a process's life.
static STARTED: AtomicBool = AtomicBool::new(false);

/// What the EAL is started with.
#[derive(Clone, Debug)]
pub struct EalConfig {
    /// CPUs that workers are pinned to, one lcore each. The starting thread is pinned to none: it floats over the other
    /// CPUs that the process may use, or over all of them if there is no other. So do threads that it starts later, which
    /// inherit that (sched_setaffinity(2)).
    pub worker_cores: Vec<u32>,
    /// Memory for pools and queues, MiB, taken when the EAL starts.
    pub memory_mib: u32,
    /// Whether that memory is hugepages. Without them it is ordinary memory, and devices that do DMA cannot use it.
    pub hugepages: bool,
    /// Tells this process's files from those of other DPDK processes.
    pub file_prefix: String,
    /// PCI addresses (`0000:03:00.0`, with driver arguments after a comma) and vdevs (`net_tap0,iface=t0`).
    pub devices: Vec<String>,
    /// What of DPDK's log is wanted, in the `log` crate's levels; see the crate's target `dpdk`.
    pub log_level: LevelFilter,
    /// Further EAL arguments, as they are.
    pub extra_args: Vec<String>,
}

impl Default for EalConfig {
    /// No workers, no devices, 256 MiB of hugepages, the prefix `weir`, warnings and errors.
    fn default() -> Self {
        Self {
            worker_cores: Vec::new(),
            memory_mib: 256,
            hugepages: true,
            file_prefix: "weir".to_owned(),
            devices: Vec::new(),
            log_level: LevelFilter::Warn,
            extra_args: Vec::new(),
        }
    }
}

/// What lives as long as anything of DPDK's does.
#[derive(Debug)]
pub(crate) struct Runtime {
    worker_cores: Vec<u32>,
    pools: Mutex<Vec<Pool>>,
    ports: Mutex<BTreeSet<u16>>,
    launch: Mutex<()>,
}

#[derive(Debug)]
struct Pool {
    name: Arc<str>,
    pool: NonNull<sys::rte_mempool>,
}

// SAFETY: only counts are read through the pointer, which any thread may.
unsafe impl Send for Pool {}

impl Runtime {
    pub(crate) fn worker_cores(&self) -> &[u32] {
        &self.worker_cores
    }

    /// The lcore pinned to a CPU.
    pub(crate) fn lcore_of(&self, core: u32) -> Option<u32> {
        (MAIN_LCORE + 1..).zip(&self.worker_cores).find(|&(_, &worker)| worker == core).map(|(lcore, _)| lcore)
    }

    pub(crate) fn remember_pool(&self, name: &Arc<str>, pool: NonNull<sys::rte_mempool>) {
        self.lock_pools().push(Pool { name: Arc::clone(name), pool });
    }

    /// Marks a port as in use; false if it is already.
    pub(crate) fn claim_port(&self, id: u16) -> bool {
        self.lock_ports().insert(id)
    }

    pub(crate) fn release_port(&self, id: u16) {
        self.lock_ports().remove(&id);
    }

    /// Held while an lcore is given work: DPDK's own check of its state is for one thread.
    pub(crate) fn lock_launch(&self) -> MutexGuard<'_, ()> {
        self.launch.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_ports(&self) -> MutexGuard<'_, BTreeSet<u16>> {
        self.ports.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_pools(&self) -> MutexGuard<'_, Vec<Pool>> {
        self.pools.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The EAL, running. Dropping it without [`Eal::stop`] leaves it running until the process ends.
#[derive(Debug)]
pub struct Eal {
    runtime: Arc<Runtime>,
}

impl Eal {
    /// Starts DPDK: takes the memory, makes the lcores, finds the devices. The calling thread becomes the main lcore.
    ///
    /// # Errors
    /// It was started before; a worker core is named twice or is not among the process's CPUs; a device is named twice; or
    /// DPDK refuses, in which case the errors it logged are in the message.
    pub fn start(config: &EalConfig) -> Result<Self, PmdError> {
        let again = || PmdError::new(START, "", "this process has started it before, and DPDK starts once");
        // Asked first, since a start changes which CPUs this thread may use.
        if STARTED.load(Ordering::SeqCst) {
            return Err(again());
        }
        let allowed = allowed_cpus()?;
        let arguments = arguments(config, &allowed)?;
        if STARTED.swap(true, Ordering::SeqCst) {
            return Err(again());
        }
        log::debug!("EAL arguments: {}", arguments.join(" "));
        logging::begin()?;
        let (result, errors) = logging::keeping_errors(|| initialise(&arguments));
        if let Err(errno) = result {
            return Err(explain(config, errno, &errors));
        }
        let worker_cores = config.worker_cores.clone();
        let runtime =
            Runtime { worker_cores, pools: Mutex::default(), ports: Mutex::default(), launch: Mutex::default() };
        Ok(Self { runtime: Arc::new(runtime) })
    }

    /// Checks that every buffer is in its pool. True of a program that holds no frame and no port.
    ///
    /// # Errors
    /// Names each pool with buffers missing, and how many.
    pub fn check_pools(&self) -> Result<(), PmdError> {
        let mut missing = Vec::new();
        for Pool { name, pool } in self.runtime.lock_pools().iter() {
            let (available, total) = (mempool::available(*pool), mempool::total(*pool));
            if available != total {
                let count = i64::from(total) - i64::from(available);
                missing.push(format!("{count} of {total} buffers of pool {name} are not back"));
            }
        }
        if missing.is_empty() { Ok(()) } else { Err(PmdError::new("account for all buffers", "", missing.join("; "))) }
    }

    /// Stops DPDK and gives its memory back. First drop every port and queue, let every worker end, and drop every pool
    /// handle.
    ///
    /// # Errors
    /// Something is still held, or a pool has buffers missing; the message says what. DPDK then runs on until the process ends.
    pub fn stop(mut self) -> Result<(), PmdError> {
        const STOP: &str = "stop the EAL";
        self.check_pools()?;
        if Arc::get_mut(&mut self.runtime).is_none() {
            let held = Arc::strong_count(&self.runtime) - 1;
            let ports = self.runtime.lock_ports().len();
            let reason = format!("{held} handles to pools, ports or workers are still held, with {ports} ports open");
            return Err(PmdError::new(STOP, "", reason));
        }
        // Again, now that nobody is left who could take a buffer.
        self.check_pools()?;
        // SAFETY: nothing points into DPDK's memory any more: no handle is left, and every buffer is in its pool.
        let result = unsafe { sys::rte_eal_cleanup() };
        if result < 0 { Err(PmdError::from_errno(STOP, "", result)) } else { Ok(()) }
    }

    pub(crate) fn runtime(&self) -> &Arc<Runtime> {
        &self.runtime
    }
}

/// DPDK's own name and version, as `DPDK 22.11.11`.
pub fn version() -> String {
    // SAFETY: returns a string that lives as long as the program.
    unsafe { CStr::from_ptr(sys::rte_version()) }.to_string_lossy().into_owned()
}

/// What kept the EAL from starting: its errno, its own words, and the mend where it is known.
fn explain(config: &EalConfig, errno: i32, errors: &[String]) -> PmdError {
    const PAGE_MIB: u32 = 2;
    let mut error = PmdError::from_errno(START, "", errno);
    if !errors.is_empty() {
        error = error.because(errors.join("; "));
    }
    if config.hugepages && errors.iter().any(|message| message.contains("hugepage")) {
        let pages = config.memory_mib.div_ceil(PAGE_MIB);
        error = error.because(format!(
            "`sysctl -w vm.nr_hugepages={pages}` reserves what memory_mib = {} takes",
            config.memory_mib
        ));
    }
    error
}

/// Calls `rte_eal_init`; the errno if it fails.
fn initialise(arguments: &[String]) -> Result<(), i32> {
    // EINVAL: a zero byte in an argument.
    let strings: Result<Vec<CString>, _> = arguments.iter().map(|argument| CString::new(argument.as_str())).collect();
    let strings = strings.map_err(|_| 22)?;
    let count = i32::try_from(strings.len()).map_err(|_| 22)?;
    // The EAL keeps pointers to its arguments, and reorders the array: both stay for the life of the process.
    let pointers: Vec<_> = strings.into_iter().map(CString::into_raw).chain([std::ptr::null_mut()]).collect();
    let array: &'static mut [_] = pointers.leak();
    // SAFETY: `array` has `count` terminated strings and a null behind them, all leaked.
    if unsafe { sys::rte_eal_init(count, array.as_mut_ptr()) } < 0 {
        // SAFETY: reads this thread's errno.
        return Err(unsafe { sys::weir_errno() });
    }
    Ok(())
}

/// The EAL's command line.
fn arguments(config: &EalConfig, allowed: &CpuList) -> Result<Vec<String>, PmdError> {
    let mut cores = BTreeSet::new();
    let mut lcores = format!("--lcores={MAIN_LCORE}@({})", allowed.without(&config.worker_cores).text);
    for (lcore, &core) in (MAIN_LCORE + 1..).zip(&config.worker_cores) {
        if lcore >= sys::WEIR_MAX_LCORE {
            let reason = format!(
                "there are {} worker cores; this DPDK has room for {}",
                config.worker_cores.len(),
                sys::WEIR_MAX_LCORE - 1
            );
            return Err(PmdError::new(START, "", reason));
        }
        if !cores.insert(core) {
            return Err(PmdError::new(START, "", format!("worker core {core} is named twice")));
        }
        if !allowed.contains(core) {
            let reason = format!("worker core {core} is not among this process's CPUs, {}", allowed.text);
            return Err(PmdError::new(START, "", reason));
        }
        lcores += &format!(",{lcore}@{core}");
    }
    let mut arguments = vec!["weir".to_owned(), lcores, format!("--main-lcore={MAIN_LCORE}")];
    arguments.push("--no-telemetry".to_owned());
    arguments.push(format!("--file-prefix={}", config.file_prefix));
    arguments.push(format!("--log-level={}", logging::argument(config.log_level)));
    arguments.extend(["-m".to_owned(), config.memory_mib.to_string()]);
    // Nothing of ours stays in hugetlbfs or in shared configuration files, however the process ends.
    let memory: &[&str] =
        if config.hugepages { &["--in-memory"] } else { &["--no-huge", "--no-shconf", "--iova-mode=va"] };
    arguments.extend(memory.iter().map(|&argument| argument.to_owned()));
    let mut names = BTreeSet::new();
    let mut any_pci = false;
    for device in &config.devices {
        let name = device_name(device);
        if !names.insert(name.clone()) {
            return Err(PmdError::new(START, "", format!("device {name} is named twice")));
        }
        any_pci |= is_pci_address(&name);
        let option = if is_pci_address(&name) { "-a" } else { "--vdev" };
        arguments.extend([option.to_owned(), device.clone()]);
    }
    if !any_pci {
        arguments.push("--no-pci".to_owned());
    }
    arguments.extend(config.extra_args.iter().cloned());
    Ok(arguments)
}

/// The name DPDK knows a device by: a vdev's name without its arguments, a PCI address with its domain.
pub(crate) fn device_name(device: &str) -> String {
    let name = device.split(',').next().unwrap_or(device).trim();
    let with_domain = format!("0000:{name}");
    if is_pci_address(&with_domain) { with_domain.to_ascii_lowercase() } else { name.to_owned() }
}

/// Whether it is `dddd:bb:dd.f`, in hexadecimal.
fn is_pci_address(name: &str) -> bool {
    let bytes = name.as_bytes();
    bytes.len() == 12
        && bytes.iter().enumerate().all(|(index, byte)| match index {
            4 | 7 => *byte == b':',
            10 => *byte == b'.',
            _ => byte.is_ascii_hexdigit(),
        })
}

/// CPUs as the kernel lists them: `0-3,8`.
struct CpuList {
    text: String,
}

impl CpuList {
    /// The others, or all if there is no other.
    fn without(&self, cores: &[u32]) -> Self {
        let parts = self.text.split(',').map(|part| part.split_once('-').unwrap_or((part, part)));
        let all = parts.flat_map(|(first, last)| match (first.parse::<u32>(), last.parse::<u32>()) {
            (Ok(first), Ok(last)) => first..=last,
            // Not the kernel's way to write a list: nothing that could be named.
            _ => RangeInclusive::new(1, 0),
        });
        let others: Vec<String> = all.filter(|cpu| !cores.contains(cpu)).map(|cpu| cpu.to_string()).collect();
        Self { text: if others.is_empty() { self.text.clone() } else { others.join(",") } }
    }

    fn contains(&self, core: u32) -> bool {
        self.text.split(',').any(|part| {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            matches!((first.parse::<u32>(), last.parse::<u32>()), (Ok(first), Ok(last)) if (first..=last).contains(&core))
        })
    }
}

/// The CPUs that this thread may run on.
fn allowed_cpus() -> Result<CpuList, PmdError> {
    const FILE: &str = "/proc/thread-self/status";
    let status = std::fs::read_to_string(FILE);
    let status = status.map_err(|error| PmdError::new(START, "", format!("reading {FILE}: {error}")))?;
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    let text = list.map(|list| list.trim().to_owned());
    text.map(|text| CpuList { text })
        .ok_or_else(|| PmdError::new(START, "", format!("{FILE} has no Cpus_allowed_list")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(worker_cores: &[u32], devices: &[&str]) -> EalConfig {
        let devices = devices.iter().map(|&device| device.to_owned()).collect();
        EalConfig { worker_cores: worker_cores.to_vec(), devices, ..EalConfig::default() }
    }

    fn cpus(text: &str) -> CpuList {
        CpuList { text: text.to_owned() }
    }

    #[test]
    fn the_main_lcore_floats_and_workers_are_pinned() {
        let arguments = arguments(&config(&[2, 1], &[]), &cpus("0-3,8")).unwrap();
        assert!(arguments.contains(&"--lcores=0@(0,3,8),1@2,2@1".to_owned()), "{arguments:?}");
        assert!(arguments.contains(&"--main-lcore=0".to_owned()));
    }

    #[test]
    fn the_main_lcore_shares_a_workers_cpu_only_if_there_is_no_other() {
        let others = |text: &str, cores: &[u32]| cpus(text).without(cores).text;
        assert_eq!(others("0-1", &[1]), "0");
        assert_eq!(others("0-3,8", &[]), "0,1,2,3,8");
        assert_eq!(others("0-1", &[1, 0]), "0-1");
        assert_eq!(others("5", &[5]), "5");
    }

    #[test]
    fn pci_devices_are_allowed_and_vdevs_made() {
        let devices = ["03:00.0,dv_flow_en=1", "net_ring0"];
        let with_pci = arguments(&config(&[], &devices), &cpus("0")).unwrap();
        let at = |value: &str| with_pci.iter().position(|argument| argument == value).unwrap();
        assert_eq!(with_pci[at("03:00.0,dv_flow_en=1") - 1], "-a");
        assert_eq!(with_pci[at("net_ring0") - 1], "--vdev");
        assert!(!with_pci.contains(&"--no-pci".to_owned()));
        let without = arguments(&config(&[], &["net_ring0"]), &cpus("0")).unwrap();
        assert!(without.contains(&"--no-pci".to_owned()));
    }

    #[test]
    fn without_hugepages_the_arguments_say_so() {
        let config = EalConfig { hugepages: false, ..config(&[], &[]) };
        let arguments = arguments(&config, &cpus("0")).unwrap();
        assert!(arguments.contains(&"--no-huge".to_owned()) && arguments.contains(&"--iova-mode=va".to_owned()));
    }

    #[test]
    fn wrong_cores_and_devices_are_named() {
        let refused = |config: &EalConfig| arguments(config, &cpus("0-1,4")).unwrap_err().to_string();
        let foreign = refused(&config(&[3], &[]));
        assert_eq!(foreign, "cannot start the EAL: worker core 3 is not among this process's CPUs, 0-1,4");
        assert_eq!(refused(&config(&[1, 1], &[])), "cannot start the EAL: worker core 1 is named twice");
        let twice = refused(&config(&[], &["03:00.0", "0000:03:00.0,a=1"]));
        assert_eq!(twice, "cannot start the EAL: device 0000:03:00.0 is named twice");
    }

    #[test]
    fn missing_hugepages_come_with_the_mend() {
        let config = EalConfig { memory_mib: 511, ..config(&[], &[]) };
        let said = ["EAL: Cannot get hugepage information.".to_owned()];
        assert_eq!(
            explain(&config, 13, &said).to_string(),
            "cannot start the EAL: Permission denied (os error 13); EAL: Cannot get hugepage information.; \
             `sysctl -w vm.nr_hugepages=256` reserves what memory_mib = 511 takes"
        );
        let without = EalConfig { hugepages: false, ..config };
        assert!(!explain(&without, 13, &said).to_string().contains("sysctl"));
    }

    #[test]
    fn device_names_are_dpdks() {
        assert_eq!(device_name("net_tap0,iface=t0"), "net_tap0");
        assert_eq!(device_name("3B:00.1"), "0000:3b:00.1");
        assert_eq!(device_name("0001:3b:00.1,x=y"), "0001:3b:00.1");
        assert_eq!(device_name("net_ring:0.1"), "net_ring:0.1");
    }
}
