//! Did it run then, and if not, why? What became of each due time in a stretch of time.

use std::sync::Arc;

use model::time::{Span, Time};
use serde::Serialize;

use super::book::Book;
use super::job::Job;
use super::millis;
use super::refusal::Refusal;
use super::run::{Run, RunId};
use super::schedule::{Zone, iso8601, stretch};
use crate::limits;

/// One due time, or several that had one outcome.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    #[serde(with = "millis")]
    pub due: Time,
    /// The last of them.
    #[serde(with = "millis::optional", skip_serializing_if = "Option::is_none")]
    pub up_to: Option<Time>,
    /// The state of the run; `scheduled` when it is still to come, `unknown` when no record of it is left.
    pub state: &'static str,
    /// Why, for a person.
    pub reason: String,
    /// The run's id, where there is a record.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
}

/// What became of a job between two times, the second excluded; and when that is nothing, why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Account {
    pub answers: Vec<Answer>,
    /// Why there is no answer, or no more of them.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub note: String,
}

/// Every run and every due time of a job from `from` to before `until`, in order. `None`: there is no such job.
pub fn account(book: &Book, name: &str, from: Time, until: Time) -> Option<Account> {
    let job = book.job(name)?;
    let within = |run: &&Arc<Run>| run.due < until && from <= run.up_to.unwrap_or(run.due);
    let mut answers: Vec<Answer> = book.runs_of(name).filter(within).map(|run| of_run(book, run)).collect();
    let covered = |due: Time| {
        answers.iter().any(|answer| answer.due <= due && due <= answer.up_to.unwrap_or(answer.due))
    };
    let unrun: Vec<Time> = due_times(job, from, until).filter(|due| !covered(*due)).collect();
    let more = unrun.len() > limits::ANSWERS;
    answers.extend(unrun.into_iter().take(limits::ANSWERS).map(|due| without_run(job, due)));
    answers.sort_by_key(|answer| answer.due);
    let note = match (answers.is_empty(), more) {
        (true, _) => nothing(job, from, until),
        (_, true) => {
            format!("more than {} due times without a record: ask for a shorter time", limits::ANSWERS)
        }
        _ => String::new(),
    };
    Some(Account { answers, note })
}

/// The same for a date in the zone of the job's schedule, or for a time.
///
/// # Errors
/// There is no such job, or the text is neither a date nor a time.
pub fn account_on(book: &Book, name: &str, on: &str) -> Result<Account, Refusal> {
    let unknown = || Refusal::UnknownJob(name.to_owned());
    let job = book.job(name).ok_or_else(unknown)?;
    let zone = job.schedule.as_ref().map_or_else(Zone::utc, |schedule| schedule.zone().clone());
    let rule = "must be a date like 2026-11-21 or a time like 2026-11-21T06:30:00Z";
    let (from, until) = stretch(on, &zone).ok_or_else(|| Refusal::field("on", rule))?;
    account(book, name, from, until).ok_or_else(unknown)
}

fn due_times(job: &Job, from: Time, until: Time) -> impl Iterator<Item = Time> {
    let before = (from > Time::ZERO).then(|| from - Span::from_millis(1));
    let schedule = job.schedule.clone();
    let next = move |after: Option<Time>| schedule.as_ref()?.next_after(after).filter(|due| *due < until);
    std::iter::successors(next(before), move |due| next(Some(*due)))
        .take(limits::ANSWERS + limits::HISTORY_LONGEST)
}

fn of_run(book: &Book, run: &Run) -> Answer {
    let reason = match book.waits_for(&run.id()) {
        Some(why) => why.to_owned(),
        None => run.reason.clone(),
    };
    Answer {
        due: run.due,
        up_to: run.up_to,
        state: run.state.name(),
        reason,
        run: Some(run.id().to_string()),
    }
}

fn without_run(job: &Job, due: Time) -> Answer {
    let past = job.status.through.is_some_and(|through| due <= through);
    let (state, reason) = if past {
        let kept = format!(
            "no record: the last {} runs are kept, and nothing from before the job was posted",
            job.history_limit()
        );
        ("unknown", kept)
    } else if job.definition.disabled {
        ("scheduled", "the job is disabled: it will be skipped".to_owned())
    } else if job.definition.suspend {
        ("scheduled", "the job is suspended: made up for on its resumption, as its catchup says".to_owned())
    } else {
        ("scheduled", String::new())
    };
    Answer { due, up_to: None, state, reason, run: None }
}

/// Why a job had nothing to do.
fn nothing(job: &Job, from: Time, until: Time) -> String {
    let Some(schedule) = &job.schedule else {
        let ready = |parent: &&String| !job.status.ready.contains_key(*parent);
        let open: Vec<&str> = job.parents().filter(ready).map(String::as_str).collect();
        return format!("it runs after other jobs, and waits for: {}", open.join(", "));
    };
    match schedule.next_after(Some(until - Span::from_millis(1))) {
        Some(next) => format!("not due then: after {} it is due at {}", iso8601(from), iso8601(next)),
        None => "not due then: its schedule has ended before".to_owned(),
    }
}

impl Book {
    /// What became of one due time.
    pub fn outcome(&self, id: &RunId) -> Option<Answer> {
        let account = account(self, &id.job, id.due, id.due + Span::from_millis(1))?;
        account.answers.into_iter().next()
    }
}
