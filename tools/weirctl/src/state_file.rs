//! A file with a desired state: read, checked, and able to say where in it an object stands.
//!
//! Refuses unknown fields, values that no object can have, an object that stands twice, and a file that is blank. Every
//! refusal names file, line, column and field; of JSON that parses, lines are not known any more, and fields must do.

use crate::failure::Failure;
use serde::Deserialize;
use std::collections::HashMap;
use std::io::Read;
use std::ops::Range;
use std::path::Path;
use toml::de::DeTable;
use weir_api::object::{Key, Kind, Object, State};

/// A desired state and the text that it came from.
#[derive(Debug)]
pub struct StateFile {
    name: String,
    text: String,
    format: Format,
    objects: Vec<Object>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Toml,
    Json,
}

impl StateFile {
    /// Reads the file, or `input` when it is `-`.
    pub fn read(path: &Path, input: &mut dyn Read) -> Result<Self, Failure> {
        let (name, bytes) = if path == Path::new("-") {
            let mut bytes = Vec::new();
            let read = input.read_to_end(&mut bytes);
            ("standard input".to_owned(), read.map(|_| bytes))
        } else {
            (path.display().to_string(), std::fs::read(path))
        };
        let bytes = bytes.map_err(|e| Failure::File(format!("{name}: {e}")))?;
        let text = String::from_utf8(bytes).map_err(|e| {
            let line = e.as_bytes()[..e.utf8_error().valid_up_to()].iter().filter(|&&b| b == b'\n').count() + 1;
            Failure::File(format!("{name}:{line}: not UTF-8"))
        })?;
        Self::parse(name, text)
    }

    /// A desired state of this text. The format follows the name's extension, or else the text itself: JSON begins
    /// with a brace, which TOML cannot.
    pub fn parse(name: String, text: String) -> Result<Self, Failure> {
        if text.trim().is_empty() {
            let why = "the file is empty; a desired state without objects is `{}`, or a TOML file with a comment";
            return Err(Failure::File(format!("{name}: {why}")));
        }
        let format = match Path::new(&name).extension().and_then(|e| e.to_str()) {
            Some("toml") => Format::Toml,
            Some("json") => Format::Json,
            _ if text.trim_start().starts_with('{') => Format::Json,
            _ => Format::Toml,
        };
        let state = match format {
            Format::Toml => from_toml(&text),
            Format::Json => from_json(&text),
        };
        let state = state.map_err(|e| Failure::File(format!("{name}:{e}")))?;
        let file = Self { name, text, format, objects: state.into_objects().collect() };
        file.refuse_twins()?;
        Ok(file)
    }

    /// What it is called in messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its objects, in the order of the batch that is made of them.
    pub fn objects(&self) -> &[Object] {
        &self.objects
    }

    fn refuse_twins(&self) -> Result<(), Failure> {
        let mut seen: HashMap<Key, usize> = HashMap::with_capacity(self.objects.len());
        for (index, object) in self.objects.iter().enumerate() {
            if let Some(first) = seen.insert(object.key(), index) {
                let (here, there) = (self.place_of(index, ""), self.place_of(first, ""));
                return Err(Failure::File(format!("{here}: {} is there already, at {there}", object.key())));
            }
        }
        Ok(())
    }

    /// Where in the file it is that the firmware calls `ops[7000].put.segment.vtep`: `state.toml:21: segment[3].vtep`.
    /// `None` for a path that is not of an object in the file.
    pub fn place(&self, path: &str) -> Option<String> {
        let (index, rest) = path.strip_prefix("ops[")?.split_once(']')?;
        let index: usize = index.parse().ok()?;
        let kind = self.objects.get(index)?.kind();
        let field = rest.strip_prefix(".put").unwrap_or_default();
        let field = field.strip_prefix('.').and_then(|f| f.strip_prefix(kind.as_str())).unwrap_or_default();
        Some(self.place_of(index, field))
    }

    /// Where the object at `index` stands; `field` is empty or begins with a dot.
    fn place_of(&self, index: usize, field: &str) -> String {
        let kind = self.objects[index].kind();
        let nth = self.objects[..index].iter().filter(|o| o.kind() == kind).count();
        match self.line_of(kind, nth, field) {
            Some(line) => format!("{}:{line}: {kind}[{nth}]{field}", self.name),
            None => format!("{}: {kind}[{nth}]{field}", self.name),
        }
    }

    fn line_of(&self, kind: Kind, nth: usize, field: &str) -> Option<usize> {
        if self.format == Format::Json {
            return None;
        }
        let document = DeTable::parse(&self.text).ok()?;
        let (_, list) = document.get_ref().iter().find(|(key, _)| key.get_ref() == kind.as_str())?;
        let table = list.get_ref().get(nth)?;
        let name = field.trim_start_matches('.').split(['.', '[']).next().unwrap_or_default();
        let span = table.get_ref().get(name).map_or(table.span(), |value| value.span());
        Some(line_and_column(&self.text, span).0)
    }
}

/// Line and column, from 1, of where a span begins.
fn line_and_column(text: &str, span: Range<usize>) -> (usize, usize) {
    let before = text.get(..span.start).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

/// `segment[0].id: what is wrong`, or only what is wrong where the place is the whole document.
fn at_field(path: &serde_path_to_error::Path, what: &str) -> String {
    match path.to_string().as_str() {
        "." | "?" => what.to_owned(),
        path => format!("{path}: {what}"),
    }
}

/// The state, or `LINE:COLUMN: FIELD: what is wrong`.
fn from_toml(text: &str) -> Result<State, String> {
    let place = |e: &toml::de::Error| {
        let (line, column) = e.span().map_or((1, 1), |span| line_and_column(text, span));
        format!("{line}:{column}")
    };
    let document = toml::Deserializer::parse(text).map_err(|e| format!("{}: {}", place(&e), e.message()))?;
    serde_path_to_error::deserialize(document)
        .map_err(|e| format!("{}: {}", place(e.inner()), at_field(e.path(), e.inner().message())))
}

/// The state, or `LINE:COLUMN: FIELD: what is wrong`.
fn from_json(text: &str) -> Result<State, String> {
    let wrong = |path: Option<&serde_path_to_error::Path>, e: &serde_json::Error| {
        let message = e.to_string();
        let what = message.rsplit_once(" at line ").map_or(message.as_str(), |(what, _)| what);
        let what = path.map_or(what.to_owned(), |path| at_field(path, what));
        format!("{}:{}: {what}", e.line(), e.column())
    };
    let mut document = serde_json::Deserializer::from_str(text);
    let mut track = serde_path_to_error::Track::new();
    let state = State::deserialize(serde_path_to_error::Deserializer::new(&mut document, &mut track));
    let state = state.map_err(|e| wrong(Some(&track.path()), &e))?;
    document.end().map_err(|e| wrong(None, &e))?;
    Ok(state)
}
