//! [`Told`]: what a command said and how it ended; [`Running`]: a command that has not ended yet.

use super::swarm::PATIENCE;
use serde_json::Value;
use std::{
    io::{BufRead, BufReader, Read, Write},
    os::unix::process::ExitStatusExt,
    process::{Child, ChildStdin, Command, ExitStatus, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// A command that has ended.
pub struct Told {
    pub line: String,
    pub status: ExitStatus,
    pub out: Vec<u8>,
    pub err: String,
}

impl Told {
    /// Runs a command to its end; one that does not end is killed and fails the test.
    pub fn by(command: Command) -> Self {
        Running::start(command, false).end()
    }

    pub fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// It succeeded.
    #[track_caller]
    pub fn ok(self) -> Self {
        assert_eq!(self.code(), Some(0), "`{}` {:?}: {}", self.line, self.status, self.err);
        self
    }

    /// It failed with this exit code, and said each of `words`.
    #[track_caller]
    pub fn fails(self, code: i32, words: &[&str]) -> Self {
        assert_eq!(self.code(), Some(code), "`{}` {:?}: {}", self.line, self.status, self.err);
        for word in words {
            assert!(self.err.contains(word), "`{}` does not say `{word}`: {}", self.line, self.err);
        }
        self
    }

    /// Standard output without the line's end.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.out).unwrap().trim_end()
    }

    /// Standard output as one JSON value.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.out).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// Standard output as one JSON value a line.
    #[track_caller]
    pub fn json_lines(&self) -> Vec<Value> {
        self.text().lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
    }
}

/// A command that runs. Dropping it kills it.
pub struct Running {
    line: String,
    child: Child,
    out: Option<JoinHandle<Vec<u8>>>,
    err: Receiver<String>,
    said: Vec<String>,
}

impl Running {
    /// Starts a command; `fed` tells whether the test writes to its standard input.
    pub fn start(mut command: Command, fed: bool) -> Self {
        let line = format!("{command:?}");
        command.stdin(if fed { Stdio::piped() } else { Stdio::null() });
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (mut stdout, stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let out = thread::spawn(move || {
            let mut bytes = Vec::new();
            let _ = stdout.read_to_end(&mut bytes);
            bytes
        });
        let (sender, err) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        Self { line, child, out: Some(out), err, said: Vec::new() }
    }

    /// Its standard input, if it was started with one; the input ends when this is dropped.
    pub fn input(&mut self) -> ChildStdin {
        self.child.stdin.take().unwrap()
    }

    /// Writes bytes to its standard input and ends it, from another thread.
    pub fn feed(&mut self, bytes: Vec<u8>) {
        let mut input = self.input();
        thread::spawn(move || {
            let _ = input.write_all(&bytes);
        });
    }

    /// Waits until it has said `count` more lines with `word` on standard error, or has ended. True if it said them.
    pub fn says(&mut self, word: &str, count: usize) -> bool {
        let deadline = Instant::now() + PATIENCE;
        let mut left = count;
        while left > 0 {
            match self.err.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    left -= usize::from(line.contains(word));
                    self.said.push(line);
                }
                Err(RecvTimeoutError::Disconnected) => return false,
                Err(RecvTimeoutError::Timeout) => panic!("`{}` never said `{word}`: {:?}", self.line, self.said),
            }
        }
        true
    }

    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: rustix::process::Signal) {
        send(self.child.id(), signal);
    }

    /// Waits for its end.
    #[track_caller]
    pub fn end(mut self) -> Told {
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            if Instant::now() > deadline {
                self.said.extend(self.err.try_iter());
                panic!("`{}` has not ended after {PATIENCE:?}; it said {:?}", self.line, self.said);
            }
            thread::sleep(Duration::from_millis(5));
        };
        let out = self.out.take().map(|out| out.join().unwrap()).unwrap_or_default();
        self.said.extend(self.err.iter());
        Told { line: self.line.clone(), status, out, err: self.said.join("\n") }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// True if it was ended by `signal`.
pub fn was_killed_by(told: &Told, signal: rustix::process::Signal) -> bool {
    told.status.signal() == Some(signal.as_raw())
}

/// Sends a signal to a process of this test.
pub fn send(pid: u32, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(pid.try_into().unwrap()).unwrap();
    rustix::process::kill_process(pid, signal).unwrap();
}
