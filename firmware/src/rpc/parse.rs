//! From a line to a call: JSON-RPC 2.0 with exact errors.
//!
//! Owns: telling apart what is no JSON, what is no request, what is no method and what are wrong parameters, and saying
//! for the last where they are wrong and what stands there. The path and the value are looked for only after a plain
//! parse has failed, so that a right request of a million objects is read once.

use crate::manager::batch::fault;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use weir_api::message::{Apply, Call, Error, Version, code};

/// A request that could be read.
#[derive(Debug, PartialEq)]
pub struct Parsed {
    /// Comes back in the response.
    pub id: u64,
    /// What is asked.
    pub call: Call,
}

/// A request that could not, with its id if at least that was there.
#[derive(Debug, PartialEq)]
pub struct Refused {
    /// Comes back in the response.
    pub id: Option<u64>,
    /// Why.
    pub error: Error,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Envelope<'a> {
    #[serde(rename = "jsonrpc")]
    _jsonrpc: Version,
    id: u64,
    #[serde(borrow)]
    method: std::borrow::Cow<'a, str>,
    #[serde(borrow, default)]
    params: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

/// A right `apply`, which may be of a million objects.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ApplyRequest {
    #[serde(rename = "jsonrpc")]
    _jsonrpc: Version,
    id: u64,
    #[serde(rename = "method")]
    _method: ApplyMethod,
    params: Apply,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum ApplyMethod {
    Apply,
}

/// Reads one line, without its line feed.
///
/// # Errors
/// [`Refused`], with the code, path and value that the RPC reference promises.
pub fn parse(line: &[u8]) -> Result<Parsed, Refused> {
    let text = std::str::from_utf8(line).map_err(|e| no_json(&format!("not UTF-8 at byte {}", e.valid_up_to())))?;
    // What is no right apply, whatever else it may be, is read again to say so.
    if let Ok(ApplyRequest { id, params, .. }) = serde_json::from_str(text) {
        return Ok(Parsed { id, call: Call::Apply(params) });
    }
    let envelope: Envelope = match serde_json::from_str(text) {
        Ok(envelope) => envelope,
        Err(e) if e.is_data() => return Err(no_request(text, &e)),
        Err(e) => return Err(no_json(&e.to_string())),
    };
    let id = envelope.id;
    let params = envelope.params.map_or("{}", RawValue::get);
    let call = match &*envelope.method {
        "apply" => read(params).map(Call::Apply),
        "get" => read(params).map(Call::Get),
        "list" => read(params).map(Call::List),
        "stats" => read(params).map(|Nothing {}| Call::Stats {}),
        "watch" => read(params).map(Call::Watch),
        "clear" => read(params).map(Call::Clear),
        "trace" => read(params).map(Call::Trace),
        other => {
            let why = "there is no such method; there are apply, get, list, stats, watch, clear and trace";
            Err(fault(code::METHOD_NOT_FOUND, why, "method", other))
        }
    };
    call.map(|call| Parsed { id, call }).map_err(|error| Refused { id: Some(id), error })
}

fn no_json(why: &str) -> Refused {
    Refused { id: None, error: Error { code: code::PARSE, message: format!("not JSON: {why}"), data: None } }
}

/// The envelope is JSON but wrong: the id is saved if it is a number all the same.
fn no_request(text: &str, error: &serde_json::Error) -> Refused {
    #[derive(Deserialize)]
    struct Id {
        id: u64,
    }
    let id = serde_json::from_str::<Id>(text).ok().map(|i| i.id);
    let message = format!("not a JSON-RPC 2.0 request: {}", without_place(&error.to_string()));
    Refused { id, error: Error { code: code::INVALID_REQUEST, message, data: None } }
}

fn read<T: DeserializeOwned>(params: &str) -> Result<T, Error> {
    let plain = match serde_json::from_str::<T>(params) {
        Ok(read) => return Ok(read),
        Err(e) => e,
    };
    let mut deserializer = serde_json::Deserializer::from_str(params);
    let (path, message) = match serde_path_to_error::deserialize::<_, T>(&mut deserializer) {
        Err(e) => (e.path().to_string(), e.inner().to_string()),
        Ok(_) => (String::new(), plain.to_string()),
    };
    let path = if path == "." { String::new() } else { path };
    let value = value_at(params, &path).unwrap_or_default();
    Err(fault(code::INVALID_PARAMS, without_place(&message), path, value))
}

/// serde_json ends its messages with a place in the text, which says less than the path.
fn without_place(message: &str) -> &str {
    message.rsplit_once(" at line ").map_or(message, |(text, _)| text)
}

/// What stands at a path such as `ops[7].put.segment.vtep`; strings without their quotes.
fn value_at(params: &str, path: &str) -> Option<String> {
    let mut here: &str = params;
    for step in path.split(['.', '[']).filter(|s| !s.is_empty()) {
        here = match step.strip_suffix(']') {
            Some(index) => {
                let list: Vec<&RawValue> = serde_json::from_str(here).ok()?;
                list.get(index.parse::<usize>().ok()?)?.get()
            }
            None => {
                let map: BTreeMap<String, &RawValue> = serde_json::from_str(here).ok()?;
                map.get(step)?.get()
            }
        };
    }
    Some(serde_json::from_str::<String>(here).unwrap_or_else(|_| here.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused(line: &str) -> (Option<u64>, i32, String, String, String) {
        let Refused { id, error } = parse(line.as_bytes()).unwrap_err();
        let (path, value) = error.data.map_or_else(Default::default, |d| (d.path, d.value));
        (id, error.code, error.message, path, value)
    }

    #[test]
    fn a_right_request_is_read() {
        let line = r#"{"jsonrpc":"2.0","id":7,"method":"stats"}"#;
        assert_eq!(parse(line.as_bytes()), Ok(Parsed { id: 7, call: Call::Stats {} }));
        let line = r#"{"jsonrpc":"2.0","id":7,"method":"stats","params":{}}"#;
        assert_eq!(parse(line.as_bytes()), Ok(Parsed { id: 7, call: Call::Stats {} }));
        let line = r#"{"jsonrpc":"2.0","id":8,"method":"apply","params":{"ops":[{"put":{"bridge":{"name":"red"}}}]}}"#;
        assert!(matches!(parse(line.as_bytes()).unwrap().call, Call::Apply(a) if a.ops.len() == 1));
    }

    #[test]
    fn garbage_is_no_json() {
        for line in ["", "{", "\u{1}\u{2}", "GET / HTTP/1.1"] {
            let (id, code, ..) = refused(line);
            assert_eq!((id, code), (None, code::PARSE), "{line}");
        }
        assert_eq!(parse(b"\xff\xfe").unwrap_err().error.code, code::PARSE);
        assert_eq!(parse("[".repeat(100_000).as_bytes()).unwrap_err().error.code, code::PARSE);
    }

    #[test]
    fn json_that_is_no_request_says_so() {
        for (line, expected) in [
            ("[]", None),
            ("1", None),
            (r#"{"id":1,"method":"stats"}"#, Some(1)),
            (r#"{"jsonrpc":"1.0","id":1,"method":"stats"}"#, Some(1)),
            (r#"{"jsonrpc":"2.0","method":"stats"}"#, None),
            (r#"{"jsonrpc":"2.0","id":"x","method":"stats"}"#, None),
            (r#"{"jsonrpc":"2.0","id":2,"method":"stats","extra":1}"#, Some(2)),
        ] {
            let (id, code, ..) = refused(line);
            assert_eq!((id, code), (expected, code::INVALID_REQUEST), "{line}");
        }
    }

    #[test]
    fn an_unknown_method_is_named() {
        let (id, code, _, path, value) = refused(r#"{"jsonrpc":"2.0","id":3,"method":"reboot","params":{}}"#);
        assert_eq!((id, code), (Some(3), code::METHOD_NOT_FOUND));
        assert_eq!((path.as_str(), value.as_str()), ("method", "reboot"));
    }

    #[test]
    fn wrong_parameters_are_named_by_path_and_value() {
        let apply = |op: &str| format!(r#"{{"jsonrpc":"2.0","id":4,"method":"apply","params":{{"ops":[{op}]}}}}"#);
        for (op, at, found) in [
            (r#"{"put":{"segment":{"id":"vxlan/7","bridge":"red","vtep":"a b"}}}"#, "ops[0].put.segment.vtep", "a b"),
            (
                r#"{"put":{"segment":{"id":"vxlan/77777777","bridge":"red"}}}"#,
                "ops[0].put.segment.id",
                "vxlan/77777777",
            ),
            (r#"{"put":{"bridge":{"name":"red","colour":1}}}"#, "ops[0].put.bridge.colour", "1"),
            (r#"{"put":{"bridge":{"name":"red","mac_limit":-1}}}"#, "ops[0].put.bridge.mac_limit", "-1"),
            (r#"{"put":{"nat":{}}}"#, "ops[0].put", r#"{"nat":{}}"#),
        ] {
            let (id, code, message, path, value) = refused(&apply(op));
            assert_eq!((id, code), (Some(4), code::INVALID_PARAMS), "{message}");
            assert_eq!((path.as_str(), value.as_str()), (at, found), "{message}");
        }
        let (_, code, message, ..) = refused(r#"{"jsonrpc":"2.0","id":4,"method":"apply","params":[]}"#);
        assert_eq!(code, code::INVALID_PARAMS, "{message}");
        let (_, code, ..) = refused(r#"{"jsonrpc":"2.0","id":4,"method":"stats","params":{"a":1}}"#);
        assert_eq!(code, code::INVALID_PARAMS);
    }
}
