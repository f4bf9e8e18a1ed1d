//! Which request is which question.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::response::Response;
use http::header::{ACCEPT, ETAG, HeaderValue};
use http::request::Parts;
use http::{Method, StatusCode};
use model::time::Time;
use sdk::leadership::Standing;
use sdk::step::Step;
use serde_json::{Value, json};

use super::metrics::Seen;
use super::precondition::Precondition;
use super::respond::{Answered, Problem, RUN_ID, TEXT, done, json, text, with_type};
use super::statistics::Durations;
use super::{Api, Call, logs, metrics, precondition, present, turns};
use crate::core::book::Book;
use crate::core::definition::Definition;
use crate::core::job::Job;
use crate::core::message::{Command, Counters, Orphans, Reply};
use crate::core::refusal::Refusal;
use crate::core::run::{Run, RunId};
use crate::core::schedule::{iso8601, parse_time};
use crate::driver::{self, Batch};
use crate::limits;

/// What every instance answers by itself.
pub(super) async fn local(api: &Api, parts: &Parts, path: &[&str]) -> Option<Answered> {
    if parts.method != Method::GET {
        return None;
    }
    Some(match path {
        ["ping"] => text("pong".to_owned()),
        ["health"] => match api.standing() {
            Standing::Following { leader: None } => {
                Err(Problem::Unavailable("no instance leads at present".to_owned()))
            }
            _ => text("ok".to_owned()),
        },
        ["version"] => json(&json!({"name": "chronos", "version": env!("CARGO_PKG_VERSION")})),
        ["leader"] | ["scheduler", "leader"] | ["v1", "scheduler", "leader"] => leader(api),
        ["metrics"] if wants_text(parts) => figures(api).await,
        _ => return None,
    })
}

fn leader(api: &Api) -> Answered {
    let leader = match api.standing() {
        Standing::Leading(_) => api.0.advertise.clone(),
        Standing::Following { leader } => leader.unwrap_or_default(),
    };
    json(&json!({"leader": leader}))
}

/// Prometheus names the forms it reads; clients of Chronos say nothing, and read its JSON.
fn wants_text(parts: &Parts) -> bool {
    let accept = parts.headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    accept.contains("text/plain") || accept.contains("openmetrics")
}

/// Each instance's own, as whoever collects them asks each.
async fn figures(api: &Api) -> Answered {
    let leading = matches!(api.standing(), Standing::Leading(_));
    let ask = api.ask(|batch, _| Seen {
        book: batch.book(),
        queued: batch.queued(),
        considered: batch.considered(),
        outbox: batch.outbox(),
    });
    let seen = if leading { ask.await.ok() } else { None };
    Ok(with_type(StatusCode::OK, TEXT, api.0.metrics.text(seen.as_ref())))
}

/// What the leader answers; the path begins below the prefix.
pub(super) async fn route(api: &Api, call: &Call) -> Answered {
    let path: Vec<&str> = call.path.iter().map(String::as_str).collect();
    match (call.method().as_str(), &path[..]) {
        ("POST" | "PUT", ["iso8601"]) => put(api, call, Kind::Scheduled).await,
        ("POST" | "PUT", ["dependency"]) => put(api, call, Kind::Dependent).await,
        ("GET", ["jobs"]) => {
            let (limit, offset) = (call.number("limit", limits::JOBS)?, call.number("offset", 0)?);
            let book = api.book().await?;
            all(move || {
                let jobs = book.jobs.values().skip(offset).take(limit);
                json(&jobs.map(|job| present::listed(&book, job)).collect::<Vec<_>>())
            })
            .await
        }
        ("GET", ["jobs", "summary"]) => {
            let book = api.book().await?;
            all(move || json(&present::summary(&book))).await
        }
        ("GET", ["jobs", "search"]) => search(api, call).await,
        ("GET", ["job", name]) => {
            let book = api.book().await?;
            let job = known(&book, name)?;
            let mut document = present::job(&book, &job);
            document["nextRuns"] = json!(present::next_runs(&job, driver::now()));
            let mut response = json(&document)?;
            tagged(&mut response, &job);
            Ok(response)
        }
        ("PUT", ["job", name]) => trigger(api, call, name).await,
        ("DELETE", ["job", name]) => {
            let orphans = orphans(call.query.get("orphans").map(String::as_str))?;
            let delete = Command::Delete { job: (*name).to_owned(), orphans };
            change(api, call, name, delete).await?;
            Ok(done())
        }
        ("PUT", ["job", "success", name]) => succeed(api, name).await,
        ("PUT", ["job", name, "suspend"]) => {
            api.command(Command::Suspend { job: (*name).to_owned() }).await?;
            Ok(done())
        }
        ("PUT", ["job", name, "resume"]) => {
            api.command(Command::Resume { job: (*name).to_owned() }).await?;
            Ok(done())
        }
        ("POST", ["job", name, "dispatch"]) => dispatch(api, call, name).await,
        ("GET", ["job", "stat", name]) => {
            let book = api.book().await?;
            json(&present::stat(&book, &*known(&book, name)?))
        }
        ("GET", ["job", name, "runs"]) => runs(api, call, name).await,
        ("GET", ["job", name, "history"]) => turns::history(api, call, name).await,
        ("GET", ["queues"]) => turns::queues(api).await,
        ("PUT", ["queues", name]) => turns::put_queue(api, call, name).await,
        ("DELETE", ["queues", name]) => turns::delete_queue(api, name).await,
        ("POST", ["job", name, "task", task, "progress"]) => progress(api, call, name, task).await,
        ("GET", ["runs", id, "logs"]) => logs::logs(api, call, id).await,
        ("GET", ["runs"]) => timeline(api, call).await,
        ("GET", ["runs", id]) => {
            let book = api.book().await?;
            let run = RunId::parse(id).and_then(|id| book.run(&id).cloned());
            json(&present::whole_run(&book, &*run.ok_or_else(|| unknown_run(id))?))
        }
        ("DELETE", ["runs", id]) => {
            let run = RunId::parse(id).ok_or_else(|| unknown_run(id))?;
            api.command(Command::KillRun { run }).await?;
            Ok(done())
        }
        ("POST", ["runs", id, "retry"]) => retry(api, id).await,
        ("GET", ["stats", figure]) => {
            let (book, figure) = (api.book().await?, (*figure).to_owned());
            all(move || stats(&book, &figure)).await
        }
        ("GET", ["metrics"]) => {
            let (book, queued) = api.ask(|batch, _| (batch.book(), batch.queued())).await?;
            all(move || json(&metrics::json(&book, queued))).await
        }
        ("GET", ["notifications"]) => {
            let outbox = api.ask(|batch, _| batch.outbox()).await?;
            json(&present::notifications(&outbox))
        }
        ("GET", ["graph", "dot"]) => {
            let book = api.book().await?;
            let states = call.has("states");
            all(move || text(if states { present::dot_of_states(&book) } else { present::dot(&book) })).await
        }
        ("GET", ["graph", "csv"]) => {
            let book = api.book().await?;
            all(move || text(present::csv(&book))).await
        }
        ("DELETE", ["task", "kill", name]) => {
            api.command(Command::KillTasks { job: (*name).to_owned() }).await?;
            Ok(done())
        }
        ("DELETE", ["task", "all"]) => {
            api.command(Command::Purge).await?;
            Ok(done())
        }
        _ => Err(Problem::Status(StatusCode::NOT_FOUND)),
    }
}

/// What goes over all jobs, which may be a hundred thousand: on a thread of its own, not on one that others wait for.
async fn all(answer: impl FnOnce() -> Answered + Send + 'static) -> Answered {
    let answered = tokio::task::spawn_blocking(answer).await;
    answered
        .unwrap_or_else(|failed| Err(Problem::Unavailable(format!("the answer could not be made: {failed}"))))
}

fn unknown_run(id: &str) -> Problem {
    Problem::Refused(Refusal::UnknownRun(id.to_owned()))
}

fn known(book: &Book, name: &str) -> Result<Arc<Job>, Problem> {
    book.job(name).cloned().ok_or_else(|| Problem::Refused(Refusal::UnknownJob(name.to_owned())))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Scheduled,
    Dependent,
}

async fn put(api: &Api, call: &Call, kind: Kind) -> Answered {
    let document = call.json()?;
    let number = |name: &str| document.get(name).and_then(Value::as_u64);
    let counters = Counters {
        successes: number("successCount"),
        errors: number("errorCount"),
        errors_since_last_success: number("errorsSinceLastSuccess"),
    };
    let definition = Definition::read(document).map_err(Problem::Refused)?;
    definition.check_command().map_err(Problem::Refused)?;
    let refused = |field: &str, rule: &str| Err(Problem::Refused(Refusal::field(field, rule)));
    match kind {
        Kind::Scheduled if definition.parents.is_some() && definition.schedule.is_none() => {
            return refused("parents", "belong to a dependent job, which has another path");
        }
        Kind::Dependent if definition.parents.is_none() => {
            return refused("parents", "must name at least one job");
        }
        _ => {}
    }
    if call.has("dryRun") {
        let job = api.ask(move |batch, _| batch.check(definition)).await?.map_err(Problem::Refused)?;
        let next = present::next_runs(&job, driver::now());
        return json(&json!({"name": job.name(), "schedule": job.shown_schedule(), "next": next}));
    }
    let name = definition.name.clone();
    let job = change(api, call, &name, Command::Put { definition: Box::new(definition), counters }).await?;
    let mut response = done();
    if let Some(job) = job {
        tagged(&mut response, &job);
    }
    Ok(response)
}

/// Changes a job if it is what the client takes it for, and says what it is now.
async fn change(api: &Api, call: &Call, name: &str, command: Command) -> Result<Option<Arc<Job>>, Problem> {
    let (wanted, name) = (Precondition::of(&call.parts.headers), name.to_owned());
    let change = move |batch: &mut Batch, step: &mut Step| {
        wanted.check(&name, batch.book().job(&name).map(|job| &**job)).map_err(Problem::Changed)?;
        batch.command(command, step).map_err(Problem::Refused)?;
        Ok(batch.book().job(&name).cloned())
    };
    api.ask(change).await?
}

fn tagged(response: &mut Response, job: &Job) {
    if let Ok(tag) = HeaderValue::from_str(&precondition::tag(job)) {
        response.headers_mut().insert(ETAG, tag);
    }
}

async fn trigger(api: &Api, call: &Call, name: &str) -> Answered {
    let arguments = call.query.get("arguments").cloned();
    let reply = api.command(Command::Trigger { job: name.to_owned(), arguments }).await?;
    let Reply::Run(id) = reply else { return Ok(done()) };
    let mut response = if call.has("detail") {
        let book = api.book().await?;
        match book.runs.get(&id) {
            Some(run) => json(&present::run(&book, run))?,
            None => done(),
        }
    } else {
        done()
    };
    name_run(&mut response, &id);
    Ok(response)
}

/// What a manual run may be given besides arguments.
#[derive(Default, serde::Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Dispatch {
    arguments: Option<String>,
    /// Variables of its environment.
    #[serde(alias = "meta")]
    parameters: BTreeMap<String, String>,
    /// A request that is repeated with it makes no second run.
    idempotency_token: String,
}

async fn dispatch(api: &Api, call: &Call, name: &str) -> Answered {
    let document = if call.body.is_empty() { json!({}) } else { call.json()? };
    let wanted: Dispatch = serde_path_to_error::deserialize(document).map_err(|error| {
        let path = error.path().to_string();
        Problem::Refused(Refusal::field(if path == "." { "body" } else { &path }, error.inner().to_string()))
    })?;
    let Dispatch { arguments, parameters, idempotency_token: token } = wanted;
    let reply = api.command(Command::Dispatch { job: name.to_owned(), arguments, parameters, token }).await?;
    told(api, reply).await
}

async fn retry(api: &Api, id: &str) -> Answered {
    let run = RunId::parse(id).ok_or_else(|| unknown_run(id))?;
    let reply = api.command(Command::RetryRun { run }).await?;
    told(api, reply).await
}

/// The run that a request has led to.
async fn told(api: &Api, reply: Reply) -> Answered {
    let Reply::Run(id) = reply else { return Ok(done()) };
    let book = api.book().await?;
    let mut response = match book.runs.get(&id) {
        Some(run) => json(&present::run(&book, run))?,
        None => done(),
    };
    name_run(&mut response, &id);
    Ok(response)
}

fn name_run(response: &mut Response, id: &RunId) {
    if let Ok(value) = HeaderValue::from_str(&id.to_string()) {
        response.headers_mut().insert(RUN_ID, value);
    }
}

async fn succeed(api: &Api, name: &str) -> Answered {
    let reply = api.command(Command::Succeed { job: name.to_owned() }).await?;
    text(format!("marked job {name} as successful: {}", reply == Reply::Marked(true)))
}

/// Name or command contain the words; `any` means either. The case does not matter.
async fn search(api: &Api, call: &Call) -> Answered {
    let (limit, offset) = (call.number("limit", 10)?, call.number("offset", 0)?);
    let term =
        |name: &str| call.query.get(name).map(|text| text.to_lowercase()).filter(|text| !text.is_empty());
    let (name, command, any) = (term("name"), term("command"), term("any"));
    let book = api.book().await?;
    let fits = |job: &Arc<Job>| {
        let (named, ordered) = (job.name().to_lowercase(), job.definition.command.to_lowercase());
        name.as_ref().is_none_or(|name| named.contains(name))
            && command.as_ref().is_none_or(|command| ordered.contains(command))
            && any.as_ref().is_none_or(|any| named.contains(any) || ordered.contains(any))
    };
    let found = book.jobs.values().filter(|job| fits(job)).skip(offset).take(limit);
    json(&found.map(|job| present::job(&book, job)).collect::<Vec<_>>())
}

async fn runs(api: &Api, call: &Call, name: &str) -> Answered {
    let limit = call.number("limit", limits::HISTORY)?;
    let state = call.query.get("state");
    let book = api.book().await?;
    known(&book, name)?;
    let runs = book.runs_of(name).rev().filter(|run| state.is_none_or(|state| run.state.name() == state));
    json(&runs.take(limit).map(|run| present::run(&book, run)).collect::<Vec<_>>())
}

/// Runs of all jobs that touch a stretch of time, in order of their due times: `?from=` and `&to=`.
async fn timeline(api: &Api, call: &Call) -> Answered {
    let time = |name: &str, otherwise: Time| match call.query.get(name) {
        None => Ok(otherwise),
        Some(text) => parse_time(text).ok_or_else(|| {
            Problem::Refused(Refusal::field(name, "must be a time like 2026-11-21T06:30:00Z"))
        }),
    };
    let now = driver::now();
    let until = time("to", now)?;
    let from = time("from", until - limits::TIMELINE)?;
    let limit = call.number("limit", limits::TIMELINE_RUNS)?.min(limits::TIMELINE_RUNS);
    let book = api.book().await?;
    all(move || {
        let touches = |run: &&Arc<Run>| {
            let last = run.finished.or(run.up_to).unwrap_or(if run.state.is_over() { run.due } else { now });
            run.due < until && from <= last.max(run.due)
        };
        let mut runs: Vec<&Arc<Run>> = book.runs.values().filter(touches).collect();
        runs.sort_by_key(|run| (run.due, &run.job));
        let more = runs.len() > limit;
        runs.truncate(limit);
        let runs: Vec<Value> = runs.into_iter().map(|run| present::run(&book, run)).collect();
        json(&json!({"from": iso8601(from), "to": iso8601(until), "runs": runs, "more": more}))
    })
    .await
}

async fn progress(api: &Api, call: &Call, name: &str, task: &str) -> Answered {
    let document = call.json()?;
    let processed = document.get("numAdditionalElementsProcessed").and_then(Value::as_u64);
    let processed = processed.ok_or_else(|| {
        let rule = "must be a whole number that is not negative";
        Problem::Refused(Refusal::field("numAdditionalElementsProcessed", rule))
    })?;
    api.command(Command::Progress { job: name.to_owned(), task: task.to_owned(), processed }).await?;
    Ok(done())
}

/// All jobs by how long they take, the longest first, in seconds.
fn stats(book: &Book, figure: &str) -> Answered {
    let time = |job: &Arc<Job>| Some((Durations::of(book, job.name()).named(figure)?, job.name().to_owned()));
    let mut times: Vec<(u64, String)> = book.jobs.values().filter_map(time).collect();
    times.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    let line = |(millis, name): (u64, String)| json!({"jobNameLabel": name, "time": millis as f64 / 1000.0});
    json(&times.into_iter().map(line).collect::<Vec<_>>())
}

fn orphans(text: Option<&str>) -> Result<Orphans, Problem> {
    Ok(match text {
        None | Some("" | "schedule") => Orphans::Schedule,
        Some("disable") => Orphans::Disable,
        Some("delete") => Orphans::Delete,
        Some("refuse") => Orphans::Refuse,
        Some(other) => {
            let rule = format!("'{other}' must be schedule, disable, delete or refuse");
            return Err(Problem::Refused(Refusal::field("orphans", rule)));
        }
    })
}
