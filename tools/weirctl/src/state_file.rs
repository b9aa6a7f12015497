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
    // Serde also takes a struct's fields as a bare array, and `[]` would be a wish to delete everything.
    if !text.trim_start().starts_with('{') {
        return Err("1:1: expected an object of lists, such as {\"bridge\": [{\"name\": \"red\"}]}".to_owned());
    }
    let mut document = serde_json::Deserializer::from_str(text);
    let mut track = serde_path_to_error::Track::new();
    let state = State::deserialize(serde_path_to_error::Deserializer::new(&mut document, &mut track));
    let state = state.map_err(|e| wrong(Some(&track.path()), &e))?;
    document.end().map_err(|e| wrong(None, &e))?;
    Ok(state)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(name: &str, text: &str) -> Result<StateFile, String> {
        StateFile::parse(name.to_owned(), text.to_owned()).map_err(|e| e.to_string())
    }

    #[test]
    fn what_is_wrong_is_named_by_file_line_and_field() {
        for (name, text, expected) in [
            (
                "s.toml",
                "[[bridge]]\nname = 'red'\n\n[[segment]]\nid = 'vlan/lan0/5000'\nbridge = 'red'\n",
                "s.toml:5:6: segment[0].id: expected a VLAN ID from 1 to 4094, or untagged, found 5000",
            ),
            (
                "s.toml",
                "[[bridge]]\nname = 'red'\ncolour = 1\n",
                "s.toml:3:1: bridge[0].colour: unknown field `colour`",
            ),
            ("s.toml", "[[bridge]]\nname = 'red'\nmac_limit = -1\n", "s.toml:3:13: bridge[0].mac_limit: invalid value"),
            ("s.toml", "[[bridge]]\nmac_limit = 1\n", "s.toml:1:1: bridge[0]: missing field `name`"),
            ("s.toml", "[[bridges]]\nname = 'red'\n", "s.toml:1:3: bridges: unknown field `bridges`"),
            ("s.toml", "[bridge]\nname = 'red'\n", "s.toml:1:1: bridge: invalid type: map, expected a sequence"),
            ("s.toml", "[[bridge]]\nname = 'red\n", "s.toml:2:12: invalid literal string"),
            (
                "s.toml",
                "[[vtep]]\nname = 't'\nport = 'p'\naddress = '192.0.2.1/24'\n[vtep.neighbours]\n'192.0.2.2' = 'x'\n",
                "s.toml:6:15: vtep[0].neighbours.192.0.2.2: expected a MAC address",
            ),
            (
                "s.json",
                "{\"bridge\": [\n  {\"name\": \"a b\"}\n]}",
                "s.json:2:16: bridge[0].name: expected a name of 1 to 63",
            ),
            ("s.json", "{\"bridge\": [\n  {\"name\": \"a\"},\n]}", "s.json:3:1: bridge: trailing comma"),
            ("s.json", "{} x", "s.json:1:4: trailing characters"),
            ("s.json", "[]", "s.json:1:1: expected an object of lists"),
            ("s", "{\"bridge\": 7}", "s:1:12: bridge: invalid type: integer `7`"),
            ("s", "bridge = 7", "s:1:10: bridge: invalid type: integer `7`"),
            ("s.toml", " \n\n", "s.toml: the file is empty"),
            (
                "s.toml",
                "[[bridge]]\nname = 'red'\n[[peer]]\nsegment = 'vxlan/7'\naddress = '192.0.2.2'\n[[bridge]]\nname = 'red'\n",
                "s.toml:6: bridge[1]: bridge red is there already, at s.toml:1: bridge[0]",
            ),
            (
                "s.json",
                "{\"bridge\": [{\"name\": \"red\"}, {\"name\": \"red\"}]}",
                "s.json: bridge[1]: bridge red is there already, at s.json: bridge[0]",
            ),
        ] {
            let error = parse(name, text).expect_err(text);
            assert!(error.starts_with(expected), "{error}\ninstead of\n{expected}");
        }
    }

    #[test]
    fn a_path_of_the_batch_leads_back_into_the_file() {
        let text = "[[peer]]\nsegment = 'vxlan/7'\naddress = '192.0.2.2'\n\n[[segment]]\nid = 'vxlan/7'\n\
            bridge = 'red'\nvtep = 'tun0'\n\n[[vtep]]\nname = 'tun0'\nport = 'wan0'\naddress = '192.0.2.1/24'\n\
            [vtep.neighbours]\n'192.0.2.2' = '02:00:00:00:00:02'\n";
        let file = parse("s.toml", text).unwrap();
        for (path, expected) in [
            ("ops[0].put.vtep.port", Some("s.toml:12: vtep[0].port")),
            ("ops[0].put.vtep.neighbours.192.0.2.2", Some("s.toml:14: vtep[0].neighbours.192.0.2.2")),
            ("ops[1].put.segment.vtep", Some("s.toml:8: segment[0].vtep")),
            ("ops[1].put.segment.absent", Some("s.toml:5: segment[0].absent")),
            ("ops[2].put.peer", Some("s.toml:1: peer[0]")),
            ("ops[2]", Some("s.toml:1: peer[0]")),
            ("ops[3].put.peer.segment", None),
            ("expect_generation", None),
            ("ops[x]", None),
        ] {
            assert_eq!(file.place(path).as_deref(), expected, "{path}");
        }
        let json = parse("s", r#"{"bridge": [{"name": "red"}]}"#).unwrap();
        assert_eq!(json.place("ops[0].put.bridge.name").as_deref(), Some("s: bridge[0].name"));
    }

    #[test]
    fn a_file_of_no_objects_is_a_state_but_bytes_that_are_no_text_are_not() {
        assert!(parse("s.toml", "# nothing\n").unwrap().objects().is_empty());
        assert!(parse("s.json", "{}").unwrap().objects().is_empty());
        let error = StateFile::read(Path::new("-"), &mut &b"# a\n# \xff\n"[..]).unwrap_err().to_string();
        assert_eq!(error, "standard input:2: not UTF-8");
    }

    const WHOLE: &str = "[[bridge]]\nname = 'red'\n[[vtep]]\nname = 't'\nport = 'p'\naddress = '192.0.2.1/24'\n\
        [vtep.neighbours]\n'192.0.2.2' = '02:00:00:00:00:02'\n[[segment]]\nid = 'vxlan/7'\nbridge = 'red'\n";

    proptest::proptest! {
        // The same cases each time: a test that fails fails again.
        #![proptest_config(proptest::test_runner::Config {
            cases: 2000,
            rng_seed: proptest::test_runner::RngSeed::Fixed(7),
            failure_persistence: None,
            ..Default::default()
        })]

        #[test]
        fn no_text_and_no_path_make_it_panic(name in "s(|\\.toml|\\.json)", text in "\\PC*", path in "\\PC*") {
            if let Ok(file) = parse(&name, &text) {
                file.place(&path);
            }
        }

        #[test]
        fn a_damaged_file_is_read_or_named(at in 0..WHOLE.len(), to in "[\\x00-\\x7fä\\[\\]'=\\n]{0,3}", i in 0usize..5) {
            let text = format!("{}{to}{}", &WHOLE[..at], &WHOLE[at + 1..]);
            match parse("s.toml", &text) {
                Ok(file) => drop(file.place(&format!("ops[{i}].put.bridge.name"))),
                Err(error) => assert!(error.starts_with("s.toml:"), "{error}"),
            }
        }
    }
}
