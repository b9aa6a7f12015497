//! Whether what came out is what the RFCs say must come out: every frame, every byte, in order, none missing, none
//! more.
//!
//! What the gateway may choose is the number by which the underlay tells flows apart: it must be the same for all frames
//! of a flow on their way to a peer, and not the same for all flows. For VXLAN and Geneve that is the UDP source port, a
//! dynamic one (RFC 7348 §5, RFC 8926 §3.3); for NVGRE the FlowID (RFC 7637 §3.2). And how far an ARP answer is padded,
//! with zeros only, so that nothing leaks.

use crate::frame::{Mac, TAGGED_ARP_LENGTH, Tunnel};
use crate::pcap::Reader;
use crate::trace::{Case, FIRST_DYNAMIC_PORT, Identity, Traffic};
use anyhow::Result;
use std::collections::HashSet;
use std::fmt::{self, Write};
use std::path::Path;

/// What was compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Verified {
    /// Frames, all of them as they must be.
    pub frames: u64,
    /// Different UDP source ports among them; zero where there is no UDP around them.
    pub source_ports: usize,
    /// Different FlowIDs among them; zero where they are not in NVGRE.
    pub flow_ids: usize,
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
    /// By flow and copy: the round that comes next.
    next: Vec<u32>,
    /// By flow and copy: what it is told apart by, once that is known.
    entropy: Vec<Option<u16>>,
    frames: u64,
}

impl Check {
    fn new(traffic: Traffic, rounds: u32, gateway: Mac) -> Self {
        let places = traffic.flows as usize * traffic.case.copies() as usize;
        Self { traffic, rounds, gateway, next: vec![0; places], entropy: vec![None; places], frames: 0 }
    }

    fn frame(&mut self, frame: &[u8]) -> Result<(), Mismatch> {
        let place = self.frames;
        self.frames += 1;
        let n = self.frames;
        let Some(mut identity) = self.traffic.identify(frame) else {
            // Most likely it is the frame whose turn it is, with its end damaged or cut.
            let (flows, copies) = (u64::from(self.traffic.flows), u64::from(self.traffic.case.copies()));
            let turn = place / copies;
            let identity = Identity {
                flow: (turn % flows) as u32,
                round: Some((turn / flows) as u32),
                copy: (place % copies) as u32,
            };
            return Err(self.differs(format!("frame {n} is none of the trace"), identity, frame));
        };
        let flow = identity.flow;
        let index = (flow * self.traffic.case.copies() + identity.copy) as usize;
        let next = self.next[index];
        let round = identity.round.unwrap_or(next);
        if round != next || round >= self.rounds {
            let message = match identity.round {
                Some(_) => format!("frame {n} is number {round} of flow {flow}, whose next one is number {next}"),
                None => format!("frame {n} is one more of flow {flow} than came in"),
            };
            return Err(Mismatch { message, difference: None });
        }
        identity.round = Some(round);
        let entropy = self.entropy(frame);
        if !self.is_right(frame, &self.traffic.output(identity, self.gateway, entropy)) {
            return Err(self.differs(format!("frame {n} (flow {flow}) has wrong bytes"), identity, frame));
        }
        if self.traffic.case.leaves_tunnelled() {
            self.steady(flow, index, entropy)?;
        }
        self.next[index] = next + 1;
        Ok(())
    }

    /// What the frame is told apart by.
    fn entropy(&self, frame: &[u8]) -> u16 {
        let bytes = frame.get(self.traffic.case.tunnel().entropy()).unwrap_or_default();
        bytes.iter().fold(0, |number, byte| number << 8 | u16::from(*byte))
    }

    fn is_right(&self, frame: &[u8], expected: &[u8]) -> bool {
        let padded = self.traffic.case == Case::Arp && frame.len() >= TAGGED_ARP_LENGTH;
        if padded { expected.starts_with(frame) } else { expected == frame }
    }

    fn steady(&mut self, flow: u32, index: usize, entropy: u16) -> Result<(), Mismatch> {
        let (name, least) = self.entropy_name();
        let n = self.frames;
        let known = &mut self.entropy[index];
        let message = match known {
            _ if entropy < least => {
                format!("frame {n} (flow {flow}) has {name} {entropy}, expected {least} to 65535")
            }
            Some(first) if *first != entropy => {
                format!("frame {n} (flow {flow}) has {name} {entropy}, the flow's first one had {first}")
            }
            _ => {
                *known = Some(entropy);
                return Ok(());
            }
        };
        Err(Mismatch { message, difference: None })
    }

    /// What it is called, and the least it may be.
    fn entropy_name(&self) -> (&'static str, u16) {
        match self.traffic.case.tunnel() {
            Tunnel::Nvgre(_) => ("FlowID", 0),
            Tunnel::Vxlan(_) | Tunnel::Geneve(_) => ("UDP source port", FIRST_DYNAMIC_PORT),
        }
    }

    fn finish(self) -> Result<Verified, Mismatch> {
        let wrong = |message| Err(Mismatch { message, difference: None });
        let copies = self.traffic.case.copies();
        let expected = u64::from(self.traffic.flows) * u64::from(copies) * u64::from(self.rounds);
        if let Some(index) = self.next.iter().position(|n| *n < self.rounds) {
            let flow = index / copies as usize;
            let message =
                format!("{} of {expected} frames are missing, the first of flow {flow}", expected - self.frames);
            return wrong(message);
        }
        let different = self.entropy.iter().flatten().collect::<HashSet<_>>().len();
        let name = self.entropy_name().0;
        if self.traffic.case.leaves_tunnelled() && self.traffic.flows >= 64 && different < 16 {
            return wrong(format!("{} flows share {different} {name}s", self.traffic.flows));
        }
        let (source_ports, flow_ids) = if name == "FlowID" { (0, different) } else { (different, 0) };
        Ok(Verified { frames: self.frames, source_ports, flow_ids })
    }

    fn differs(&self, message: String, identity: Identity, found: &[u8]) -> Mismatch {
        let expected = self.traffic.output(identity, self.gateway, self.entropy(found));
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

    /// Two rounds, in the order in which they would leave.
    fn identities(case: Case) -> impl Iterator<Item = Identity> {
        let flows = (0..2).flat_map(|round| (0..64).map(move |flow| (flow, round)));
        flows.flat_map(move |(flow, round)| {
            (0..case.copies()).map(move |copy| Identity { flow, round: Some(round), copy })
        })
    }

    fn with_entropy(case: Case, entropy: impl Fn(Identity) -> u16) -> Vec<Vec<u8>> {
        identities(case).map(|identity| traffic(case).output(identity, GATEWAY, entropy(identity))).collect()
    }

    fn right(case: Case) -> Vec<Vec<u8>> {
        with_entropy(case, |identity| 50_000 + identity.flow as u16)
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
        for (case, frames, source_ports, flow_ids) in [
            (Case::VlanVxlan, 128, 64, 0),
            (Case::VxlanVlan, 128, 0, 0),
            (Case::VlanNvgre, 128, 0, 64),
            (Case::NvgreVlan, 128, 0, 0),
            (Case::VlanGeneve, 128, 64, 0),
            (Case::Arp, 128, 0, 0),
            (Case::Flood, 2048, 64, 0),
        ] {
            let verified = Ok(Verified { frames, source_ports, flow_ids });
            let mut all = right(case);
            assert_eq!(compare(case, &all), verified, "{case}");
            all[..frames as usize / 2].reverse();
            assert_eq!(compare(case, &all), verified, "{case}");
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
        for case in Case::ALL.into_iter().filter(|case| ![Case::Arp, Case::Flood].contains(case)) {
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
    fn a_copy_too_few_or_for_the_wrong_peer_is_found() {
        let frames = right(Case::Flood);
        let mut missing = frames.clone();
        missing.remove(1024 + 17);
        refused(Case::Flood, &missing, "1 of 2048 frames are missing, the first of flow 1");
        let mut twice = frames.clone();
        twice[17] = twice[16].clone();
        refused(Case::Flood, &twice, "frame 18 is number 0 of flow 1, whose next one is number 1");
        let mut stranger = frames.clone();
        stranger[15][33] += 1;
        refused(Case::Flood, &stranger, "frame 16 is none of the trace");
    }

    #[test]
    fn an_answer_is_padded_with_zeros_as_far_as_the_gateway_likes() {
        let frames = right(Case::Arp);
        let of_length = |length: usize| frames.iter().map(|f| f[..length].to_vec()).collect::<Vec<_>>();
        for length in [46, 60, 64] {
            assert!(compare(Case::Arp, &of_length(length)).is_ok(), "{length}");
        }
        refused(Case::Arp, &of_length(45), "frame 1 ");
        let mut longer = frames.clone();
        longer[0].push(0);
        refused(Case::Arp, &longer, "expected 64 bytes, found 65");
        let mut more = frames.clone();
        more.push(frames[5].clone());
        refused(Case::Arp, &more, "frame 129 is one more of flow 5 than came in");
        refused(Case::Arp, &frames[1..], "1 of 128 frames are missing, the first of flow 0");
        // The request itself, let through.
        let requests: Vec<_> = (0..64).map(|flow| traffic(Case::Arp).input(flow, 0, GATEWAY)).collect();
        refused(Case::Arp, &requests, "frame 1 is none of the trace");
    }

    #[test]
    fn what_tells_flows_apart_is_steady_and_many() {
        for case in [Case::VlanVxlan, Case::VlanGeneve, Case::Flood] {
            refused(case, &with_entropy(case, |_| 4789), "UDP source port 4789");
            let by_round = |i: Identity| 50_000 + i.round.unwrap() as u16;
            refused(case, &with_entropy(case, by_round), "the flow's first one had 50000");
            refused(case, &with_entropy(case, |_| 50_000), "64 flows share 1 UDP source ports");
        }
        let case = Case::VlanNvgre;
        refused(case, &with_entropy(case, |i| i.round.unwrap() as u16), "has FlowID 1, the flow's first one had 0");
        refused(case, &with_entropy(case, |_| 0), "64 flows share 1 FlowIDs");
        assert!(compare(case, &with_entropy(case, |i| i.flow as u16 % 16)).is_ok());
    }

    #[test]
    fn the_difference_shows_the_bytes_that_are_wrong() {
        let text = difference(&[0; 18], &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0]);
        assert!(text.contains("- 0010  00 00 \n+ 0010  01 00 \n        ^^"), "{text}");
        assert!(difference(&[1; 20], &[1; 16]).contains("expected 20 bytes, found 16"));
    }
}
