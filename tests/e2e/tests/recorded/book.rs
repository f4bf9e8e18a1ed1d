//! What was answered, by the names of the table, and how it differs from the table.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::http::Answer;
use crate::table::{self, Body, Expected};
use crate::tree::Tree;

const TABLE: &str = include_str!("../../../../docs/wire/answers.txt");
const LIST: &str = include_str!("../../../../docs/wire/differences.md");

pub(crate) struct Book {
    table: BTreeMap<String, Expected>,
    seen: BTreeMap<String, Seen>,
}

/// All answers of one name.
#[derive(Default)]
struct Seen {
    statuses: BTreeSet<u16>,
    kinds: BTreeSet<String>,
    texts: BTreeSet<String>,
    tree: Tree,
}

impl Book {
    pub(crate) fn new() -> Self {
        Self { table: table::read(TABLE), seen: BTreeMap::new() }
    }

    pub(crate) fn answer(&mut self, name: &str, answer: &Answer) {
        let kind = answer.header("content-type").unwrap_or("-");
        if kind == "application/json" {
            self.json(name, answer.status, &answer.json());
        } else {
            let realm =
                answer.header("www-authenticate").map(|realm| format!(" {realm}")).unwrap_or_default();
            self.note(name, answer.status, &format!("{kind}{realm}"), answer.text().trim_end());
        }
    }

    pub(crate) fn json(&mut self, name: &str, status: u16, value: &Value) {
        self.note(name, status, "application/json", "");
        let shape = match self.table.get(name) {
            Some(Expected { body: Body::Shape(shape), .. }) => Some(shape),
            _ => None,
        };
        self.seen.entry(name.to_owned()).or_default().tree.add(value, shape);
    }

    /// A subscription that is refused: a stream of one event.
    pub(crate) fn error(&mut self, name: &str, event: &Value) {
        let text = event["error"]["message"].as_str().unwrap_or_default();
        self.note(name, 200, if event["type"] == "ERROR" { "error" } else { "no error" }, text);
    }

    /// What a status says: its state, its reason, its sentence.
    pub(crate) fn status(&mut self, name: &str, status: &Value) {
        let parts = ["state", "reason", "message"].map(|part| status[part].as_str().unwrap_or_default());
        let text = parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ");
        self.note(name, 200, "status", &text);
    }

    /// Events of a scheduler's stream.
    pub(crate) fn events(&mut self, events: &[Value]) {
        for event in events {
            let kind = event["type"].as_str().unwrap_or_default();
            let mut name = format!("event {kind}");
            let status = match kind {
                "UPDATE" => &event["update"]["status"],
                "UPDATE_OPERATION_STATUS" => &event["update_operation_status"]["status"],
                _ => &Value::Null,
            };
            for part in ["state", "reason"] {
                if let Some(word) = status[part].as_str() {
                    name = format!("{name} {}", word.trim_start_matches("REASON_"));
                }
            }
            self.json(&name, 200, event);
        }
    }

    pub(crate) fn operator_events(&mut self, events: &[Value]) {
        for event in events {
            self.json(&format!("operator event {}", event["type"].as_str().unwrap_or_default()), 200, event);
        }
    }

    fn note(&mut self, name: &str, status: u16, kind: &str, text: &str) {
        // Shown where the test fails.
        println!("{name}: {status} {kind} {text}");
        let seen = self.seen.entry(name.to_owned()).or_default();
        seen.statuses.insert(status);
        seen.kinds.insert(kind.to_owned());
        if !text.is_empty() {
            seen.texts.insert(text.to_owned());
        }
    }

    /// # Panics
    /// Something differs that is not listed, or something is listed that does not differ.
    pub(crate) fn close(&self) {
        let found = self.differences();
        let listed = table::differences(LIST);
        let differ: BTreeSet<(String, String)> = found.keys().cloned().collect();
        let unlisted: Vec<String> = found
            .iter()
            .filter(|(key, _)| !listed.contains(*key))
            .map(|((name, what), detail)| {
                format!("{name} | {what} | {}", detail.lines().next().unwrap_or_default())
            })
            .collect();
        let gone: Vec<String> =
            listed.difference(&differ).map(|(name, what)| format!("{name} | {what}")).collect();
        assert!(
            unlisted.is_empty() && gone.is_empty(),
            "differ and are not listed:\n{}\n\nare listed and do not differ:\n{}",
            unlisted.join("\n"),
            gone.join("\n")
        );
    }

    /// Each by the answer's name and a phrase, with what helps to see why.
    fn differences(&self) -> BTreeMap<(String, String), String> {
        let mut all = BTreeMap::new();
        for (name, expected) in &self.table {
            let mut found = Vec::new();
            match self.seen.get(name) {
                Some(seen) => seen.differences(expected, &mut found),
                None => found.push(("was never answered".to_owned(), String::new())),
            }
            all.extend(found.into_iter().map(|(what, detail)| ((name.clone(), what), detail)));
        }
        for name in self.seen.keys().filter(|name| !self.table.contains_key(*name)) {
            all.insert((name.clone(), "is new".to_owned()), String::new());
        }
        all
    }
}

impl Seen {
    fn differences(&self, expected: &Expected, found: &mut Vec<(String, String)>) {
        let texts = || self.texts.iter().cloned().collect::<Vec<_>>().join(" / ");
        for status in self.statuses.iter().filter(|status| **status != expected.status) {
            found.push((format!("status {status}"), texts()));
        }
        for kind in self.kinds.iter().filter(|kind| **kind != expected.kind) {
            found.push((format!("type {kind}"), texts()));
        }
        match &expected.body {
            Body::Text(text) => {
                if self.texts.iter().any(|seen| !alike(text, seen))
                    || (self.texts.is_empty() && !text.is_empty())
                {
                    found.push(("another sentence".to_owned(), texts()));
                }
            }
            Body::Shape(shape) if self.kinds.contains("application/json") => {
                let mut phrases = Vec::new();
                self.tree.differences(shape, "", &mut phrases);
                found.extend(phrases.into_iter().map(|phrase| (phrase, String::new())));
            }
            Body::Shape(_) => {}
        }
    }
}

/// Whether a text is what the table says, with something in the place of each `<...>`.
fn alike(expected: &str, seen: &str) -> bool {
    let parts = fixed(expected);
    let (first, parts) = parts.split_first().expect("never empty");
    let Some(mut rest) = seen.strip_prefix(first) else { return false };
    let mut last = None;
    for part in parts {
        let Some(place) = rest.find(*part) else { return false };
        rest = &rest[place + part.len()..];
        last = Some(*part);
    }
    // Nothing may follow, unless what varies is at the end.
    rest.is_empty() || last == Some("")
}

/// What stands between the `<...>`; a `<` by itself is one.
fn fixed(expected: &str) -> Vec<&str> {
    let (mut parts, mut from, mut at) = (Vec::new(), 0, 0);
    while let Some(open) = expected[at..].find('<').map(|open| at + open) {
        let name = expected[open + 1..].find('>').map(|close| &expected[open + 1..open + 1 + close]);
        match name.filter(|name| !name.is_empty() && name.chars().all(char::is_alphabetic)) {
            Some(name) => {
                parts.push(&expected[from..open]);
                from = open + name.len() + 2;
                at = from;
            }
            None => at = open + 1,
        }
    }
    parts.push(&expected[from..]);
    parts
}

#[test]
fn what_varies_is_passed_over() {
    for (expected, seen, holds) in [
        ("a", "a", true),
        ("a", "ab", false),
        ("a <x>", "a bc", true),
        ("a <= 0", "a <= 0", true),
        ("'<x>' b", "'q' b", true),
        ("'<x>' b", "'q' c", false),
        ("<all> does not contain cpus:1", "cpus:4 does not contain cpus:1", true),
        ("<all> does not contain cpus:1", "cpus:4 does not contain cpus:12", false),
    ] {
        assert_eq!(alike(expected, seen), holds, "{expected} / {seen}");
    }
}
