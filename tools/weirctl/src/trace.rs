//! `trace`: asks what would become of a packet, and prints the steps and what would leave.

use crate::cli::TraceArgs;
use crate::failure::Failure;
use crate::session::Session;
use std::io::{self, Write};
use weir_api::message::Call;
use weir_api::trace::{self, Fields, FrameSpec, Trace, TraceStep, Traced};

/// Bytes on a line of a dump.
const LINE: usize = 16;

/// `trace`.
pub fn trace(session: &mut Session<'_>, args: &TraceArgs) -> Result<(), Failure> {
    let traced: Traced = session.ask(Call::Trace(asked(args)))?;
    if session.json {
        return session.print_json(&traced);
    }
    Ok(print(session.out, &traced)?)
}

/// What is asked: the grammar has seen to it that there is one place, and bytes or fields.
fn asked(args: &TraceArgs) -> Trace {
    let endpoint = args.endpoint.as_ref().map(|host| format!("{}/{}", host.bridge, host.mac));
    let at = endpoint.or_else(|| args.port.as_ref().map(ToString::to_string)).unwrap_or_default();
    let frame = match &args.hex {
        Some(hex) => FrameSpec::Hex(hex.clone()),
        None => FrameSpec::Fields(Box::new(Fields {
            src_mac: args.src_mac,
            dst_mac: args.dst_mac,
            vlan: args.vlan,
            src: args.src,
            dst: args.dst,
            proto: args.proto.unwrap_or_default(),
            sport: args.sport,
            dport: args.dport,
            ttl: args.ttl,
            tos: args.tos,
            df: args.df,
            length: args.length,
            arp_request: args.arp_request,
        })),
    };
    Trace { at, frame }
}

/// A line for each step, then each frame with its bytes, then what became of it.
fn print(out: &mut dyn Write, traced: &Traced) -> io::Result<()> {
    let objects: Vec<String> = traced.steps.iter().map(object).collect();
    let width = |cells: &mut dyn Iterator<Item = usize>| cells.max().unwrap_or(0);
    let steps = width(&mut traced.steps.iter().map(|step| step.step.as_str().len()));
    let wide = width(&mut objects.iter().map(|object| object.len()));
    let numbers = traced.steps.len().to_string().len();
    for (n, (step, object)) in traced.steps.iter().zip(&objects).enumerate() {
        let name = step.step.as_str();
        writeln!(out, "{:>numbers$}  {name:<steps$}  {object:<wide$}  {}", n + 1, step.text)?;
    }
    if traced.more_steps > 0 {
        writeln!(out, "… and {} more steps", traced.more_steps)?;
    }
    for frame in &traced.frames {
        writeln!(out, "\n{} bytes out of port {}: {}", frame.length, frame.port, frame.summary)?;
        dump(out, &frame.bytes)?;
    }
    if traced.more_frames > 0 {
        writeln!(out, "\n… and {} more frames", traced.more_frames)?;
    }
    let reason = traced.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
    writeln!(out, "\n{}{reason} (generation {})", traced.outcome.as_str(), traced.generation)
}

/// The object of a step, or the port of one that has only that.
fn object(step: &TraceStep) -> String {
    match (&step.object, &step.port) {
        (Some(key), _) => key.to_string(),
        (None, Some(port)) => format!("port {port}"),
        (None, None) => "-".to_owned(),
    }
}

/// Bytes as `text2pcap` reads them: an offset, then pairs of digits.
fn dump(out: &mut dyn Write, digits: &str) -> io::Result<()> {
    // The firmware's own digits; were they none, there would be nothing to show.
    let bytes = trace::bytes(digits).unwrap_or_default();
    for (n, line) in bytes.chunks(LINE).enumerate() {
        let pairs: Vec<String> = line.iter().map(|byte| format!("{byte:02x}")).collect();
        writeln!(out, "  {:04x}  {}", n * LINE, pairs.join(" "))?;
    }
    Ok(())
}
