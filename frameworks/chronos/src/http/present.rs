//! Jobs and runs as clients of Chronos read them.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use model::time::{Span, Time};
use serde::Serialize;
use serde_json::{Value, json};

use super::statistics::Durations;
use crate::core::book::Book;
use crate::core::job::Job;
use crate::core::run::{Run, State};
use crate::core::schedule::iso8601;
use crate::limits;
use crate::notify::{Channel, Lane, Outbox, Posted};

fn text(time: Option<Time>) -> String {
    time.map(iso8601).unwrap_or_default()
}

/// The whole object: what was posted, with the schedule from its next occurrence on, and what has become of it.
pub(super) fn job(book: &Book, job: &Job) -> Value {
    let mut document = serde_json::to_value(&*job.definition).unwrap_or_default();
    if let Some(schedule) = job.shown_schedule() {
        document["schedule"] = json!(schedule);
        document["scheduleTimeZone"] = json!(job.definition.schedule_time_zone.clone().unwrap_or_default());
    }
    let status = &job.status;
    document["successCount"] = json!(status.success_count);
    document["errorCount"] = json!(status.error_count);
    document["errorsSinceLastSuccess"] = json!(status.errors_since_last_success);
    document["lastSuccess"] = json!(text(status.last_success));
    document["lastError"] = json!(text(status.last_error));
    document["state"] = json!(current(book, job.name()));
    document["nextRun"] = json!(text(job.next_due()));
    let active = book.active_of(job.name());
    let tasks = active.iter().flat_map(|run| tasks(book, run));
    document["runningTasks"] = tasks.map(|task| json!(task)).collect();
    let waiting = active.iter().filter(|run| !run.state.has_task());
    document["reason"] = json!(waiting.map(|run| waits_for(book, run)).next().unwrap_or_default());
    document
}

/// The tasks of a run that are not over: its own, or those of its parts.
fn tasks(book: &Book, run: &Run) -> Vec<String> {
    let running = |run: &Run| run.task.as_ref().filter(|_| run.state.has_task()).map(|task| task.id.clone());
    if run.parts.is_some() {
        book.parts_of(&run.id()).filter_map(|part| running(part)).collect()
    } else {
        running(run).into_iter().collect()
    }
}

/// Why a run has no task, for a person.
fn waits_for(book: &Book, run: &Run) -> String {
    book.waits_for(&run.id()).map_or_else(|| run.reason.clone(), str::to_owned)
}

/// The next due times of a job.
pub(super) fn next_runs(job: &Job, now: Time) -> Vec<String> {
    let from = job.status.through.unwrap_or(now - Span::from_millis(1));
    let schedule = job.schedule.as_ref();
    let next = schedule.map(|schedule| schedule.next(Some(from), limits::NEXT_SHOWN));
    next.unwrap_or_default().into_iter().map(iso8601).collect()
}

/// In lists `fetch` and `uris` mirror each other.
pub(super) fn listed(book: &Book, job: &Job) -> Value {
    let mut document = self::job(book, job);
    let definition = &job.definition;
    if definition.fetch.is_empty() {
        let fetch = |uri: &String| json!({"uri": uri, "executable": false, "cache": false, "extract": true});
        document["fetch"] = definition.uris.iter().map(fetch).collect();
    } else {
        document["uris"] = definition.fetch.iter().map(|fetch| json!(fetch.uri)).collect();
    }
    document
}

/// `success`, `failure` or `fresh`.
fn last(job: &Job) -> &'static str {
    match (job.status.last_success, job.status.last_error) {
        (None, None) => "fresh",
        (Some(success), Some(error)) if success <= error => "failure",
        (None, Some(_)) => "failure",
        (Some(_), _) => "success",
    }
}

/// `idle`, `queued`, `running` or `N running`.
fn current(book: &Book, job: &str) -> String {
    let active = book.active_of(job);
    match active.iter().filter(|run| run.state.has_task()).count() {
        0 if active.is_empty() => "idle".to_owned(),
        0 => "queued".to_owned(),
        running => format!("{running} running"),
    }
}

/// One job in the list of all. Chronos swaps `status` and `state`, and its pages rely on that.
#[derive(Serialize)]
pub(super) struct Line<'a> {
    name: &'a str,
    status: &'static str,
    state: String,
    schedule: String,
    parents: Vec<&'a String>,
    disabled: bool,
}

#[derive(Serialize)]
pub(super) struct Summary<'a> {
    jobs: Vec<Line<'a>>,
}

pub(super) fn summary(book: &Book) -> Summary<'_> {
    Summary { jobs: book.jobs.values().map(|job| line(book, job)).collect() }
}

fn line<'a>(book: &Book, job: &'a Job) -> Line<'a> {
    Line {
        name: job.name(),
        status: last(job),
        state: current(book, job.name()),
        schedule: job.shown_schedule().unwrap_or_default(),
        parents: job.parents().collect(),
        disabled: job.definition.disabled,
    }
}

pub(super) fn csv(book: &Book) -> String {
    let mut lines = String::new();
    for job in book.jobs.values() {
        let _ = writeln!(lines, "node,{},{},{}", job.name(), last(job), current(book, job.name()));
    }
    for job in book.jobs.values() {
        for parent in job.parents() {
            let _ = writeln!(lines, "link,{parent},{}", job.name());
        }
    }
    lines
}

pub(super) fn dot(book: &Book) -> String {
    let mut lines = String::from("digraph G {\n");
    let numbers: BTreeMap<&str, usize> = book.jobs.keys().map(|name| &**name).zip(1..).collect();
    for (at, job) in book.jobs.values().enumerate() {
        let _ = writeln!(lines, "  {} [ label=\"{}\" ];", at + 1, job.name());
    }
    for (at, job) in book.jobs.values().enumerate() {
        for parent in job.parents() {
            if let Some(number) = numbers.get(parent.as_str()) {
                let _ = writeln!(lines, "  {number} -> {};", at + 1);
            }
        }
    }
    lines + "}\n"
}

/// The same graph with what each job does, and how its last run ended, as attributes and colours.
pub(super) fn dot_of_states(book: &Book) -> String {
    let mut lines = String::from("digraph G {\n");
    for job in book.jobs.values() {
        let (last, state) = (last(job), current(book, job.name()));
        let colour = match (state.as_str(), last) {
            _ if job.definition.disabled || job.definition.suspend => "lightgrey",
            ("idle", "success") => "palegreen",
            ("idle", "failure") => "salmon",
            ("idle", _) => "white",
            ("queued", _) => "khaki",
            _ => "lightblue",
        };
        let _ = writeln!(
            lines,
            "  \"{}\" [ state=\"{state}\" last=\"{last}\" style=\"filled\" fillcolor=\"{colour}\" ];",
            job.name()
        );
        for parent in job.parents() {
            let _ = writeln!(lines, "  \"{parent}\" -> \"{}\";", job.name());
        }
    }
    lines + "}\n"
}

pub(super) fn run(book: &Book, run: &Run) -> Value {
    let mut document = json!({
        "id": run.id().to_string(),
        "job": &*run.job,
        "due": iso8601(run.due),
        "trigger": run.trigger,
        "state": run.state.name(),
        "reason": run.reason,
        "attempt": run.attempt,
        "created": iso8601(run.created),
        "started": text(run.started),
        "finished": text(run.finished),
    });
    if run.count > 1 {
        document["count"] = json!(run.count);
        document["upTo"] = json!(text(run.up_to));
    }
    if let Some(task) = &run.task {
        document["taskId"] = json!(task.id);
        document["agentId"] = json!(task.agent);
        document["host"] = json!(task.host);
        if let Some(lost) = &task.lost {
            document["lost"] = json!(lost);
        }
    }
    if let Some(parts) = &run.parts {
        document["parts"] = json!(parts);
    }
    if !run.parameters.is_empty() {
        document["parameters"] = json!(run.parameters);
    }
    if !run.parents.is_empty() {
        document["parentRuns"] = json!(run.parents);
    }
    if !run.earlier.is_empty() {
        document["earlierAttempts"] = json!(run.earlier);
    }
    if let Some(since) = run.unreachable_since {
        document["unreachableSince"] = json!(iso8601(since));
    }
    if let Some(code) = run.exit_code {
        document["exitCode"] = json!(code);
    }
    if let Some(why) = book.waits_for(&run.id()) {
        document["waitsFor"] = json!(why);
    }
    document
}

/// A run and, of an array or a workflow, the parts of it that are on record.
pub(super) fn whole_run(book: &Book, run: &Run) -> Value {
    let mut document = self::run(book, run);
    if run.parts.is_some() {
        document["tasks"] = book.parts_of(&run.id()).map(|part| self::run(book, part)).collect();
    }
    document
}

/// Each channel that was used, and what waits, the oldest first.
pub(super) fn notifications(outbox: &Outbox) -> Value {
    let channel = |(channel, lane): (&Channel, &Lane)| {
        json!({
            "channel": channel.name(),
            "waiting": outbox.waiting_of(*channel),
            "sent": lane.counts.sent,
            "failedAttempts": lane.counts.failed,
            "givenUp": lane.counts.given_up,
            "dropped": lane.counts.dropped,
            "lastProblem": lane.problem,
            "pausedUntil": text(lane.paused_until),
        })
    };
    let waiting = |(number, posted): (&u64, &Posted)| {
        json!({
            "id": number.to_string(),
            "channel": posted.letter.channel.name(),
            "to": posted.letter.to,
            "job": posted.letter.job,
            "subject": posted.letter.subject,
            "written": iso8601(posted.written),
            "attempts": posted.attempts,
        })
    };
    json!({
        "channels": outbox.lanes.iter().map(channel).collect::<Vec<_>>(),
        "waiting": outbox.waiting.iter().map(waiting).collect::<Vec<_>>(),
    })
}

/// Durations and recent runs, the newest first, in Chronos's words and form of time.
pub(super) fn stat(book: &Book, job: &Job) -> Value {
    let shown = |run: &Run| {
        let status = match run.state {
            State::Succeeded => "Success",
            State::Failed | State::Killed => "Fail",
            State::Running | State::Launched | State::Unreachable => "Running",
            State::Waiting | State::Skipped => "Idle",
        };
        let mut entry = json!({
            "taskId": run.task.as_ref().map(|task| task.id.clone()),
            "jobName": &*run.job,
            "slaveId": run.task.as_ref().map(|task| task.agent.clone()),
            "startTime": american(run.started),
            "endTime": american(run.finished),
            "status": status,
        });
        if let (Some(started), Some(finished)) = (run.started, run.finished) {
            entry["duration"] = json!(short(finished - started));
        }
        if job.definition.data_processing_job_type {
            entry["numElementsProcessed"] = json!(run.processed);
        }
        entry
    };
    let history = book.runs_of(job.name()).rev().filter(|run| run.task.is_some()).take(STAT_RUNS);
    let history: Vec<Value> = history.map(|run| shown(run)).collect();
    json!({
        "histogram": Durations::of(book, job.name()).json(),
        "taskStatHistory": history,
        "recent": recent(book, job),
    })
}

/// How the runs that are on record ended, and since when there are any.
fn recent(book: &Book, job: &Job) -> Value {
    let ended = |state: State| book.runs_of(job.name()).filter(|run| run.state == state).count();
    let (succeeded, failed) = (ended(State::Succeeded), ended(State::Failed));
    let rate = (succeeded + failed > 0).then(|| succeeded as f64 / (succeeded + failed) as f64);
    json!({
        "since": text(book.runs_of(job.name()).next().map(|run| run.due)),
        "succeeded": succeeded,
        "failed": failed,
        "killed": ended(State::Killed),
        "skipped": book.runs_of(job.name()).filter(|run| run.state == State::Skipped).map(|run| run.count).sum::<u64>(),
        "successRate": rate,
    })
}

/// Runs told of in the statistics of a job; all that are kept are in its list of runs.
const STAT_RUNS: usize = 5;

/// `MM/dd/yy HH:mm:ss`.
fn american(time: Option<Time>) -> String {
    let Some(time) = time else { return "N/A".to_owned() };
    let text = iso8601(time);
    format!("{}/{}/{} {}", &text[5..7], &text[8..10], &text[2..4], &text[11..19])
}

/// `1d2h3m4s`.
fn short(span: Span) -> String {
    let seconds = span.as_millis() / 1000;
    let parts =
        [(seconds / 86_400, 'd'), (seconds / 3600 % 24, 'h'), (seconds / 60 % 60, 'm'), (seconds % 60, 's')];
    let text: String = parts
        .iter()
        .filter(|(number, _)| *number > 0)
        .map(|(number, unit)| format!("{number}{unit}"))
        .collect();
    if text.is_empty() { "0s".to_owned() } else { text }
}
