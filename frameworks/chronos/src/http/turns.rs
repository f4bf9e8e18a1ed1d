//! Queues, and what became of due times.

use serde_json::{Value, json};

use super::respond::{Answered, Problem, done, json};
use super::{Api, Call};
use crate::core::answer::{Answer, account_on};
use crate::core::book::Book;
use crate::core::fair::Rule;
use crate::core::message::Command;
use crate::core::refusal::Refusal;
use crate::core::schedule::iso8601;

/// What became of each due time of a date, or of one time: `?on=2026-11-21`.
pub(super) async fn history(api: &Api, call: &Call, name: &str) -> Answered {
    let missing = || Problem::Refused(Refusal::field("on", "must be there: a date or a time"));
    let on = call.query.get("on").ok_or_else(missing)?;
    let account = account_on(&api.book().await?, name, on).map_err(Problem::Refused)?;
    let line = |answer: &Answer| {
        let mut line = json!({"due": iso8601(answer.due), "state": answer.state, "reason": answer.reason});
        if let Some(up_to) = answer.up_to {
            line["upTo"] = json!(iso8601(up_to));
        }
        if let Some(run) = &answer.run {
            line["run"] = json!(run);
        }
        line
    };
    json(&json!({
        "job": name,
        "answers": account.answers.iter().map(line).collect::<Vec<_>>(),
        "note": account.note,
    }))
}

/// Every queue that an operator has named or that has something running.
pub(super) async fn queues(api: &Api) -> Answered {
    json(&list(&api.book().await?))
}

fn list(book: &Book) -> Vec<Value> {
    let idle = book.queues.keys().filter(|name| !book.usage.contains_key(*name)).map(|name| (name, 0));
    let mut all: Vec<_> = book.usage.iter().map(|(name, running)| (name, *running)).chain(idle).collect();
    all.sort();
    let line = |(name, running): (&std::sync::Arc<str>, u64)| {
        let rule = book.queues.get(name);
        json!({
            "name": &**name,
            "weight": rule.map_or(1, |rule| rule.weight),
            "maxPriority": rule.and_then(|rule| rule.max_priority),
            "named": rule.is_some(),
            // As turns are compared: CPUs, or what memory and GPUs count for.
            "running": running as f64 / 1000.0,
        })
    };
    all.into_iter().map(line).collect()
}

pub(super) async fn put_queue(api: &Api, call: &Call, name: &str) -> Answered {
    let document = call.json()?;
    let mut rule: Rule = serde_path_to_error::deserialize(document).map_err(|error| {
        let path = error.path().to_string();
        Problem::Refused(Refusal::field(if path == "." { "body" } else { &path }, error.inner().to_string()))
    })?;
    rule.name = name.into();
    api.command(Command::PutQueue { rule }).await?;
    Ok(done())
}

pub(super) async fn delete_queue(api: &Api, name: &str) -> Answered {
    api.command(Command::DeleteQueue { queue: name.to_owned() }).await?;
    Ok(done())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queues_that_are_named_or_busy_are_listed() {
        let mut book = Book::default();
        let rule = Rule { name: "bob".into(), weight: 3, max_priority: Some(0) };
        book.queues.insert("bob".into(), rule);
        book.usage.insert("ann@x".into(), 2500);
        let busy = json!({"name": "ann@x", "weight": 1, "maxPriority": null, "named": false, "running": 2.5});
        let named = json!({"name": "bob", "weight": 3, "maxPriority": 0, "named": true, "running": 0.0});
        assert_eq!(list(&book), [busy, named]);
    }
}
