//! What a run has written: `runs/ID/logs`.

use serde_json::json;

use super::respond::{Answered, Problem, json};
use super::{Api, Call};
use crate::core::book::Book;
use crate::core::refusal::Refusal;
use crate::core::run::{self, Run, RunId};
use crate::limits;

/// Where the output of one attempt is.
#[derive(Debug, PartialEq, Eq)]
struct Output {
    attempt: u32,
    task: String,
    agent: String,
    /// The sandbox's name on its agent.
    sandbox: String,
}

/// `?file=stdout|stderr&offset=&length=&tail=&attempt=`: a piece of the output, and where the next begins.
pub(super) async fn logs(api: &Api, call: &Call, id: &str) -> Answered {
    let file = call.query.get("file").map_or("stdout", String::as_str);
    if !["stdout", "stderr"].contains(&file) {
        return Err(Problem::Refused(Refusal::field("file", format!("'{file}' must be stdout or stderr"))));
    }
    let number = |name: &str, otherwise: usize| Ok::<u64, Problem>(call.number(name, otherwise)? as u64);
    let length = number("length", limits::LOG_BYTES)?.min(limits::LOG_BYTES as u64);
    let attempt = call.query.contains_key("attempt").then(|| number("attempt", 0)).transpose()?;
    let tail = call.query.contains_key("tail").then(|| number("tail", 0)).transpose()?;
    let mut offset = number("offset", 0)?;
    let (book, framework) = api.ask(|batch, _| (batch.book(), batch.framework())).await?;
    let output = output(&book, id, attempt).map_err(Problem::Refused)?;
    let framework =
        framework.ok_or_else(|| Problem::Unavailable("no master has taken this scheduler yet".to_owned()))?;
    let sandboxes = &api.0.sandboxes;
    let told = |problem| of_task(problem, file, &output.task);
    let agent = sandboxes.address(&output.agent).await.map_err(told)?;
    let path = format!("/sandboxes/{framework}/{}/{file}", output.sandbox);
    if let Some(tail) = tail {
        let size = sandboxes.read(&agent, &path, 0, 0).await.map_err(told)?.size;
        offset = size.saturating_sub(tail);
    }
    let piece = sandboxes.read(&agent, &path, offset, length).await.map_err(told)?;
    let (text, taken) = text(&piece.data);
    json(&json!({
        "run": id,
        "attempt": output.attempt,
        "taskId": output.task,
        "agentId": output.agent,
        "file": file,
        "offset": offset,
        "next": offset + taken as u64,
        "size": piece.size,
        "data": text,
    }))
}

fn of_task(problem: Problem, file: &str, task: &str) -> Problem {
    let said = |why: String| format!("{file} of task {task}: {why}");
    match problem {
        Problem::Gone(why) => Problem::Gone(said(why)),
        Problem::BadGateway(why) => Problem::BadGateway(said(why)),
        other => other,
    }
}

/// The attempt that is asked for, or the last that has a task.
fn output(book: &Book, id: &str, attempt: Option<u64>) -> Result<Output, Refusal> {
    let run = RunId::parse(id).and_then(|id| book.run(&id).cloned());
    let run = run.ok_or_else(|| Refusal::UnknownRun(id.to_owned()))?;
    if run.parts.is_some() {
        return Err(Refusal::field("run", format!("'{id}' is of many tasks: one is '{id}.NUMBER'")));
    }
    let mut tasks = tasks(&run);
    let chosen = match attempt {
        None => tasks.next_back(),
        Some(wanted) => tasks.rfind(|(number, ..)| u64::from(*number) == wanted),
    };
    let Some((attempt, task, agent)) = chosen else {
        let state = run.state.name();
        return Err(match attempt {
            None => Refusal::field("run", format!("'{id}' has no task yet, it is {state}")),
            Some(wanted) => Refusal::field(
                "attempt",
                format!("{wanted} of run '{id}' is not on record, which is {state}"),
            ),
        });
    };
    let job = book.job(&run.job).map(|job| job.work(run.part).definition);
    // A task without an executor of its own has a sandbox of its own name.
    let sandbox = job.filter(|definition| !definition.executor.is_empty()).map(|own| own.name.clone());
    let (task, agent) = (task.to_owned(), agent.to_owned());
    Ok(Output { attempt, sandbox: sandbox.unwrap_or_else(|| task.clone()), task, agent })
}

/// The attempts that are on record, the first first: number, task, agent.
fn tasks(run: &Run) -> impl DoubleEndedIterator<Item = (u32, &str, &str)> {
    let earlier = run.earlier.iter().map(|attempt| (attempt.task.as_str(), attempt.agent.as_str()));
    let last = run.task.iter().map(|task| (task.id.as_str(), task.agent.as_str()));
    earlier.chain(last).filter_map(|(task, agent)| Some((run::of_task(task)?.1, task, agent)))
}

/// Bytes as text, and how many of them: a character that is cut in two is left for the next piece.
fn text(bytes: &[u8]) -> (String, usize) {
    let cut = match std::str::from_utf8(bytes) {
        Err(error) if error.error_len().is_none() && error.valid_up_to() > 0 => error.valid_up_to(),
        // What is valid up to a foreign byte may still end with half a character.
        _ => bytes.len() - half_a_character(bytes),
    };
    (String::from_utf8_lossy(&bytes[..cut]).into_owned(), cut)
}

/// Bytes at the end that begin a character which goes on.
fn half_a_character(bytes: &[u8]) -> usize {
    let last = bytes.len().saturating_sub(3);
    let halves = |at: &usize| {
        std::str::from_utf8(&bytes[*at..])
            .is_err_and(|error| error.valid_up_to() == 0 && error.error_len().is_none())
    };
    // A piece of nothing else would never come to an end.
    (last.max(1)..bytes.len()).find(halves).map_or(0, |at| bytes.len() - at)
}

#[cfg(test)]
mod tests {
    use model::time::Time;
    use proptest::prelude::*;

    use super::*;
    use crate::core::job::Job;
    use crate::core::run::{Attempt, Task, Trigger};

    fn task(id: &str) -> Task {
        let name = |text: &str| text.to_owned();
        let (agent, host, offer) = (name("S2"), name("host"), name("O"));
        Task { queue: "q".into(), cost: 1, id: id.to_owned(), agent, host, offer, lost: None }
    }

    fn book(definition: serde_json::Value) -> (Book, Run) {
        let definition = serde_json::from_value(definition).expect("a definition");
        let mut book = Book::default();
        book.put_job(Job::admit(Time::from_secs(1), definition).expect("a job"));
        (book, Run::new(Time::ZERO, RunId::new("a", Time::from_secs(1)), Trigger::Manual))
    }

    #[test]
    fn an_attempt_is_found_by_its_number_and_the_last_without() {
        let (mut book, mut run) = book(json!({"name": "a"}));
        let refused = |book: &Book, attempt| output(book, "a@1000", attempt).expect_err("none").to_string();
        book.put_run(run.clone());
        assert_eq!(refused(&book, None), "run 'a@1000' has no task yet, it is waiting");
        let (task_of, agent) = ("ct:1000:0:a:".to_owned(), "S1".to_owned());
        run.earlier.push(Attempt {
            task: task_of,
            agent,
            exit_code: None,
            reason: String::new(),
            lost: None,
        });
        run.task = Some(task("ct:1000:1:a:"));
        book.put_run(run);
        let named = |attempt| {
            output(&book, "a@1000", attempt).map(|found| (found.attempt, found.sandbox, found.agent))
        };
        let first = (0, "ct:1000:0:a:".to_owned(), "S1".to_owned());
        let second = (1, "ct:1000:1:a:".to_owned(), "S2".to_owned());
        assert_eq!(named(None), Ok(second.clone()));
        assert_eq!(named(Some(0)), Ok(first));
        assert_eq!(named(Some(1)), Ok(second));
        assert_eq!(refused(&book, Some(2)), "attempt 2 of run 'a@1000' is not on record, which is waiting");
        let unknown = output(&book, "b@1000", None).expect_err("unknown").to_string();
        assert_eq!(unknown, Refusal::UnknownRun("b@1000".to_owned()).to_string());
    }

    #[test]
    fn a_run_of_many_tasks_says_how_one_is_named_and_an_executor_has_one_sandbox() {
        let (mut book, mut run) = book(json!({"name": "a", "completions": 2, "executor": "./run"}));
        run.parts = book.job("a").expect("a job").parts();
        book.put_run(run.clone());
        let refusal = output(&book, "a@1000", None).expect_err("many").to_string();
        assert_eq!(refusal, "run 'a@1000' is of many tasks: one is 'a@1000.NUMBER'");
        let mut part = Run::new(Time::ZERO, run.id().part(1), Trigger::Manual);
        part.task = Some(task("ct:1000:0.1:a:"));
        book.put_run(part);
        assert_eq!(output(&book, "a@1000.1", None).expect("one").sandbox, "a");
    }

    proptest! {
        /// Pieces together are the whole, however they are cut, and whatever the bytes are each is something.
        #[test]
        fn pieces_together_are_the_whole(words in "[a-zäß€𝄞]{0,40}", foreign in prop::collection::vec(any::<u8>(), 0..8), length in 4usize..9) {
            let mut pieces = String::new();
            let mut rest = words.as_bytes();
            while !rest.is_empty() {
                let (piece, taken) = text(&rest[..length.min(rest.len())]);
                prop_assert!(taken > 0);
                pieces.push_str(&piece);
                rest = &rest[taken..];
            }
            prop_assert_eq!(pieces, words);
            let (_, taken) = text(&foreign);
            prop_assert!(taken > 0 || foreign.is_empty());
        }
    }
}
