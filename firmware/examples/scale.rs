//! How long a large desired state takes: applied over the RPC in batches, one more change on top, and restored.
//!
//! `scale DIRECTORY [ENDPOINTS [BRIDGES [BATCH [ROUTES]]]]`: no devices and no workers, so that what is measured is the RPC, the
//! manager and the store. The directory is for the state, and must be on the disk that is meant. `weir-bench control`
//! measures the whole firmware.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};
use weir::config::{Rpc, Tables};
use weir::manager::Manager;
use weir::manager::configuration::Configuration;
use weir::manager::crew::Crew;
use weir::rpc::Server;
use weir::store::Store;
use weir_pipelines::tables::{PortInfo, Secret, Snapshot};
use weir_pipelines::wire::MacAddr;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let directory = arguments.first().ok_or("scale DIRECTORY [ENDPOINTS [BRIDGES [BATCH [ROUTES]]]]")?;
    let number = |n: usize, default: usize| arguments.get(n).map_or(Ok(default), |text| text.parse());
    let (endpoints, bridges, batch) = (number(1, 1_000_000)?, number(2, 1_000)?, number(3, 100_000)?);
    let directory = Path::new(directory);
    apply(directory, endpoints, bridges, batch, number(4, 0)?)?;
    restore(directory)
}

fn configuration(tables: &Tables) -> Outcome<Configuration> {
    let ports = [PortInfo { mac: MacAddr([2, 0, 0, 0, 0, 1]), mtu: 1500 }; 2];
    let empty = Snapshot::new(Secret::new([0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344]), &ports);
    Ok(Configuration::new(vec!["lan0".parse()?, "wan0".parse()?], tables.clone(), empty))
}

/// A vtep, and bridges with a VXLAN segment each.
fn ground(bridges: usize) -> Vec<String> {
    let vtep = r#"{"put":{"vtep":{"name":"up","port":"wan0","address":"10.0.0.1/8"}}}"#;
    let bridge = |n| format!(r#"{{"put":{{"bridge":{{"name":"tenant-{n}"}}}}}}"#);
    let segment =
        |n| format!(r#"{{"put":{{"segment":{{"id":"vxlan/{}","bridge":"tenant-{n}","vtep":"up"}}}}}}"#, 10_000 + n);
    std::iter::once(vtep.to_owned()).chain((0..bridges).flat_map(|n| [bridge(n), segment(n)])).collect()
}

/// The n-th endpoint: bridge by bridge, behind one of 100 peers, with one address.
fn endpoint(n: usize, endpoints: usize, bridges: usize) -> String {
    let bridge = n * bridges / endpoints;
    let [_, a, b, c] = (n as u32).to_be_bytes();
    format!(
        r#"{{"put":{{"endpoint":{{"bridge":"tenant-{bridge}","mac":"02:00:00:{a:02x}:{b:02x}:{c:02x}","location":"vxlan/{}/10.0.1.{}","ips":["172.{}.{b}.{c}"]}}}}}}"#,
        10_000 + bridge,
        n % 100 + 1,
        a + 16,
    )
}

/// A router on the first bridge.
fn router() -> Vec<String> {
    let router = r#"{"put":{"router":{"name":"router-0"}}}"#;
    let interface = r#"{"put":{"interface":{"router":"router-0","bridge":"tenant-0","mac":"02:00:5e:00:00:01","addresses":["192.168.0.1/16"]}}}"#;
    vec![router.to_owned(), interface.to_owned()]
}

/// Its n-th route: to a net of its own, by one of 100 next hops.
fn route(n: usize) -> String {
    let [a, b, c, _] = (0x1400_0000 + (n << 8) as u32).to_be_bytes();
    let via = n % 100 + 1;
    format!(r#"{{"put":{{"route":{{"router":"router-0","prefix":"{a}.{b}.{c}.0/24","via":["192.168.1.{via}"]}}}}}}"#)
}

fn request(id: usize, ops: &[String]) -> Vec<u8> {
    let ops = ops.join(",");
    format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"apply\",\"params\":{{\"ops\":[{ops}]}}}}\n").into_bytes()
}

fn apply(directory: &Path, endpoints: usize, bridges: usize, batch: usize, routes: usize) -> Outcome<()> {
    let tables = Tables::default();
    let (store, saved) = Store::open(directory)?;
    if saved != 0 {
        return Err("the directory has a state already".into());
    }
    let rpc = Rpc { socket: directory.join("scale.sock"), ..Rpc::default() };
    let (jobs, calls) = sync_channel(16);
    let server = Server::start(&rpc, jobs)?;
    let mut manager =
        Manager::new(configuration(&tables)?, tables.clone(), Some(store), Crew::default(), Vec::new(), None);
    let manager = std::thread::Builder::new()
        .name("manager".into())
        .spawn(move || while manager.take(&calls, Duration::from_millis(20)) {})?;
    let stream = UnixStream::connect(&rpc.socket)?;
    let mut answers = BufReader::with_capacity(1 << 16, stream.try_clone()?);
    let mut ask = |line: &[u8]| -> Outcome<Duration> {
        let begun = Instant::now();
        (&stream).write_all(line)?;
        let mut answer = Vec::new();
        answers.read_until(b'\n', &mut answer)?;
        let took = begun.elapsed();
        if !answer.windows(11).take(100).any(|w| w == b"\"generation") {
            return Err(String::from_utf8_lossy(&answer[..answer.len().min(1000)]).into_owned().into());
        }
        Ok(took)
    };
    println!("bridges_and_segments_seconds {:.3}", ask(&request(1, &ground(bridges)))?.as_secs_f64());
    let mut total = Duration::ZERO;
    for (id, first) in (0..endpoints).step_by(batch).enumerate() {
        let ops: Vec<_> = (first..endpoints.min(first + batch)).map(|n| endpoint(n, endpoints, bridges)).collect();
        let took = ask(&request(id + 2, &ops))?;
        total += took;
        println!("  batch {} {:.3}", id + 1, took.as_secs_f64());
    }
    println!("apply_seconds {:.3}", total.as_secs_f64());
    let one_more = |n: usize| {
        let first = endpoint(0, 1, 1);
        first
            .replace("02:00:00:00:00:00", &format!("06:00:00:00:00:{n:02x}"))
            .replace("172.16.0.0", &format!("10.9.9.{n}"))
    };
    let mut each = (0..20).map(|n| ask(&request(n, &[one_more(n)]))).collect::<Outcome<Vec<_>>>()?;
    each.sort_unstable();
    println!(
        "one_more_milliseconds median {:.3} longest {:.3}",
        each[10].as_secs_f64() * 1e3,
        each[19].as_secs_f64() * 1e3
    );
    if routes > 0 {
        ask(&request(1, &router()))?;
        let mut total = Duration::ZERO;
        for first in (0..routes).step_by(batch) {
            let ops: Vec<_> = (first..routes.min(first + batch)).map(route).collect();
            total += ask(&request(2, &ops))?;
        }
        println!("routes_seconds {:.3}", total.as_secs_f64());
        let mut each = (0..20).map(|n| ask(&request(n, &[route(routes + n)]))).collect::<Outcome<Vec<_>>>()?;
        each.sort_unstable();
        println!("one_more_route_milliseconds median {:.3}", each[10].as_secs_f64() * 1e3);
    }
    drop(answers);
    drop(stream);
    server.stop();
    manager.join().map_err(|_| "the manager panicked")?;
    Ok(())
}

fn restore(directory: &Path) -> Outcome<()> {
    let tables = Tables::default();
    let begun = Instant::now();
    let (store, generation) = Store::open(directory)?;
    let mut configuration = configuration(&tables)?;
    let mut judged = Duration::ZERO;
    store.read(|objects| -> Outcome<()> {
        let begun = Instant::now();
        configuration.restore(objects, generation).map_err(|e| e.message)?;
        judged += begun.elapsed();
        Ok(())
    })?;
    let both = begun.elapsed();
    println!("restore_seconds {:.3} (read {:.3})", both.as_secs_f64(), (both - judged).as_secs_f64());
    Ok(())
}
