//! Trials: each a fresh process, the programs taking turns, so that a machine that slows down slows all of them.

use crate::interrupt::pause;
use crate::memory::sweep;
use crate::process::Waits;
use crate::program::{Counts, Program, Running, Setting};
use crate::statistics::{median, spread};
use anyhow::{Context, Result, ensure};
use serde::Serialize;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// How long a program may take until the first packet reaches its sink.
const FIRST_PACKET_TIME: Duration = Duration::from_secs(30);
/// Which part of the packets may be lost, or wait, between two readings.
const TOLERANCE: f64 = 0.001;

/// How long and how often.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    /// Trials of every program.
    pub trials: u32,
    /// Between the two readings.
    pub seconds: f64,
    /// Between the first packet and the first reading: caches fill, MACs are learned.
    pub warm_up: Duration,
    /// Cycles of the TSC a second.
    pub tsc_hz: u64,
}

/// What one trial showed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Trial {
    /// TSC cycles for each packet at the sink.
    pub cycles_per_packet: f64,
    /// Packets that came in between the readings.
    pub sent: u64,
    /// Packets that reached the sink between the readings.
    pub received: u64,
    /// Which part of the time the worker had its core: well below 1 means that others ran there. `None` where the
    /// kernel does not tell.
    pub core_share: Option<f64>,
}

/// All trials of one program.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Trials(pub Vec<Trial>);

impl Trials {
    fn figures(&self, figure: impl Fn(&Trial) -> f64) -> Vec<f64> {
        self.0.iter().map(figure).collect()
    }

    /// The median cycles per packet.
    pub fn cycles(&self) -> Option<f64> {
        median(&self.figures(|t| t.cycles_per_packet))
    }

    /// The median cycles per packet of the time that the worker had its core: an estimate for a machine that was not
    /// idle, since who else ran there left other things in its caches.
    pub fn cycles_on_core(&self) -> Option<f64> {
        let all: Option<Vec<f64>> = self.0.iter().map(|t| Some(t.cycles_per_packet * t.core_share?)).collect();
        median(&all?)
    }

    /// (largest - smallest) / median of the cycles per packet.
    pub fn spread(&self) -> Option<f64> {
        spread(&self.figures(|t| t.cycles_per_packet))
    }

    /// The smallest part of the time that the worker had its core.
    pub fn core_share(&self) -> Option<f64> {
        self.0.iter().filter_map(|t| t.core_share).min_by(f64::total_cmp)
    }

    /// The median packets that came in.
    pub fn sent(&self) -> Option<u64> {
        median(&self.figures(|t| t.sent as f64)).map(|p| p.round() as u64)
    }

    /// The median packets that reached the sink.
    pub fn received(&self) -> Option<u64> {
        median(&self.figures(|t| t.received as f64)).map(|p| p.round() as u64)
    }
}

/// Runs the trials of all programs, taking turns; answers them in the order of the programs. A program that loses
/// packets, or fails, fails all: a figure beside a broken one compares nothing.
pub fn run(programs: &mut [Box<dyn Program>], setting: &Setting, schedule: Schedule) -> Result<Vec<Trials>> {
    let mut all = vec![Trials::default(); programs.len()];
    for turn in 1..=schedule.trials {
        for (program, trials) in programs.iter_mut().zip(&mut all) {
            let name = program.name();
            let trial = trial(program.as_mut(), setting, schedule);
            sweep(&setting.file_prefix);
            let trial = trial.with_context(|| format!("{name}, trial {turn}"))?;
            let traffic = setting.traffic;
            let share =
                trial.core_share.map_or(String::new(), |s| format!(", on its core {:.0} % of the time", s * 100.0));
            eprintln!(
                "{} {} flows, trial {turn}/{}: {name:16} {:7.1} cycles/packet{share}",
                traffic.case, traffic.flows, schedule.trials, trial.cycles_per_packet
            );
            trials.0.push(trial);
        }
    }
    Ok(all)
}

fn trial(program: &mut dyn Program, setting: &Setting, schedule: Schedule) -> Result<Trial> {
    let mut running = program.start(setting)?;
    let end = Instant::now() + FIRST_PACKET_TIME;
    while running.counts()?.received == 0 {
        ensure!(Instant::now() < end, "no packet reached the sink within {} s", FIRST_PACKET_TIME.as_secs());
        pause(Duration::from_millis(20))?;
    }
    pause(schedule.warm_up)?;
    let first = reading(running.as_mut())?;
    pause(Duration::from_secs_f64(schedule.seconds))?;
    let last = reading(running.as_mut())?;
    running.stop()?;
    evaluate(first, last, schedule.tsc_hz, program.copies(setting.traffic.case))
}

/// The counters, when they were asked for, and how long the answer took.
#[derive(Clone, Debug)]
struct Reading {
    asked: Instant,
    took: Duration,
    counts: Counts,
    /// By thread.
    threads: HashMap<u32, Waits>,
}

fn reading(running: &mut dyn Running) -> Result<Reading> {
    let asked = Instant::now();
    let counts = running.counts()?;
    let took = asked.elapsed();
    Ok(Reading { asked, took, counts, threads: running.process().threads() })
}

/// `copies` packets leave for each that comes in.
fn evaluate(first: Reading, last: Reading, tsc_hz: u64, copies: u32) -> Result<Trial> {
    let counted = |a: u64, b: u64| b.checked_sub(a).context("a counter ran backwards");
    let sent = counted(first.counts.sent, last.counts.sent)?;
    let received = counted(first.counts.received, last.counts.received)?;
    ensure!(received > 0, "no packet reached the sink between the readings, {sent} came in");
    // Each counter was read some time within its reading; the middle is the best guess.
    let seconds = ((last.asked + last.took / 2) - (first.asked + first.took / 2)).as_secs_f64();
    let unsure = (first.took + last.took).as_secs_f64() / seconds;
    let due = sent as f64 * f64::from(copies);
    let tolerated = due * (TOLERANCE + unsure) + 4096.0;
    ensure!(received as f64 + tolerated >= due, "{received} of {due} packets reached the sink: it drops");
    // The worker is the thread that ran most.
    let on_core = |(id, last): (&u32, &Waits)| last.on_core.checked_sub(first.threads.get(id)?.on_core);
    let ran = last.threads.iter().filter_map(on_core).max();
    let core_share = ran.filter(|r| *r > 0).map(|r| (r as f64 / 1e9 / seconds).min(1.0));
    Ok(Trial { cycles_per_packet: seconds * tsc_hz as f64 / received as f64, sent, received, core_share })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::Process;

    fn evaluated(sent: u64, received: u64) -> Result<Trial> {
        copied(sent, received, 1)
    }

    fn copied(sent: u64, received: u64, copies: u32) -> Result<Trial> {
        let start = Instant::now();
        let at = |seconds, sent, received| Reading {
            asked: start + Duration::from_secs(seconds),
            took: Duration::from_micros(100),
            counts: Counts { sent, received },
            threads: HashMap::from(
                [(1, 5), (2, seconds * 900_000_000)].map(|(id, on_core)| (id, Waits { on_core, waiting: 0 })),
            ),
        };
        evaluate(at(0, 1000, 900), at(2, 1000 + sent, 900 + received), 2_600_000_000, copies)
    }

    #[test]
    fn cycles_are_the_time_of_each_packet_at_the_sink() {
        let trial = evaluated(52_000_000, 52_000_000).unwrap();
        assert!((trial.cycles_per_packet - 100.0).abs() < 1e-6, "{trial:?}");
        assert_eq!((trial.sent, trial.received), (52_000_000, 52_000_000));
        assert!((trial.core_share.unwrap() - 0.9).abs() < 1e-6, "{trial:?}");
    }

    #[test]
    fn a_fast_dropper_has_no_figure() {
        assert!(evaluated(52_000_000, 51_960_000).is_ok(), "readings are not one instant");
        assert!(evaluated(52_000_000, 51_900_000).unwrap_err().to_string().contains("it drops"));
        assert!(evaluated(52_000_000, 0).unwrap_err().to_string().contains("no packet"));
    }

    #[test]
    fn every_copy_must_reach_the_sink() {
        let trial = copied(3_250_000, 52_000_000, 16).unwrap();
        assert!((trial.cycles_per_packet - 100.0).abs() < 1e-6, "{trial:?}");
        assert!(copied(3_250_000, 51_900_000, 16).unwrap_err().to_string().contains("of 52000000 packets"));
    }

    #[test]
    fn a_report_takes_medians() {
        let trial = |cycles_per_packet, sent| Trial {
            cycles_per_packet,
            sent,
            received: sent,
            core_share: Some(cycles_per_packet / 1000.0),
        };
        let trials = Trials(vec![trial(100.0, 52), trial(110.0, 50), trial(500.0, 10)]);
        assert_eq!((trials.cycles(), trials.sent(), trials.received()), (Some(110.0), Some(50), Some(50)));
        assert!((trials.spread().unwrap() - 400.0 / 110.0).abs() < 1e-9);
        assert_eq!(trials.core_share(), Some(0.1));
        assert!((trials.cycles_on_core().unwrap() - 110.0 * 0.11).abs() < 1e-9);
        assert_eq!(Trials::default().cycles(), None);
    }

    struct Fake {
        name: &'static str,
        started: std::rc::Rc<std::cell::RefCell<Vec<&'static str>>>,
    }

    struct Flow(u64, Process);

    impl Program for Fake {
        fn name(&self) -> &'static str {
            self.name
        }
        fn start(&mut self, _: &Setting) -> Result<Box<dyn Running>> {
            self.started.borrow_mut().push(self.name);
            let wait = crate::process::arguments(["-c", "sleep 60"]);
            let log = std::path::Path::new("/dev/null");
            Ok(Box::new(Flow(0, Process::start("/bin/sh".as_ref(), &wait, &[], log)?)))
        }
    }

    impl Running for Flow {
        fn counts(&mut self) -> Result<Counts> {
            self.0 += 10_000;
            Ok(Counts { sent: self.0, received: self.0 })
        }
        fn process(&self) -> &Process {
            &self.1
        }
        fn stop(self: Box<Self>) -> Result<()> {
            Ok(())
        }
    }

    #[test]
    fn the_programs_take_turns() {
        let started = std::rc::Rc::default();
        let fake = |name| -> Box<dyn Program> { Box::new(Fake { name, started: std::rc::Rc::clone(&started) }) };
        let setting = Setting {
            traffic: crate::trace::Traffic::new(crate::trace::Case::VlanVxlan, 1, 1).unwrap(),
            trace: "t".into(),
            cores: "0,1".parse().unwrap(),
            memory: crate::memory::Memory { huge: false, mib: 1 },
            mbufs: 1,
            directory: ".".into(),
            file_prefix: "weir-bench-no-such-run".into(),
        };
        let schedule = Schedule { trials: 2, seconds: 0.001, warm_up: Duration::ZERO, tsc_hz: 1_000_000_000 };
        let trials = run(&mut [fake("a"), fake("b")], &setting, schedule).unwrap();
        assert_eq!(*started.borrow(), ["a", "b", "a", "b"]);
        assert_eq!(trials.iter().map(|t| t.0.len()).collect::<Vec<_>>(), [2, 2]);
    }
}
