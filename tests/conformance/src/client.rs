//! A running adapter: commands go in, what its library saw comes out.
//!
//! Commands: `launch` (`task`, `command`), `kill` (`task`), `reconcile` (`tasks`, all when empty), `decline` (`seconds`;
//! every offer held), `suppress`, `revive`, `teardown`; where the library has executors also `launch` with `executor` (`id`,
//! `uri`), `message` (`executor`, `task` that runs there, `text`), `shutdown` (`executor`, `task`). Seen: `subscribed` (`framework`), `offer` (`offer`), `rescind`
//! (`offer`), `update` (`task`, `state`, `reason`), `message` (`text`), `executor_lost`, `heartbeat`, `lost`, `done` (`command`), `error` (`message`).
//! A library that tries to subscribe again says `lost` as often as it likes.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// For whatever is waited for: libraries back off for many seconds after a loss.
pub const PATIENCE: Duration = Duration::from_secs(90);
/// So much of what was seen is shown when something is missed.
const SHOWN: usize = 60;

/// The adapter's process; dropping it ends it.
pub struct Client {
    child: Child,
    commands: ChildStdin,
    lines: Receiver<String>,
    seen: Vec<Value>,
    /// What `wait` has looked at already.
    at: usize,
}

impl Client {
    pub fn start(mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let commands = child.stdin.take().expect("piped");
        let output = BufReader::new(child.stdout.take().expect("piped"));
        let (sender, lines) = channel();
        thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Self { child, commands, lines, seen: Vec::new(), at: 0 }
    }

    /// Gives a command and waits until the library's call has returned. What is seen meanwhile is still to be looked at: news
    /// of a launch may be here before the call is over.
    pub fn order(&mut self, name: &str, details: Value) {
        self.give(name, details);
        let at = self.at;
        self.wait(name, |seen| seen["saw"] == "done" && seen["command"] == name);
        self.at = at;
    }

    /// Passes over all that was seen so far.
    pub fn forget(&mut self) {
        self.at = self.seen.len();
    }

    /// Gives a command without waiting for the library's call.
    pub fn give(&mut self, name: &str, mut details: Value) {
        details["do"] = json!(name);
        writeln!(self.commands, "{details}")
            .unwrap_or_else(|error| panic!("{name}: {error}\n{}", self.tail()));
    }

    /// Waits for something not looked at before; what comes in between is passed over.
    pub fn wait(&mut self, what: &str, mut wanted: impl FnMut(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            while let Some(seen) = self.seen.get(self.at) {
                self.at += 1;
                if wanted(seen) {
                    return seen.clone();
                }
            }
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                // A library's own log lines may stand between.
                Ok(line) => {
                    self.seen.extend(serde_json::from_str::<Value>(&line).ok().filter(Value::is_object))
                }
                Err(RecvTimeoutError::Timeout) => panic!("not within {PATIENCE:?}: {what}\n{}", self.tail()),
                Err(RecvTimeoutError::Disconnected) => {
                    panic!("the client ended ({:?}) before: {what}\n{}", self.child.try_wait(), self.tail())
                }
            }
        }
    }

    pub fn wait_update(&mut self, task: &str, state: &str) -> Value {
        self.wait(&format!("{task} is {state}"), |seen| {
            seen["saw"] == "update" && seen["task"] == task && seen["state"] == state
        })
    }

    /// All it has seen so far, in order.
    pub fn seen(&self) -> &[Value] {
        &self.seen
    }

    /// How much of what was seen has been looked at.
    pub fn position(&self) -> usize {
        self.at
    }

    /// The end of what it saw, for a failing test.
    pub fn tail(&self) -> String {
        let from = self.seen.len().saturating_sub(SHOWN);
        self.seen[from..].iter().map(|seen| format!("{seen}\n")).collect()
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // It may have ended by itself; there is nothing to say about it either way.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
