//! The saved state on its way into force, on a thread of its own: reading a million objects takes as long as starting
//! DPDK, and neither needs the other.
//!
//! Owns: what is said of a state that cannot be used, and how it is mended.

use super::{BootError, random, start_error};
use crate::config::Config;
use crate::manager::configuration::Configuration;
use crate::store::{Store, StoreError};
use std::sync::mpsc::sync_channel;
use std::thread::JoinHandle;
use weir_api::id::Name;
use weir_api::message::Error;
use weir_pipelines::tables::{PortInfo, Secret, Snapshot};
use weir_pipelines::wire::MacAddr;

/// What the threads are called that read it.
const THREAD: &str = "state";

/// A state that is being read.
pub(super) struct Loading(JoinHandle<Result<(Store, Configuration), BootError>>);

/// Why reading ended early.
enum Stopped {
    Damaged(StoreError),
    Unfit(Error),
    NoThread(String),
}

impl From<StoreError> for Stopped {
    fn from(e: StoreError) -> Self {
        Self::Damaged(e)
    }
}

impl Loading {
    /// Opens the state's file, and goes on to read it. The ports are not known yet ([`Configuration::set_ports`]).
    ///
    /// # Errors
    /// [`BootError::State`]: the file cannot be opened, or another Weir uses it.
    pub(super) fn start(config: &Config, secret: Secret) -> Result<Self, BootError> {
        let (opened, is_open) = sync_channel(1);
        let config = config.clone();
        let work = move || {
            load(&config, secret, || {
                let _ = opened.send(());
            })
        };
        let thread = std::thread::Builder::new().name(THREAD.into()).spawn(work).map_err(start_error)?;
        match is_open.recv() {
            Ok(()) => Ok(Self(thread)),
            // It ended before; with an error, since it says when it has opened the file.
            Err(_) => Err(Self(thread).end().err().unwrap_or_else(panicked)),
        }
    }

    /// Waits until the state is in force.
    ///
    /// # Errors
    /// [`BootError::State`].
    pub(super) fn end(self) -> Result<(Store, Configuration), BootError> {
        self.0.join().unwrap_or_else(|_| Err(panicked()))
    }
}

fn panicked() -> BootError {
    BootError::State("reading the saved state has panicked".to_owned())
}

/// Whether the saved state can be used with this `weir.toml`. Nothing is made or changed, and no device is needed.
///
/// # Errors
/// [`BootError::State`].
pub fn check_state(config: &Config) -> Result<(), BootError> {
    if !Store::path(&config.state.directory).exists() {
        return Ok(());
    }
    Loading::start(config, Secret::new(random().map_err(start_error)?))?.end().map(drop)
}

/// Opens the file, says so, and puts what it has in force. Where it is damaged so that the database gives up instead of
/// answering, that is said too.
fn load(config: &Config, secret: Secret, opened: impl FnOnce()) -> Result<(Store, Configuration), BootError> {
    let directory = &config.state.directory;
    let path = Store::path(directory);
    let mend = format!("mend: put a copy of it back, or begin anew: mv {0} {0}.damaged", path.display());
    let usual = std::panic::take_hook();
    let (place, advice) = (path.display().to_string(), mend.clone());
    std::panic::set_hook(Box::new(move |panic| {
        // The threads are gone with the reading; the hook may stay.
        if std::thread::current().name() != Some(THREAD) {
            return usual(panic);
        }
        log::error!("{place}: damaged ({})\n      {advice}", panic.to_string().replace('\n', " "));
        std::process::exit(4);
    }));
    let damaged = |e: StoreError| BootError::State(format!("{e}\n      {mend}"));
    let (store, generation) = Store::open(directory).map_err(damaged)?;
    opened();
    let names: Vec<Name> = config.ports.iter().map(|p| p.name.clone()).collect();
    let ports = vec![PortInfo { mac: MacAddr::ZERO, mtu: 0 }; names.len()];
    let mut configuration = Configuration::new(names, config.tables.clone(), Snapshot::new(secret, &ports));
    match restore(&store, generation, &mut configuration) {
        Ok(count) => {
            log::info!("saved state: generation {generation}, {count} objects");
            Ok((store, configuration))
        }
        Err(Stopped::Damaged(e)) => Err(damaged(e)),
        Err(Stopped::NoThread(why)) => Err(BootError::Start(format!("no thread to read the saved state: {why}"))),
        Err(Stopped::Unfit(e)) => {
            let place = e.data.map(|fault| format!(" (found {})", fault.value)).unwrap_or_default();
            let mend = "mend: make weir.toml as it was, delete the object with weirctl, then change weir.toml";
            let what = format!("the saved state does not fit weir.toml: {}{place}\n      {mend}", e.message);
            Err(BootError::State(what))
        }
    }
}

/// Puts part by part in force while the next one is read. Returns how many objects there are.
fn restore(store: &Store, generation: u64, configuration: &mut Configuration) -> Result<usize, Stopped> {
    let (parts, came) = sync_channel(1);
    std::thread::scope(|scope| {
        // Whom nobody listens to any more reads to the end all the same, and what is damaged there is still told.
        let read = move || {
            store.read(|part| {
                let _ = parts.send(part);
                Ok::<_, StoreError>(())
            })
        };
        let reader = std::thread::Builder::new().name(THREAD.into()).spawn_scoped(scope, read);
        let reader = reader.map_err(|e| Stopped::NoThread(e.to_string()))?;
        let mut count = 0;
        let mut restored = Ok(());
        for part in came {
            count += part.len();
            restored = restored.and_then(|()| configuration.restore(part, generation).map_err(Stopped::Unfit));
        }
        reader.join().map_err(|_| Stopped::NoThread("it has panicked".to_owned()))??;
        restored.map(|()| count)
    })
}
