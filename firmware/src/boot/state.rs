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

/// A state that is being read.
pub(super) struct Loading(JoinHandle<Result<(Store, Configuration), BootError>>);

/// Why reading ended early.
enum Stopped {
    Damaged(StoreError),
    Unfit(Error),
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
        let work = move || load(&config, secret, || opened.send(()).unwrap_or_default());
        let thread = std::thread::Builder::new().name("state".into()).spawn(work).map_err(start_error)?;
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
    let (usual, here) = (std::panic::take_hook(), std::thread::current().id());
    let (place, advice) = (path.display().to_string(), mend.clone());
    std::panic::set_hook(Box::new(move |panic| {
        // The thread and its id are gone with the reading; the hook may stay.
        if std::thread::current().id() != here {
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
    let mut count = 0;
    let read = store.read(|objects| {
        count += objects.len();
        configuration.restore(objects, generation).map_err(Stopped::Unfit)
    });
    match read {
        Ok(()) => {
            log::info!("saved state: generation {generation}, {count} objects");
            Ok((store, configuration))
        }
        Err(Stopped::Damaged(e)) => Err(damaged(e)),
        Err(Stopped::Unfit(e)) => {
            let place = e.data.map(|fault| format!(" (found {})", fault.value)).unwrap_or_default();
            let mend = "mend: make weir.toml as it was, delete the object with weirctl, then change weir.toml";
            let what = format!("the saved state does not fit weir.toml: {}{place}\n      {mend}", e.message);
            Err(BootError::State(what))
        }
    }
}
