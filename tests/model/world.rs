//! A gateway over a random network: frames go in, and what comes of them is compared with the model's answers.

use crate::compare::{Seen, open, take};
use crate::model::{Flows, Want, judge};
use crate::packets::Packet;
use crate::rng::Rng;
use crate::topology::Topology;
use weir_pipelines::gateway::testing::{TestFrame, TestPool, TestPorts};
use weir_pipelines::gateway::{DropReason, Gateway, Limits};
use weir_pipelines::tables::{PortId, Snapshot};
use weir_pipelines::{Burst, Time};

pub(crate) struct World {
    pub(crate) t: Topology,
    pub(crate) snapshot: Snapshot,
    pub(crate) gateway: Gateway<TestFrame>,
    pub(crate) pool: TestPool,
    pub(crate) ports: TestPorts,
    pub(crate) now: Time,
    pub(crate) flows: Flows,
}

fn limits() -> Limits {
    Limits {
        bridges: 8,
        macs: 256,
        bindings: 256,
        peers: 8,
        learned_peers: 8,
        neighbours: 8,
        held: 16,
        hosts: 64,
        hops: 65_536,
        routers: 4,
        leads: true,
        shared: false,
    }
}

impl World {
    pub(crate) fn new(rng: &mut Rng) -> Self {
        let t = Topology::random(rng);
        let snapshot = t.snapshot();
        let gateway = Gateway::new(snapshot.secret(), snapshot.ports().len(), limits());
        Self {
            t,
            snapshot,
            gateway,
            pool: TestPool::new(1000),
            ports: TestPorts::new(),
            now: Time::from_millis(5000),
            flows: Flows::new(),
        }
    }

    /// Drops of a port by reason.
    fn drops(&self, port: PortId) -> Vec<u64> {
        DropReason::ALL.iter().map(|&reason| self.gateway.counters().dropped(port, reason)).collect()
    }

    /// Sends frames in by a port, and answers what left and what was dropped why.
    pub(crate) fn send(
        &mut self,
        rng: &mut Rng,
        port: PortId,
        frames: &[Vec<u8>],
    ) -> Result<(Vec<Seen>, Vec<DropReason>), String> {
        let before = self.drops(port);
        let mut burst = Burst::new();
        for frame in frames {
            let (a, b) = (rng.below(frame.len() + 1), rng.below(frame.len() + 1));
            let (a, b) = if rng.chance(70) { (frame.len(), frame.len()) } else { (a.min(b), a.max(b)) };
            let parts = [&frame[..a], &frame[a..b], &frame[b..]];
            let parts: Vec<&[u8]> = parts.into_iter().filter(|part| !part.is_empty()).collect();
            assert!(burst.push(self.pool.frame(&parts).expect("a buffer")).is_ok());
        }
        self.gateway.process(&self.snapshot, self.now, port, &mut burst, &mut self.pool, &mut self.ports);
        let out = self.settle();
        let seen = out
            .iter()
            .map(|(port, frame)| open(&self.t, *port, frame).map_err(|why| format!("{why}: {port:?} {frame:02x?}")));
        let seen: Result<Vec<Seen>, String> = seen.collect();
        let mut dropped = Vec::new();
        for ((&reason, before), after) in DropReason::ALL.iter().zip(before).zip(self.drops(port)) {
            dropped.extend((before..after).map(|_| reason));
        }
        Ok((seen?, dropped))
    }

    /// Takes what left. Every frame ends in exactly one way, and no buffer is kept or lost.
    pub(crate) fn settle(&mut self) -> Vec<(PortId, Vec<u8>)> {
        let out = self.ports.take();
        let c = self.gateway.counters();
        let ended = c.sent + c.dropped_total() + c.consumed + self.gateway.held() as u64;
        assert_eq!(c.received + c.originated, ended, "every frame ends in exactly one way");
        assert_eq!(self.pool.live(), self.gateway.held(), "no buffer is kept or lost");
        out
    }

    /// Time passes, in which nothing leaves.
    pub(crate) fn wait(&mut self, rng: &mut Rng) -> Result<(), String> {
        let millis = *rng.pick(&[0, 1, 3, 50, 400, 1100]);
        self.now = self.now + millis as u64;
        self.gateway.tick(&self.snapshot, self.now, &mut self.pool, &mut self.ports);
        let out = self.settle();
        if out.is_empty() { Ok(()) } else { Err(format!("at a tick: {out:02x?}")) }
    }

    /// Sends some of the packets at once, all that come by one port and of which there is one answer, or one of which there are several.
    pub(crate) fn burst(&mut self, rng: &mut Rng, packets: &[Packet]) -> Result<usize, String> {
        let mut chosen: Vec<(&Packet, Vec<Want>)> = Vec::new();
        let mut by = None;
        for _ in 0..1 + rng.below(12) {
            let packet = rng.pick(packets);
            let (port, _) = packet.frame(&self.t);
            let Some(wants) = judge(&self.t, packet, &self.flows) else { continue };
            let open = wants.len() > 1 || wants[0].reasons.len() > 1;
            if by.is_some_and(|by| by != port) || open && by.is_some() {
                continue;
            }
            by = Some(port);
            chosen.push((packet, wants));
            if open {
                break;
            }
        }
        let Some(port) = by else { return Ok(0) };
        let frames: Vec<_> = chosen.iter().map(|(packet, _)| packet.frame(&self.t).1).collect();
        let (mut seen, mut dropped) = self.send(rng, port, &frames)?;
        for (packet, wants) in &chosen {
            self.find(packet, wants, &mut seen, &mut dropped)?;
        }
        if !seen.is_empty() || !dropped.is_empty() {
            return Err(format!("nobody's: {dropped:?} {seen:02x?}"));
        }
        Ok(chosen.len())
    }

    /// Finds one of the answers in what came of a burst, and takes it.
    pub(crate) fn find(
        &mut self,
        packet: &Packet,
        wants: &[Want],
        seen: &mut Vec<Seen>,
        dropped: &mut Vec<DropReason>,
    ) -> Result<(), String> {
        let mut whys = Vec::new();
        let mut found: Vec<&Want> = Vec::new();
        let mut after = None;
        for want in wants {
            let (mut left, mut lost) = (seen.clone(), dropped.clone());
            if !want.reasons.is_empty() {
                match lost.iter().position(|reason| want.reasons.contains(reason)) {
                    Some(at) => drop(lost.remove(at)),
                    None => {
                        whys.push(format!("not dropped: {want:02x?}"));
                        continue;
                    }
                }
            }
            let taken = match &want.sending {
                None => Ok(None),
                Some(sending) => take(sending, &packet.padding, packet.priority.unwrap_or(0), &mut left),
            };
            match taken {
                Ok(entropy) if wants.len() == 1 || (left.is_empty() && lost.is_empty()) => {
                    found.push(want);
                    after = Some((left, lost, entropy));
                }
                Ok(_) => whys.push(format!("more than wanted: {want:02x?}")),
                Err(why) => whys.push(format!("{why}: {want:02x?}")),
            }
        }
        let Some((left, lost, _entropy)) = after else {
            return Err(format!("{packet:02x?}\n{}\nleft: {seen:02x?}\ndropped: {dropped:?}", whys.join("\n")));
        };
        if let [Want { by: Some((flow, hop)), .. }] = found[..] {
            self.flows.insert(flow.clone(), *hop);
        }
        (*seen, *dropped) = (left, lost);
        Ok(())
    }
}
