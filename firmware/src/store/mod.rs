//! The desired state on disk, in one redb file.
//!
//! Owns: that what was acknowledged is there at the next start, whole, whatever happened in between; or that the start
//! says exactly what is wrong. A batch is one durable transaction that writes what changed, and of endpoints and routes the
//! [`rows`] that they are in. Refuses a file of another format, and one with an object it does not understand: never
//! half a state.
//!
//! Format 1 had endpoints among the objects, and format 2 no routes. They are read, and the first batch turns them into
//! format 3: who knows only the former ones must not take a state with routes for one without.

mod endpoints;
mod routes;
mod rows;

use crate::manager::batch::Change;
use crate::manager::desired::Desired;
use crate::manager::key::ObjectKey;
use redb::{
    Database, ReadTransaction, ReadableDatabase, ReadableTable, StorageBackend, TableDefinition, TableHandle,
    WriteTransaction,
};
use std::fmt;
use std::fs::{DirBuilder, File, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use weir_api::object::{Kind, Object};

/// `KIND ID` → the object as JSON. Endpoints and routes are not among them.
const OBJECTS: TableDefinition<&str, &[u8]> = TableDefinition::new("objects");
/// [`endpoints::key`] → some endpoints of a bridge.
const ENDPOINTS: TableDefinition<&[u8], &[u8]> = TableDefinition::new("endpoints");
/// [`routes::key`] → some routes of a router.
const ROUTES: TableDefinition<&[u8], &[u8]> = TableDefinition::new("routes");
/// `format` and `generation`.
const META: TableDefinition<&str, u64> = TableDefinition::new("meta");
/// The format that this version writes.
const FORMAT: u64 = 3;
/// The first format that there was; it and those since are read, too.
const FIRST: u64 = 1;
/// The first with rows of endpoints.
const WITH_ENDPOINTS: u64 = 2;
/// The first with rows of routes.
const WITH_ROUTES: u64 = 3;
/// So many endpoints or routes are handed out at one time, and a row more.
const PART: usize = 1 << 17;
/// The file's name in the state directory.
pub const FILE: &str = "state.redb";
/// What the file is called until it is whole.
const DRAFT: &str = "state.redb.new";
/// Locked while a Weir uses the directory.
pub const LOCK: &str = "lock";

/// What went wrong with which file.
#[derive(Debug)]
pub struct StoreError {
    path: PathBuf,
    what: String,
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.what)
    }
}

impl std::error::Error for StoreError {}

/// The open file.
pub struct Store {
    path: PathBuf,
    /// `None` only if it could not be opened again after a failure.
    database: Option<Database>,
    /// Of the directory; a storage of the caller's has none.
    lock: Option<File>,
    /// Whether the last write failed: redb then refuses all others until the file is opened anew.
    failed: bool,
    /// The format of the file.
    format: u64,
}

impl Store {
    /// Where the file is, in a directory.
    pub fn path(directory: &Path) -> PathBuf {
        directory.join(FILE)
    }

    /// Opens the file in a directory, both made if they are not there (modes 0600 and 0750). Returns with it the
    /// generation that was acknowledged last, 0 if none ever was.
    ///
    /// # Errors
    /// [`StoreError`]: no permission, in use by another Weir, damaged, of another format, an object not understood.
    pub fn open(directory: &Path) -> Result<(Self, u64), StoreError> {
        let path = Self::path(directory);
        let error = |path: &Path, what: String| StoreError { path: path.to_owned(), what };
        let made = DirBuilder::new().recursive(true).mode(0o750).create(directory);
        made.map_err(|e| error(directory, format!("cannot make the directory: {e}")))?;
        let lock_path = directory.join(LOCK);
        let lock = File::create(&lock_path).map_err(|e| error(&lock_path, e.to_string()))?;
        lock.try_lock().map_err(|e| error(&lock_path, format!("in use by another weir ({e})")))?;
        match std::fs::metadata(&path) {
            // It is made under another name, and is never empty under its own.
            Ok(file) if file.len() == 0 => return Err(error(&path, "is empty, so it is damaged".to_owned())),
            Ok(_) => {}
            Err(_) => make(directory, &path)?,
        }
        let database = Database::create(&path).map_err(|e| error(&path, format!("cannot be opened: {e}")))?;
        let mut store = Self { path, database: Some(database), lock: Some(lock), failed: false, format: FORMAT };
        let generation = store.begin_with()?;
        // Reading does not come by what keeps account of the file's pages; the first write would, while Weir forwards.
        store.begin().and_then(|write| Ok(write.commit()?)).map_err(|e| store.error(e))?;
        Ok((store, generation))
    }

    /// A store on a storage of the caller's; `path` is only what errors call it.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn with_backend(path: &Path, backend: impl StorageBackend) -> Result<(Self, u64), StoreError> {
        let database = Database::builder()
            .create_with_backend(backend)
            .map_err(|e| StoreError { path: path.to_owned(), what: format!("cannot be opened: {e}") })?;
        let mut store =
            Self { path: path.to_owned(), database: Some(database), lock: None, failed: false, format: FORMAT };
        let generation = store.begin_with()?;
        Ok((store, generation))
    }

    fn error(&self, what: impl fmt::Display) -> StoreError {
        StoreError { path: self.path.clone(), what: what.to_string() }
    }

    fn database(&self) -> Result<&Database, redb::Error> {
        self.database.as_ref().ok_or(redb::Error::PreviousIo)
    }

    /// Looks at the format, and makes a file that is new a store. Returns the generation.
    fn begin_with(&mut self) -> Result<u64, StoreError> {
        let (format, generation) = self.meta().map_err(|e| self.error(e))?;
        match format {
            Some(format @ FIRST..=FORMAT) => self.format = format,
            Some(other) => {
                let what = format!("format {other}; this version of weir reads formats {FIRST} to {FORMAT} only");
                return Err(self.error(what));
            }
            None => {
                self.create().map_err(|e| self.error(e))?;
            }
        }
        Ok(generation.unwrap_or(0))
    }

    fn meta(&self) -> Result<(Option<u64>, Option<u64>), redb::Error> {
        let read = self.database()?.begin_read()?;
        let table = match read.open_table(META) {
            Err(redb::TableError::TableDoesNotExist(_)) => return Ok((None, None)),
            table => table?,
        };
        Ok((table.get("format")?.map(|v| v.value()), table.get("generation")?.map(|v| v.value())))
    }

    fn create(&self) -> Result<(), redb::Error> {
        let write = self.begin()?;
        write.open_table(META)?.insert("format", FORMAT)?;
        write.open_table(OBJECTS)?;
        write.open_table(ENDPOINTS)?;
        write.open_table(ROUTES)?;
        write.commit()?;
        Ok(())
    }

    fn begin(&self) -> Result<WriteTransaction, redb::Error> {
        let mut write = self.database()?.begin_write()?;
        // After a crash the file is good as it is: no walk through all of it before the first packet.
        write.set_quick_repair(true);
        Ok(write)
    }

    /// Reads all objects, and hands them out part by part, each kind before those that refer to it.
    ///
    /// # Errors
    /// [`StoreError`]: damaged, or an object not understood; and whatever `each` says.
    pub fn read<E: From<StoreError>>(&self, mut each: impl FnMut(Vec<Object>) -> Result<(), E>) -> Result<(), E> {
        let database = self.database().map_err(|e| self.error(e))?;
        let read = database.begin_read().map_err(|e| self.error(e))?;
        each(self.objects(&read)?)?;
        if self.format >= WITH_ENDPOINTS {
            self.read_rows(&read, ENDPOINTS, endpoints::decode, &mut each)?;
        }
        if self.format >= WITH_ROUTES {
            self.read_rows(&read, ROUTES, routes::decode, &mut each)?;
        }
        Ok(())
    }

    /// Reads a table of rows, and hands out its objects part by part.
    fn read_rows<E: From<StoreError>>(
        &self,
        read: &ReadTransaction,
        table: TableDefinition<'_, &'static [u8], &'static [u8]>,
        decode: impl Fn(&[u8], &[u8], &mut Vec<Object>) -> Result<(), String>,
        each: &mut impl FnMut(Vec<Object>) -> Result<(), E>,
    ) -> Result<(), E> {
        let of = table.name();
        let table = read.open_table(table).map_err(|e| self.error(e))?;
        let mut part = Vec::new();
        for row in table.iter().map_err(|e| self.error(e))? {
            let (key, value) = row.map_err(|e| self.error(e))?;
            decode(key.value(), value.value(), &mut part).map_err(|why| {
                self.error(format!("the {of} {} are not understood: {why}", key.value().escape_ascii()))
            })?;
            if part.len() >= PART {
                each(std::mem::replace(&mut part, Vec::with_capacity(PART + PART / 8)))?;
            }
        }
        each(part)
    }

    /// What is not in a table of rows.
    fn objects(&self, read: &ReadTransaction) -> Result<Vec<Object>, StoreError> {
        let table = read.open_table(OBJECTS).map_err(|e| self.error(e))?;
        let mut by_kind: [Vec<Object>; Kind::ALL.len()] = Default::default();
        for row in table.iter().map_err(|e| self.error(e))? {
            let (key, value) = row.map_err(|e| self.error(e))?;
            let object: Object = serde_json::from_slice(value.value())
                .map_err(|e| self.error(format!("object {:?} is not understood: {e}", key.value())))?;
            if object.key().to_string() != key.value() {
                return Err(self.error(format!("under {:?} stands {}", key.value(), object.key())));
            }
            by_kind[object.kind() as usize].push(object);
        }
        Ok(by_kind.into_iter().flatten().collect())
    }

    /// Writes a batch, and returns when it would survive a loss of power. After a failure, such as a full disk, the next
    /// batch opens the file anew.
    ///
    /// # Errors
    /// [`StoreError`]; the batch is then not in force, and the store goes on with what it had where it still can.
    pub fn commit(&mut self, changes: &[Change], state: &Desired, generation: u64) -> Result<(), StoreError> {
        if self.failed && self.lock.is_some() {
            self.reopen(generation.saturating_sub(1))?;
        }
        let written = self.write(changes, state, generation);
        self.failed = written.is_err();
        self.format = if self.failed { self.format } else { FORMAT };
        written.map_err(|e| self.error(format!("cannot be written: {e}")))
    }

    /// Opens the file anew, and sees that it holds what is running: a write whose end failed may be there all the same.
    fn reopen(&mut self, running: u64) -> Result<(), StoreError> {
        // Only one at a time may have it open.
        self.database = None;
        let database = Database::create(&self.path);
        self.database = Some(database.map_err(|e| self.error(format!("cannot be opened again: {e}")))?);
        let saved = self.meta().map_err(|e| self.error(e))?.1.unwrap_or(0);
        if saved != running {
            let what =
                format!("holds generation {saved}, and {running} is running: restart weir, which takes what is there");
            return Err(self.error(what));
        }
        Ok(())
    }

    fn write(&self, changes: &[Change], state: &Desired, generation: u64) -> Result<(), redb::Error> {
        let write = self.begin()?;
        self.write_objects(&write, changes, state)?;
        self.write_endpoints(&write, changes, state)?;
        let mut table = write.open_table(ROUTES)?;
        let touched = routes::touched(changes, state);
        write_rows(&mut table, &touched, |row, out| routes::encode(row, state, out), routes::key)?;
        drop(table);
        let mut meta = write.open_table(META)?;
        meta.insert("format", FORMAT)?;
        meta.insert("generation", generation)?;
        drop(meta);
        write.commit()?;
        Ok(())
    }

    fn write_objects(&self, write: &WriteTransaction, changes: &[Change], state: &Desired) -> Result<(), redb::Error> {
        let objects = changes.iter().filter(|c| !matches!(c.key, ObjectKey::Endpoint(..) | ObjectKey::Route(..)));
        // Neighbours in the file are written one after the other.
        let mut rows: Vec<_> = objects.map(|c| (c.key.to_string(), c)).collect();
        rows.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        let mut table = write.open_table(OBJECTS)?;
        if self.format < WITH_ENDPOINTS {
            table.retain(|key, _| !key.starts_with("endpoint "))?;
        }
        let mut json = Vec::new();
        for (row, change) in rows {
            match state.get(&change.key).filter(|_| change.there) {
                Some(object) => {
                    json.clear();
                    serde_json::to_writer(&mut json, &object).map_err(|e| redb::Error::Io(e.into()))?;
                    table.insert(row.as_str(), json.as_slice())?;
                }
                None => drop(table.remove(row.as_str())?),
            }
        }
        Ok(())
    }

    fn write_endpoints(
        &self,
        write: &WriteTransaction,
        changes: &[Change],
        state: &Desired,
    ) -> Result<(), redb::Error> {
        let mut table = write.open_table(ENDPOINTS)?;
        let all = self.format < WITH_ENDPOINTS;
        let rows = if all { endpoints::all(state) } else { endpoints::touched(changes, state) };
        write_rows(&mut table, &rows, |row, out| endpoints::encode(row, state, out), endpoints::key)
    }
}

/// Writes rows, and takes those out that have no members any more.
fn write_rows<R: Copy>(
    table: &mut redb::Table<'_, &[u8], &[u8]>,
    rows: &[R],
    encode: impl Fn(R, &mut Vec<u8>) -> std::io::Result<()>,
    key: impl Fn(R) -> Vec<u8>,
) -> Result<(), redb::Error> {
    let mut row = Vec::new();
    for place in rows {
        encode(*place, &mut row).map_err(redb::Error::Io)?;
        let key = key(*place);
        if row.is_empty() {
            table.remove(key.as_slice())?;
        } else {
            table.insert(key.as_slice(), row.as_slice())?;
        }
    }
    Ok(())
}

/// Makes an empty store, under another name until it is whole: who is killed on the way leaves nothing that the next
/// start would take for damage. It is there for good when this returns, so that no batch is on a file without a name.
fn make(directory: &Path, path: &Path) -> Result<(), StoreError> {
    let failed = |what: String| StoreError { path: path.to_owned(), what: format!("cannot be made: {what}") };
    let draft = directory.join(DRAFT);
    // A draft of an earlier start may be there, or not.
    let _ = std::fs::remove_file(&draft);
    let empty = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft);
    empty.map_err(|e| failed(e.to_string()))?;
    let database = Database::create(&draft).map_err(|e| failed(e.to_string()))?;
    Store { path: path.to_owned(), database: Some(database), lock: None, failed: false, format: FORMAT }
        .begin_with()?;
    let named = std::fs::rename(&draft, path).and_then(|()| File::open(directory)?.sync_all());
    named.map_err(|e| failed(e.to_string()))?;
    // The directory may be new as well; one above it that cannot be read is not.
    if let Some(parent) = directory.parent().and_then(|parent| File::open(parent).ok()) {
        parent.sync_all().map_err(|e| failed(e.to_string()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
