//! A day of 100,000 jobs in the scheduler's core: how long after its due time each run is launched.
//!
//! The clock is virtual; the processor time that each step takes on this machine is measured and added to it, so a step that
//! keeps the core busy makes later ones late, and other programs on the machine do not. Storing a step and getting offers after asking for them take what `STORED` and `OFFERED`
//! say. Agents have room for all.

use std::collections::BTreeMap;
use std::time::Duration;

use bench_batch::job;
use bench_cluster::series::Series;
use chronos::core::definition::Definition;
use chronos::core::message::{Command, Counters, Effect, Input, TaskUpdate};
use chronos::core::scheduler::{Scheduler, Settings};
use model::attributes::Attributes;
use model::resources::Bag;
use model::task::TaskState;
use model::time::{Span, Time};
use sdk::TaskId;
use sdk::offer::Offer;
use serde_json::json;

/// 2026-01-01T00:00:00Z.
const MIDNIGHT: Time = Time::from_secs(1_767_225_600);
const DAY: u64 = 86_400;
const JOBS: u64 = 100_000;
/// Agents that are offered together, each with room for a thousand tasks at once.
const AGENTS: u64 = 10;
/// From the end of a step to its calls being sent, in microseconds: a majority of masters has synced it.
const STORED: u64 = 10_000;
/// From asking for offers to their arrival, in microseconds.
const OFFERED: u64 = 10_000;
/// How long each task runs, in microseconds.
const RUNS: u64 = 20_000_000;

/// What comes to the scheduler.
enum Event {
    Offers,
    Ended(TaskId),
}

struct Day {
    scheduler: Scheduler,
    /// By their time, in microseconds since midnight, and their number.
    events: BTreeMap<(u64, u64), Event>,
    number: u64,
    /// The core is busy until then.
    free_at: u64,
    asked: bool,
    lags: Vec<Duration>,
    steps: Vec<Duration>,
}

/// Of this thread, so far.
fn processor_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a value of ours that outlives the call.
    let failed = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    assert_eq!(failed, 0, "the kernel has this clock");
    let part = |number: i64| u64::try_from(number).unwrap_or(0);
    Duration::from_secs(part(time.tv_sec)) + Duration::from_nanos(part(time.tv_nsec))
}

fn virtual_time(micros: u64) -> Time {
    MIDNIGHT + Span::from_millis(micros / 1000)
}

impl Day {
    fn new(schedule: impl Fn(u64) -> String) -> Self {
        let mut scheduler = Scheduler::new(Settings::default());
        let mut out = Vec::new();
        // The evening before: the first due time of each is ahead.
        let now = MIDNIGHT - Span::from_secs(60);
        scheduler.handle(now, Input::Elected(Vec::new()), &mut out);
        for i in 0..JOBS {
            let document = job(&format!("job-{i:06}"), &schedule(i));
            let definition = Box::new(Definition::read(document).expect("a job"));
            let put = Command::Put { definition, counters: Counters::default() };
            scheduler.command(now, put, &mut out).expect("accepted");
            out.clear();
        }
        Self {
            scheduler,
            events: BTreeMap::new(),
            number: 0,
            free_at: 0,
            asked: false,
            lags: Vec::new(),
            steps: Vec::new(),
        }
    }

    fn at(&mut self, time: u64, event: Event) {
        self.number += 1;
        self.events.insert((time, self.number), event);
    }

    fn run(mut self) -> Self {
        loop {
            let due = self.scheduler.next_deadline().map(|at| (at - MIDNIGHT).as_millis() * 1000);
            let first = self.events.first_key_value().map(|((time, _), _)| *time);
            let wake = due.is_some_and(|due| first.is_none_or(|first| due <= first));
            let Some(time) = (if wake { due } else { first }) else { return self };
            let started = time.max(self.free_at);
            if started >= DAY * 1_000_000 {
                return self;
            }
            let inputs = if wake {
                vec![Input::Wake]
            } else {
                match self.events.pop_first().map(|(_, event)| event) {
                    Some(Event::Offers) => {
                        self.asked = false;
                        vec![Input::Offers((0..AGENTS).map(offer).collect())]
                    }
                    Some(Event::Ended(task)) => ends(&task),
                    None => return self,
                }
            };
            for input in inputs {
                self.step(started.max(self.free_at), input);
            }
        }
    }

    fn step(&mut self, started: u64, input: Input) {
        let mut out = Vec::new();
        let before = processor_time();
        self.scheduler.handle(virtual_time(started), input, &mut out);
        let took = processor_time() - before;
        self.steps.push(took);
        self.free_at = started + u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let done = self.free_at + STORED;
        let mut revived = false;
        for effect in out {
            match effect {
                Effect::Launch { launches, .. } => {
                    for launch in launches {
                        let due: u64 = launch
                            .task
                            .as_str()
                            .split(':')
                            .nth(1)
                            .and_then(|due| due.parse().ok())
                            .expect("a due time");
                        let due = (due - MIDNIGHT.as_millis()) * 1000;
                        self.lags.push(Duration::from_micros(done.saturating_sub(due)));
                        self.at(done + RUNS, Event::Ended(launch.task));
                    }
                }
                Effect::Revive => revived = true,
                _ => {}
            }
        }
        // The kit asks by itself when the first run is queued.
        if (revived || self.scheduler.wants_offers()) && !self.asked {
            self.asked = true;
            self.at(done + OFFERED, Event::Offers);
        }
    }
}

fn offer(agent: u64) -> Offer {
    Offer {
        id: format!("O{agent}").as_str().into(),
        agent: format!("S{agent}").as_str().into(),
        hostname: format!("host{agent}"),
        role: "*".parse().expect("a role"),
        resources: Bag::parse("cpus:100;mem:64000;disk:1000").expect("resources"),
        attributes: Attributes::parse("rack:a").expect("attributes"),
        domain: None,
    }
}

fn ends(task: &TaskId) -> Vec<Input> {
    let update = |state| {
        let (task, message) = (task.clone(), String::new());
        Input::Update(TaskUpdate { task, agent: None, state, message })
    };
    vec![update(TaskState::Running), update(TaskState::Finished)]
}

fn clock(second: u64) -> String {
    format!("R/2026-01-01T{:02}:{:02}:{:02}Z/P1D", second / 3600, second / 60 % 60, second % 60)
}

fn main() {
    // 86,311 and the day's seconds have no common factor: the jobs are spread evenly and without order.
    report("batch_day_spread", Day::new(|i| clock(i * 86_311 % DAY)).run());
    // As people write schedules: all of them at the full hour.
    report("batch_day_on_the_hour", Day::new(|i| clock(i % 24 * 3600)).run());
}

fn report(line: &str, day: Day) {
    assert_eq!(day.lags.len() as u64, JOBS, "every job is launched once");
    let (lags, steps) = (Series::new(day.lags), Series::new(day.steps));
    let round = |value: f64| (value * 1000.0).round() / 1000.0;
    println!(
        "{}",
        json!({ "bench": line, "jobs": JOBS, "lag_p50_ms": round(lags.percentile(50)), "lag_p99_ms": round(lags.percentile(99)),
            "lag_max_ms": round(lags.percentile(100)), "step_p50_ms": round(steps.percentile(50)),
            "step_p99_ms": round(steps.percentile(99)), "step_max_ms": round(steps.percentile(100)) })
    );
}
