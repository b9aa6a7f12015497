//! Child processes that never outlive the run: each is killed when its handle goes, and by the kernel when this process
//! dies. Every wait has an end.

use crate::interrupt;
use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::{sleep, spawn};
use std::time::{Duration, Instant};

/// How often a wait looks.
const STEP: Duration = Duration::from_millis(2);
/// How long a program that no longer answers may take to end.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// How long a command that only asks or sets something may take.
const COMMAND_TIME: Duration = Duration::from_secs(20);

/// The command as a child that gets SIGKILL when this process ends in whatever way, and no Ctrl-C from the terminal:
/// that is this process's to pass on.
fn tethered(program: &Path, arguments: &[String]) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(program).args(arguments).process_group(0);
    command
}

/// A thread's time, nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waits {
    /// On a core.
    pub on_core: u64,
    /// Ready to run, while others had its core.
    pub waiting: u64,
}

/// A program that runs until it is stopped.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts the program; what it says goes to the file `log`.
    pub fn start(program: &Path, arguments: &[String], environment: &[(&str, String)], log: &Path) -> Result<Self> {
        let out = File::create(log).with_context(|| format!("cannot create {}", log.display()))?;
        let mut command = tethered(program, arguments);
        command.envs(environment.iter().cloned()).stdin(Stdio::null()).stdout(out.try_clone()?).stderr(out);
        Self::launch(command, program, log)
    }

    /// Starts the program for a dialogue over its standard input and output; its errors go to the file `log`.
    pub fn converse(program: &Path, arguments: &[String], log: &Path) -> Result<(Self, Dialogue)> {
        let errors = File::create(log).with_context(|| format!("cannot create {}", log.display()))?;
        // Into a pipe, the C library would write by the block, and an answer would not come.
        let by_line = [&["-oL".to_owned(), program.to_string_lossy().into_owned()], arguments].concat();
        let mut command = tethered(Path::new("stdbuf"), &by_line);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(errors);
        let mut process = Self::launch(command, program, log)?;
        let input = process.child.stdin.take().context("the child has no standard input")?;
        let output = process.child.stdout.take().context("the child has no standard output")?;
        let (send, lines) = channel();
        spawn(move || {
            for line in BufReader::new(output).lines() {
                let Ok(line) = line else { return };
                if send.send(line).is_err() {
                    return;
                }
            }
        });
        let name = process.name.clone();
        Ok((process, Dialogue { name, input, lines, said: Vec::new() }))
    }

    fn launch(mut command: Command, program: &Path, log: &Path) -> Result<Self> {
        let name = program.file_name().unwrap_or(program.as_os_str()).to_string_lossy().into_owned();
        let child = command.spawn().with_context(|| format!("cannot start {}", program.display()))?;
        Ok(Self { name, child, log: log.to_owned() })
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What each of its threads has spent on a core and waited for one, by thread id.
    pub fn threads(&self) -> HashMap<u32, Waits> {
        let mut threads = HashMap::new();
        for entry in std::fs::read_dir(format!("/proc/{}/task", self.id())).into_iter().flatten().flatten() {
            // A thread that ended meanwhile, or a kernel that does not account, has no time.
            let id = entry.file_name().to_string_lossy().parse();
            let text = std::fs::read_to_string(entry.path().join("schedstat")).unwrap_or_default();
            let mut times = text.split(' ').map_while(|t| t.parse().ok());
            if let (Ok(id), Some(on_core), Some(waiting)) = (id, times.next(), times.next()) {
                threads.insert(id, Waits { on_core, waiting });
            }
        }
        threads
    }

    /// Bytes of memory that it has: what is resident, and hugepages, which the kernel counts apart.
    pub fn memory(&self) -> Result<u64> {
        let path = format!("/proc/{}/status", self.id());
        let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        memory(&text).with_context(|| format!("{path} shows no VmRSS"))
    }

    /// Fails, with the end of its log, once the program has ended.
    pub fn alive(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("{} ended too soon ({status}):\n{}", self.name, self.log_tail()),
        }
    }

    /// The error of a program that may have failed because it is ending: then with the end of its log.
    pub fn explain(&mut self, error: anyhow::Error) -> anyhow::Error {
        let end = Instant::now() + LAST_WORDS;
        while Instant::now() < end {
            if let Err(ended) = self.alive() {
                return error.context(ended.to_string());
            }
            sleep(STEP);
        }
        error
    }

    /// Waits until `ready` answers something. Fails when the program ends before, and after `time`.
    pub fn until<T>(&mut self, time: Duration, mut ready: impl FnMut() -> Result<Option<T>>) -> Result<T> {
        let end = Instant::now() + time;
        loop {
            if let Some(value) = ready()? {
                return Ok(value);
            }
            self.alive()?;
            if Instant::now() > end {
                bail!("{} is not ready after {} s:\n{}", self.name, time.as_secs(), self.log_tail());
            }
            interrupt::pause(Duration::from_millis(10))?;
        }
    }

    /// Waits for the program's own end. Kills it after `time`, which is an error.
    pub fn wait(mut self, time: Duration) -> Result<ExitStatus> {
        let end = Instant::now() + time;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if Instant::now() > end {
                bail!("{} did not end within {} s:\n{}", self.name, time.as_secs(), self.log_tail());
            }
            sleep(STEP);
        }
    }

    /// Asks the program to end by SIGTERM, and waits for it. Anything but exit code 0 is an error.
    pub fn terminate(self, time: Duration) -> Result<()> {
        let pid = i32::try_from(self.id()).ok().and_then(Pid::from_raw).context("no process id")?;
        kill_process(pid, Signal::TERM).with_context(|| format!("cannot stop {}", self.name))?;
        let (name, log) = (self.name.clone(), self.log.clone());
        let status = self.wait(time)?;
        ensure!(status.success(), "{name} ended badly ({status}):\n{}", tail(&log));
        Ok(())
    }

    /// The last lines of what it said.
    pub fn log_tail(&self) -> String {
        tail(&self.log)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only when it has ended and was waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Bytes, from a process's `/proc/PID/status`.
fn memory(status: &str) -> Option<u64> {
    let kib = |name: &str| {
        let line = status.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(':'));
        line?.trim().trim_end_matches(" kB").parse::<u64>().ok()
    };
    Some((kib("VmRSS")? + kib("HugetlbPages").unwrap_or(0)) * 1024)
}

fn tail(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let from = lines.len().saturating_sub(15);
    if lines.is_empty() { "  (it said nothing)".into() } else { format!("  {}", lines[from..].join("\n  ")) }
}

/// Lines to and from a program.
#[derive(Debug)]
pub struct Dialogue {
    name: String,
    input: ChildStdin,
    lines: Receiver<String>,
    said: Vec<String>,
}

impl Dialogue {
    /// Sends a line.
    pub fn say(&mut self, line: &str) -> Result<()> {
        let sent = self.input.write_all(format!("{line}\n").as_bytes()).and_then(|()| self.input.flush());
        sent.with_context(|| format!("{} no longer listens:\n{}", self.name, self.last_lines()))
    }

    /// Reads lines until `wanted` makes something of one.
    pub fn hear<T>(&mut self, time: Duration, mut wanted: impl FnMut(&str) -> Option<T>) -> Result<T> {
        let end = Instant::now() + time;
        loop {
            interrupt::check()?;
            let left = end.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left.min(Duration::from_millis(50))) {
                Ok(line) => {
                    let found = wanted(&line);
                    self.said.push(line);
                    if let Some(found) = found {
                        return Ok(found);
                    }
                }
                Err(RecvTimeoutError::Timeout) if left.is_zero() => {
                    bail!("{} did not answer within {} s:\n{}", self.name, time.as_secs(), self.last_lines())
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => bail!("{} ended:\n{}", self.name, self.last_lines()),
            }
        }
    }

    fn last_lines(&self) -> String {
        let from = self.said.len().saturating_sub(15);
        format!("  {}", self.said[from..].join("\n  "))
    }
}

/// Runs a command to its end and answers what it wrote to its standard output. Fails on any exit code but 0, with what
/// it wrote to its standard error.
pub fn run(program: &Path, arguments: &[String], environment: &[(&str, String)]) -> Result<String> {
    let name = program.file_name().unwrap_or(program.as_os_str()).to_string_lossy().into_owned();
    let shown = || format!("{name} {}", arguments.join(" "));
    let mut command = tethered(program, arguments);
    command.envs(environment.iter().cloned()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("cannot run {}", shown()))?;
    let read = |pipe: Option<Box<dyn Read + Send>>| {
        spawn(move || {
            let mut text = Vec::new();
            if let Some(mut pipe) = pipe {
                // A pipe that breaks ends the text; the exit status says the rest.
                let _ = pipe.read_to_end(&mut text);
            }
            String::from_utf8_lossy(&text).into_owned()
        })
    };
    let out = read(child.stdout.take().map(|p| Box::new(p) as _));
    let errors = read(child.stderr.take().map(|p| Box::new(p) as _));
    let mut process = Process { name: name.clone(), child, log: PathBuf::new() };
    let end = Instant::now() + COMMAND_TIME;
    let status = loop {
        if let Some(status) = process.child.try_wait()? {
            break status;
        }
        interrupt::check()?;
        ensure!(Instant::now() < end, "{} did not end within {} s", shown(), COMMAND_TIME.as_secs());
        sleep(STEP);
    };
    let errors = errors.join().unwrap_or_default();
    ensure!(status.success(), "{}: {status}: {}", shown(), errors.trim());
    Ok(out.join().unwrap_or_default())
}

/// Arguments from string slices.
pub fn arguments<const N: usize>(texts: [&str; N]) -> Vec<String> {
    texts.map(str::to_owned).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_what_is_resident_and_hugepages() {
        let status = "Name:\tweir\nVmPeak:\t  900 kB\nVmRSS:\t    100 kB\nHugetlbPages:\t    2048 kB\n";
        assert_eq!(memory(status), Some(2148 * 1024));
        assert_eq!(memory("VmRSS:\t7 kB\n"), Some(7 * 1024));
        assert_eq!(memory("Name:\tgone\n"), None);
    }

    const SH: &str = "/bin/sh";

    fn shell(script: &str) -> Vec<String> {
        arguments(["-c", script])
    }

    #[test]
    fn a_command_answers_its_output_or_its_error() {
        let sh = Path::new(SH);
        assert_eq!(run(sh, &shell("echo $GREETING"), &[("GREETING", "hello".into())]).unwrap(), "hello\n");
        let error = run(sh, &shell("echo broken >&2; exit 3"), &[]).unwrap_err().to_string();
        assert!(error.contains("broken") && error.contains('3'), "{error}");
    }

    #[test]
    fn a_dialogue_hears_what_it_waits_for() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("log");
        let script = shell("while read line; do echo got $line; done");
        let (process, mut dialogue) = Process::converse(Path::new(SH), &script, &log).unwrap();
        dialogue.say("one").unwrap();
        let word = |l: &str| l.strip_prefix("got ").map(str::to_owned);
        assert_eq!(dialogue.hear(Duration::from_secs(10), word).unwrap(), "one");
        drop(process);
        let error = dialogue.hear(Duration::from_secs(10), word).unwrap_err().to_string();
        assert!(error.contains("sh ended") && error.contains("got one"), "{error}");
    }

    #[test]
    fn a_program_that_ends_too_soon_shows_its_log() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("log");
        let mut process = Process::start(Path::new(SH), &shell("echo no memory; exit 1"), &[], &log).unwrap();
        let error = process.until(Duration::from_secs(10), || Ok(None::<()>)).unwrap_err().to_string();
        assert!(error.contains("ended too soon") && error.contains("no memory"), "{error}");
    }

    #[test]
    fn a_busy_program_spends_time_on_a_core() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("log");
        let mut process = Process::start(Path::new(SH), &shell("while :; do :; done"), &[], &log).unwrap();
        let busy = process.id();
        let spent = |process: &Process| process.threads().get(&busy).map_or(0, |waits| waits.on_core);
        let before = spent(&process);
        for _ in 0..1000 {
            if spent(&process) > before + 20_000_000 {
                return;
            }
            process.alive().unwrap();
            sleep(Duration::from_millis(10));
        }
        panic!("10 s, and it never ran for 20 ms");
    }

    #[test]
    fn termination_wants_a_clean_end() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("log");
        let start = |code: u8| {
            let script = format!("trap 'exit {code}' TERM; echo up; while :; do sleep 0.01; done");
            let mut process = Process::start(Path::new(SH), &shell(&script), &[], &log).unwrap();
            let up = || Ok(std::fs::read_to_string(&log)?.contains("up").then_some(()));
            process.until(Duration::from_secs(10), up).unwrap();
            process
        };
        start(0).terminate(Duration::from_secs(10)).unwrap();
        let error = start(7).terminate(Duration::from_secs(10)).unwrap_err().to_string();
        assert!(error.contains("ended badly") && error.contains('7'), "{error}");
    }
}
