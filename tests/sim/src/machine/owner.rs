//! Somebody with jobs: adds, triggers, suspends and deletes them, puts all of them to rest in the end, and has one run then
//! that is to be in time.

use std::collections::BTreeMap;

use chronos::core::definition::Definition;
use chronos::core::message::{Command, Counters, Orphans, Reply};
use rand::RngExt;
use serde_json::{Value, json};

use super::caller::{Caller, Outcome};
use super::{Crash, Due, Machine};
use crate::context::Context;
use crate::frame::{Ask, Frame, JobsCall};
use crate::net::{ConnId, Host, MS, Micros, SECOND};

/// After everything has healed, jobs are resumed, go on for a while, and are disabled.
const RESUME: Micros = 2 * SECOND;
const REST: Micros = 8 * SECOND;
/// From then on agents are back, offers that were made meanwhile have ended, and nothing keeps a run from beginning.
const SETTLED: Micros = 15 * SECOND;
/// The job that is due a few times after that.
const CLOCKWORK: &str = "clockwork";

/// A machine with such a person at it.
pub struct Owner {
    host: Host,
    schedulers: Vec<(String, Host)>,
    caller: Caller,
    /// What each of so many places is taken by.
    jobs: Vec<Option<Job>>,
    /// Every document that was ever posted, by name.
    posted: BTreeMap<String, Value>,
    asked: Option<Asked>,
    healed: Option<Micros>,
    /// Nothing of any job will be due any more, but of the last one.
    settled: bool,
    adds: u64,
    triggers: u64,
    deletes: u64,
    others: u64,
    refused: u64,
    unknown: u64,
}

struct Job {
    name: String,
    /// The scheduler has said that it has it.
    known: bool,
    /// Its removal was asked for.
    leaving: bool,
}

/// What an answer will be to.
enum Asked {
    Add { place: usize },
    Run { job: String, token: String },
    Delete { place: usize },
    Other,
    List,
}

impl Owner {
    pub(crate) fn new(host: Host, schedulers: &[(String, Host)], jobs: u32) -> Self {
        Self {
            host,
            schedulers: schedulers.to_vec(),
            caller: Caller::new(host, schedulers),
            jobs: (0..jobs).map(|_| None).collect(),
            posted: BTreeMap::new(),
            asked: None,
            healed: None,
            settled: false,
            adds: 0,
            triggers: 0,
            deletes: 0,
            others: 0,
            refused: 0,
            unknown: 0,
        }
    }

    fn ask(&mut self, asked: Asked, call: JobsCall, cx: &mut Context) {
        self.asked = Some(asked);
        self.caller.begin(Ask::Jobs(Box::new(call)), cx);
    }

    fn next(&mut self, cx: &mut Context) {
        if self.caller.is_busy() {
            return;
        }
        if cx.judge.healed {
            let healed = *self.healed.get_or_insert(cx.now);
            if self.settled {
                return;
            }
            if cx.now < healed + RESUME {
                return self.rest(cx);
            }
            return self.ask(Asked::List, JobsCall::List, cx);
        }
        let place = cx.random.random_range(0..self.jobs.len());
        let Some(job) = self.jobs[place].as_ref().filter(|job| job.known) else {
            return self.add(place, cx);
        };
        let name = job.name.clone();
        match cx.random.random_range(0..20) {
            0..2 => self.add(place, cx),
            2..8 => self.trigger(name, cx),
            8..12 if !is_kept(place) => self.delete(place, &name, cx),
            12..14 => self.other(Command::Suspend { job: name }, cx),
            14..17 => self.other(Command::Resume { job: name }, cx),
            17..18 => self.other(Command::KillTasks { job: name }, cx),
            _ => self.rest(cx),
        }
    }

    /// Posts a job for the first time, or the same once more.
    fn add(&mut self, place: usize, cx: &mut Context) {
        let parent = self.jobs[0].as_ref().filter(|job| job.known).map(|job| job.name.clone());
        if place == 1 && parent.is_none() {
            return self.rest(cx);
        }
        let number = self.posted.len();
        let job = self.jobs[place].get_or_insert_with(|| Job {
            name: format!("job{place}-{number}"),
            known: false,
            leaving: false,
        });
        let name = job.name.clone();
        let document = match self.posted.get(&name) {
            Some(document) => document.clone(),
            None => document(place, &name, parent.as_deref(), cx),
        };
        self.posted.insert(name, document.clone());
        self.adds += 1;
        self.ask(Asked::Add { place }, JobsCall::Command(put(document)), cx);
    }

    fn trigger(&mut self, job: String, cx: &mut Context) {
        self.triggers += 1;
        let token = format!("once {}", self.triggers);
        let command = Command::Dispatch {
            job: job.clone(),
            arguments: None,
            parameters: BTreeMap::new(),
            token: token.clone(),
        };
        self.ask(Asked::Run { job, token }, JobsCall::Command(command), cx);
    }

    fn delete(&mut self, place: usize, name: &str, cx: &mut Context) {
        self.deletes += 1;
        cx.judge.once.removal_asked(name);
        if let Some(job) = &mut self.jobs[place] {
            job.leaving = true;
        }
        let command = Command::Delete { job: name.to_owned(), orphans: Orphans::default() };
        self.ask(Asked::Delete { place }, JobsCall::Command(command), cx);
    }

    fn other(&mut self, command: Command, cx: &mut Context) {
        self.others += 1;
        self.ask(Asked::Other, JobsCall::Command(command), cx);
    }

    /// Jobs go on for a while when all is whole again; then none has anything to do any more.
    fn settle(&mut self, jobs: &[std::sync::Arc<Definition>], cx: &mut Context) {
        if let Some(job) = jobs.iter().find(|job| job.suspend) {
            let job = job.name.clone();
            return self.ask(Asked::Other, JobsCall::Command(Command::Resume { job }), cx);
        }
        if self.healed.is_none_or(|healed| cx.now < healed + REST) {
            return self.rest(cx);
        }
        // What runs after others rests when they do.
        let mut open = jobs.iter().filter(|job| !job.disabled && job.parents.is_none());
        let Some(mut document) = open.find_map(|job| self.posted.get(&job.name).cloned()) else {
            return self.wind_up(jobs, cx);
        };
        document["disabled"] = json!(true);
        self.ask(Asked::Other, JobsCall::Command(put(document)), cx);
    }

    /// The others rest: one more job is there for the judge, who has to know when it is due.
    fn wind_up(&mut self, jobs: &[std::sync::Arc<Definition>], cx: &mut Context) {
        if let Some(job) = jobs.iter().find(|job| job.name == CLOCKWORK) {
            cx.judge.punctual.shown(CLOCKWORK, job.schedule.as_deref().unwrap_or_default());
            self.settled = true;
            return;
        }
        if self.healed.is_none_or(|healed| cx.now < healed + SETTLED) {
            return self.rest(cx);
        }
        cx.judge.punctual.asked_for(CLOCKWORK);
        self.other(put(clockwork()), cx);
    }

    fn outcome(&mut self, outcome: Option<Outcome>, cx: &mut Context) {
        let Some(outcome) = outcome else { return };
        let Some(asked) = self.asked.take() else { return };
        match outcome {
            Outcome::Answered(Frame::Jobs(jobs)) => return self.settle(&jobs, cx),
            Outcome::Answered(Frame::JobDone(reply)) => self.done(asked, &reply, cx),
            Outcome::Answered(frame) => cx.judge.broken("answers fit their calls", format!("{frame:?}")),
            Outcome::Refused(why) => {
                self.refused += 1;
                match asked {
                    Asked::Add { .. } => cx.judge.broken("lawful jobs are taken", why),
                    Asked::Delete { place } => self.jobs[place] = None,
                    _ => {}
                }
            }
            Outcome::Unknown => self.unknown += 1,
        }
        self.rest(cx);
    }

    fn done(&mut self, asked: Asked, reply: &Reply, cx: &mut Context) {
        match asked {
            Asked::Add { place } => {
                if let Some(job) = self.jobs[place].as_mut().filter(|job| !job.leaving) {
                    job.known = true;
                    cx.judge.once.added(&job.name);
                }
            }
            Asked::Run { job, token } => {
                if let Reply::Run(run) = reply {
                    cx.judge.once.triggered(&job, run, &token);
                }
            }
            Asked::Delete { place } => self.jobs[place] = None,
            Asked::Other | Asked::List => {}
        }
    }

    fn rest(&self, cx: &mut Context) {
        let pause = if cx.judge.healed { (100 * MS, 300 * MS) } else { (300 * MS, 5 * SECOND) };
        let pause = cx.between(pause);
        cx.later(self.host, pause, Due::Next);
    }
}

/// The first job and the one that runs after it stay.
fn is_kept(place: usize) -> bool {
    place < 2
}

fn put(document: Value) -> Command {
    let definition = Definition::read(document).expect("a lawful definition");
    Command::Put { definition: Box::new(definition), counters: Counters::default() }
}

/// The definition of the job at this place: each is of another kind.
fn document(place: usize, name: &str, parent: Option<&str>, cx: &mut Context) -> Value {
    let seconds = cx.random.random_range(3..9);
    // Some run for longer than it takes to give up an agent.
    let long = if cx.chance(2_000) {
        cx.random.random_range(5_000..15_000)
    } else {
        cx.random.random_range(50..2_500)
    };
    let policy = ["Allow", "Forbid", "Replace", "Queue"][cx.random.random_range(0..4)];
    let mut job = json!({
        "name": name, "command": format!("run {long} ?"), "cpus": 0.1, "mem": 16, "disk": 1, "owner": "o@example.com",
        "schedule": format!("R//PT{seconds}S"), "concurrencyPolicy": policy, "historyLimit": 30,
        "unreachable": {"lostAfterSeconds": cx.random.random_range(1..40)},
        "retries": cx.random.random_range(0..3), "retryPolicy": {"kind": "fixed", "delay": 1},
    });
    match place {
        1 => {
            job["schedule"] = Value::Null;
            job["parents"] = json!([parent.unwrap_or_default()]);
        }
        2 => {
            job["catchup"] = json!("all");
            job["startingDeadlineSeconds"] = json!(cx.random.random_range(5..30));
        }
        3 => {
            job["schedule"] = json!("R1//PT1M");
            job["retries"] = json!(3);
        }
        4 => job["catchup"] = json!("none"),
        5 => {
            job["schedule"] = json!(format!("R{}//PT{seconds}S", cx.random.random_range(2..5)));
            job["completions"] = json!(3);
            job["parallelism"] = json!(2);
        }
        _ => {}
    }
    job
}

/// What runs may overlap, ends well and needs little, so that they wait for nothing but an offer.
fn clockwork() -> Value {
    json!({
        "name": CLOCKWORK, "command": "run 200 0", "cpus": 0.1, "mem": 16, "disk": 1,
        "schedule": "R6//PT2S", "concurrencyPolicy": "Allow",
    })
}

impl Machine for Owner {
    fn start(&mut self, cx: &mut Context) {
        self.caller = Caller::new(self.host, &self.schedulers);
        self.asked = None;
        self.rest(cx);
    }

    fn due(&mut self, what: Due, cx: &mut Context) {
        if matches!(what, Due::Next) {
            return self.next(cx);
        }
        let outcome = self.caller.due(&what, cx);
        self.outcome(outcome, cx);
    }

    fn heard(&mut self, conn: ConnId, frame: Frame, cx: &mut Context) {
        let outcome = self.caller.heard(conn, frame, cx);
        self.outcome(outcome, cx);
    }

    fn crash(&mut self, _: Crash, _: &mut Context) {}

    fn unfinished(&self, _: &Context) -> Vec<String> {
        if self.settled { Vec::new() } else { vec!["has yet to put its jobs to rest".to_owned()] }
    }

    fn report(&self) -> String {
        format!(
            "{} jobs added or again, {} triggered, {} deleted, {} other changes, {} refused, {} with an unknown outcome",
            self.adds, self.triggers, self.deletes, self.others, self.refused, self.unknown
        )
    }
}
