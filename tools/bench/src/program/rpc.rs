//! Calls to Weir: JSON-RPC 2.0, one message a line, over its Unix socket.

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};
use weir_api::message::{Call, Request, Response, Version};

/// How long an answer may take.
const ANSWER_TIME: Duration = Duration::from_secs(60);

/// A connection.
#[derive(Debug)]
pub struct Rpc {
    stream: BufReader<UnixStream>,
    id: u64,
}

/// A request that is ready to be sent, so that making it costs no measured time.
#[derive(Clone, Debug)]
pub struct Prepared {
    id: u64,
    line: Vec<u8>,
}

impl Prepared {
    /// A request of that number.
    pub fn new(id: u64, call: Call) -> Result<Self> {
        let mut line = serde_json::to_vec(&Request { jsonrpc: Version::V2, id, call })?;
        line.push(b'\n');
        Ok(Self { id, line })
    }
}

impl Rpc {
    /// Takes over a connected socket.
    pub fn new(stream: UnixStream) -> Result<Self> {
        stream.set_read_timeout(Some(ANSWER_TIME))?;
        stream.set_write_timeout(Some(ANSWER_TIME))?;
        Ok(Self { stream: BufReader::new(stream), id: 0 })
    }

    /// Asks, and waits for the answer. An error of Weir's becomes one here, with its path and value.
    pub fn call(&mut self, call: Call) -> Result<Value> {
        self.id += 1;
        let prepared = Prepared::new(self.id, call)?;
        self.send(&prepared).map(|(answer, _)| answer)
    }

    /// The same with a request made before. Answers also the time from its first byte sent to its answer's last byte
    /// read.
    pub fn send(&mut self, prepared: &Prepared) -> Result<(Value, Duration)> {
        let asked = Instant::now();
        self.stream.get_mut().write_all(&prepared.line).context("cannot send a request to weir")?;
        let mut answer = String::new();
        let read = self.stream.read_line(&mut answer).context("no answer from weir")?;
        let took = asked.elapsed();
        ensure!(read > 0, "weir closed the connection without an answer");
        let response: Response = serde_json::from_str(&answer).context("cannot read weir's answer")?;
        if let Some(error) = response.error {
            let place = error.data.map(|d| format!(": {} = {:?}", d.path, d.value)).unwrap_or_default();
            bail!("weir refused a request: {}{place}", error.message);
        }
        let id = prepared.id;
        ensure!(response.id == Some(id), "weir answered request {:?}, expected {id}", response.id);
        Ok((response.result.context("weir's answer has neither a result nor an error")?, took))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(answer: &'static str) -> Result<Value> {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let server = std::thread::spawn(move || {
            let mut line = String::new();
            BufReader::new(&theirs).read_line(&mut line).unwrap();
            (&theirs).write_all(answer.as_bytes()).unwrap();
            line
        });
        let result = Rpc::new(ours).unwrap().call(Call::Stats {});
        assert_eq!(server.join().unwrap(), "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"stats\",\"params\":{}}\n");
        result
    }

    #[test]
    fn a_result_comes_back() {
        assert_eq!(answered("{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":7}\n").unwrap(), 7);
    }

    #[test]
    fn whatever_is_no_result_is_an_error() {
        let refused = "{\"jsonrpc\":\"2.0\",\"id\":1,\"error\":{\"code\":1,\"message\":\"no such vtep\",\
                       \"data\":{\"path\":\"ops[0].put\",\"value\":\"v\"}}}\n";
        for (answer, why) in [
            (refused, "no such vtep: ops[0].put = \"v\""),
            ("{\"jsonrpc\":\"2.0\",\"id\":2,\"result\":7}\n", "request Some(2)"),
            ("{\"jsonrpc\":\"2.0\",\"id\":1}\n", "neither"),
            ("hello\n", "cannot read"),
            ("", "closed the connection"),
        ] {
            let error = answered(answer).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }
}
