//! Whether what came out is what the RFCs say must come out: every frame, every byte, in order, none missing, none
//! more.
//!
//! The one thing that the gateway may choose is a VXLAN frame's UDP source port: it must be a dynamic one, the same
//! for all frames of a flow, and not the same for all flows (RFC 7348 §5).

use crate::frame::{Mac, OUTER_SOURCE_PORT};
use crate::pcap::Reader;
use crate::trace::{Case, FIRST_DYNAMIC_PORT, Traffic};
use anyhow::Result;
use std::collections::HashSet;
use std::fmt::{self, Write};
use std::path::Path;

/// What was compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Verified {
    /// Frames, all of them as they must be.
    pub frames: u64,
    /// Different UDP source ports among them; zero where they are not encapsulated.
    pub source_ports: usize,
}

/// The first thing that is wrong with what came out. It disqualifies.
#[derive(Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// What, and on which frame of the capture (counted from 1).
    pub message: String,
    /// Both frames side by side, where one frame is wrong.
    pub difference: Option<String>,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "disqualified: {}", self.message)?;
        match &self.difference {
            Some(difference) => write!(f, "\n{difference}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Mismatch {}

/// Compares a capture at the sink with what must have come out of `rounds` rounds. `gateway` is the MAC of the port
/// that the frames left on. Fails with a [`Mismatch`], or because the capture cannot be read.
pub fn capture(path: &Path, traffic: Traffic, rounds: u32, gateway: Mac) -> Result<Verified> {
    let mut reader = Reader::open(path)?;
    let mut check = Check::new(traffic, rounds, gateway);
    while let Some(frame) = reader.frame()? {
        check.frame(&frame)?;
    }
    Ok(check.finish()?)
}

/// The comparison, frame by frame.
#[derive(Debug)]
struct Check {
    traffic: Traffic,
    rounds: u32,
    gateway: Mac,
    /// By flow: the round that comes next.
    next: Vec<u32>,
    /// By flow: its source port; 0 before it is known.
    ports: Vec<u16>,
    frames: u64,
}

impl Check {
    fn new(traffic: Traffic, rounds: u32, gateway: Mac) -> Self {
        let flows = traffic.flows as usize;
        Self { traffic, rounds, gateway, next: vec![0; flows], ports: vec![0; flows], frames: 0 }
    }

    fn frame(&mut self, frame: &[u8]) -> Result<(), Mismatch> {
        let place = self.frames;
        self.frames += 1;
        let n = self.frames;
        let Some((flow, round)) = self.traffic.identify(frame) else {
            // Most likely it is the frame whose turn it is, with its end damaged or cut.
            let flow = (place % u64::from(self.traffic.flows)) as u32;
            let round = (place / u64::from(self.traffic.flows)) as u32;
            return Err(self.differs(format!("frame {n} is none of the trace"), flow, round, frame));
        };
        let next = self.next[flow as usize];
        if round != next {
            let message = format!("frame {n} is number {round} of flow {flow}, whose next one is number {next}");
            return Err(Mismatch { message, difference: None });
        }
        let port = frame.get(OUTER_SOURCE_PORT).map_or(0, |p| u16::from_be_bytes([p[0], p[1]]));
        if frame != self.traffic.output(flow, round, self.gateway, port) {
            return Err(self.differs(format!("frame {n} (flow {flow}) has wrong bytes"), flow, round, frame));
        }
        if self.traffic.case == Case::VlanVxlan {
            self.port(flow, port)?;
        }
        self.next[flow as usize] = next + 1;
        Ok(())
    }

    fn port(&mut self, flow: u32, port: u16) -> Result<(), Mismatch> {
        let known = &mut self.ports[flow as usize];
        let n = self.frames;
        let message = if port < FIRST_DYNAMIC_PORT {
            format!("frame {n} (flow {flow}) has UDP source port {port}, expected {FIRST_DYNAMIC_PORT} to 65535")
        } else if *known != 0 && *known != port {
            format!("frame {n} (flow {flow}) has UDP source port {port}, the flow's first one had {known}")
        } else {
            *known = port;
            return Ok(());
        };
        Err(Mismatch { message, difference: None })
    }

    fn finish(self) -> Result<Verified, Mismatch> {
        let wrong = |message| Err(Mismatch { message, difference: None });
        let expected = u64::from(self.traffic.flows) * u64::from(self.rounds);
        if let Some(flow) = self.next.iter().position(|n| *n < self.rounds) {
            let message =
                format!("{} of {expected} frames are missing, the first of flow {flow}", expected - self.frames);
            return wrong(message);
        }
        let ports: HashSet<u16> = self.ports.into_iter().filter(|p| *p != 0).collect();
        if self.traffic.case == Case::VlanVxlan && self.traffic.flows >= 64 && ports.len() < 16 {
            return wrong(format!("{} flows share {} UDP source ports", self.traffic.flows, ports.len()));
        }
        Ok(Verified { frames: self.frames, source_ports: ports.len() })
    }

    fn differs(&self, message: String, flow: u32, round: u32, found: &[u8]) -> Mismatch {
        let port = found.get(OUTER_SOURCE_PORT).map_or(0, |p| u16::from_be_bytes([p[0], p[1]]));
        let expected = self.traffic.output(flow, round, self.gateway, port);
        Mismatch { message, difference: Some(difference(&expected, found)) }
    }
}

/// Both frames in hexadecimal, sixteen bytes a line; lines that differ stand twice, with the places marked.
fn difference(expected: &[u8], found: &[u8]) -> String {
    let mut text = format!("expected {} bytes, found {}\n", expected.len(), found.len());
    let line = |bytes: &[u8], at: usize| {
        let bytes = bytes.get(at..bytes.len().min(at + 16)).unwrap_or_default();
        bytes.iter().map(|b| format!("{b:02x} ")).collect::<String>()
    };
    for at in (0..expected.len().max(found.len())).step_by(16) {
        let (want, have) = (line(expected, at), line(found, at));
        // Writing to a String cannot fail.
        if want == have {
            let _ = writeln!(text, "  {at:04x}  {want}");
            continue;
        }
        let marks: String =
            (at..at + 16).map(|i| if expected.get(i) == found.get(i) { "   " } else { "^^ " }).collect();
        let _ = writeln!(text, "- {at:04x}  {want}\n+ {at:04x}  {have}\n        {}", marks.trim_end());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const GATEWAY: Mac = [2, 0, 0, 0, 0, 1];

    fn traffic(case: Case) -> Traffic {
        Traffic::new(case, 64, 64).unwrap()
    }

    fn right(case: Case) -> Vec<Vec<u8>> {
        let traffic = traffic(case);
        let flows = (0..2).flat_map(|round| (0..64).map(move |flow| (flow, round)));
        flows.map(|(flow, round)| traffic.output(flow, round, GATEWAY, 50_000 + flow as u16)).collect()
    }

    fn compare(case: Case, frames: &[Vec<u8>]) -> Result<Verified, Mismatch> {
        let mut check = Check::new(traffic(case), 2, GATEWAY);
        for frame in frames {
            check.frame(frame)?;
        }
        check.finish()
    }

    #[track_caller]
    fn refused(case: Case, frames: &[Vec<u8>], why: &str) {
        let text = compare(case, frames).unwrap_err().to_string();
        assert!(text.contains(why), "{text}");
    }

    #[test]
    fn what_is_right_passes_in_any_order_of_flows() {
        for (case, source_ports) in [(Case::VlanVxlan, 64), (Case::VxlanVlan, 0)] {
            let mut frames = right(case);
            assert_eq!(compare(case, &frames), Ok(Verified { frames: 128, source_ports }));
            frames[..64].reverse();
            assert_eq!(compare(case, &frames), Ok(Verified { frames: 128, source_ports }));
        }
    }

    #[test]
    fn one_wrong_bit_anywhere_is_found() {
        for case in Case::ALL {
            let frames = right(case);
            for bit in 0..frames[3].len() * 8 {
                let mut wrong = frames.clone();
                wrong[3][bit / 8] ^= 1 << (bit % 8);
                // Another source port is legal once, but not for both frames of the flow.
                assert!(compare(case, &wrong).is_err(), "{case} bit {bit}");
            }
        }
    }

    #[test]
    fn missing_doubled_cut_and_swapped_frames_are_found() {
        for case in Case::ALL {
            let frames = right(case);
            let mut missing = frames.clone();
            missing.truncate(127);
            refused(case, &missing, "1 of 128 frames are missing");
            let mut doubled = frames.clone();
            doubled.push(frames[127].clone());
            refused(case, &doubled, "whose next one is number 2");
            let mut cut = frames.clone();
            cut[5].truncate(20);
            refused(case, &cut, "frame 6 ");
            let mut swapped = frames.clone();
            swapped.swap(0, 64);
            refused(case, &swapped, "frame 1 is number 1 of flow 0, whose next one is number 0");
            refused(case, &[], "128 of 128 frames are missing");
        }
    }

    #[test]
    fn source_ports_are_dynamic_steady_and_many() {
        let case = Case::VlanVxlan;
        let with_port = |port: &dyn Fn(u32, u32) -> u16| -> Vec<Vec<u8>> {
            let flows = (0..2).flat_map(|round| (0..64).map(move |flow| (flow, round)));
            flows.map(|(flow, round)| traffic(case).output(flow, round, GATEWAY, port(flow, round))).collect()
        };
        refused(case, &with_port(&|_, _| 4789), "UDP source port 4789");
        refused(case, &with_port(&|_, round| 50_000 + round as u16), "the flow's first one had 50000");
        refused(case, &with_port(&|_, _| 50_000), "64 flows share 1 UDP source ports");
    }

    #[test]
    fn the_difference_shows_the_bytes_that_are_wrong() {
        let text = difference(&[0; 18], &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0]);
        assert!(text.contains("- 0010  00 00 \n+ 0010  01 00 \n        ^^"), "{text}");
        assert!(difference(&[1; 20], &[1; 16]).contains("expected 20 bytes, found 16"));
    }
}
