//! Why bytes are not a message.

use std::fmt;

/// The most missing fields that are named; a body of a million incomplete objects has to have a short answer.
pub(crate) const MISSING_LIMIT: usize = 32;

/// Why a body is not the message it should be. Displayed, it is a sentence for whoever sent the body: it names
/// the field by its path from the top, as in `accept.operations[0].launch.task_infos[2].name`.
///
/// The beginnings are those of the first implementation of the protocol, which tools match.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The body is not JSON.
    #[error("Failed to parse body into JSON: {0}")]
    Syntax(SyntaxError),
    /// The body is JSON, but not of this message.
    #[error("Failed to convert JSON into {message} protobuf: {problem}")]
    Shape {
        /// The name of the message, without its package.
        message: &'static str,
        /// What is wrong, and where.
        problem: Problem,
    },
    /// The body is not a protobuf message.
    #[error("Failed to parse body into {message} protobuf: {reason}")]
    Protobuf {
        /// The name of the message, without its package.
        message: &'static str,
        /// What is wrong, and where.
        reason: String,
    },
}

/// Where JSON ends being JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyntaxError {
    pub(crate) what: &'static str,
    /// From 1; `None` when the object itself is whole and only what comes after it is wrong.
    pub line: Option<usize>,
    /// What follows, cut short.
    pub near: String,
}

impl fmt::Display for SyntaxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, line, near } = self;
        match line {
            Some(line) => write!(f, "{what} at line {line} near: {near}"),
            None => write!(f, "{what}: {near}"),
        }
    }
}

/// What is wrong with JSON that is well formed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// An array, a number or another value stands where the message should.
    #[error("Expecting a JSON object")]
    NotAnObject,
    /// The value of a field is of a kind the field cannot take.
    #[error("Not expecting a JSON {kind} for field '{path}'")]
    Kind {
        /// `string`, `number`, `boolean`, `array` or `object`.
        kind: &'static str,
        /// From the top of the body.
        path: String,
    },
    /// The value is of the right kind, but not one the field can take.
    #[error("{reason} for field '{path}'")]
    Value {
        /// A sentence without its end.
        reason: String,
        /// From the top of the body.
        path: String,
    },
    /// Bytes that are not standard base64.
    #[error("Failed to base64 decode bytes field '{path}': {reason}")]
    Base64 {
        /// What breaks the encoding.
        reason: String,
        /// From the top of the body.
        path: String,
    },
    /// Fields the message needs.
    #[error("Missing required fields: {}", list(.paths, *.more))]
    Missing {
        /// Their paths, in the order in which the body is read.
        paths: Vec<String>,
        /// How many more there are.
        more: usize,
    },
}

fn list(paths: &[String], more: usize) -> String {
    let mut text = paths.join(", ");
    if more > 0 {
        text += &format!(" and {more} more");
    }
    text
}

/// The required fields found missing so far.
#[derive(Debug, Default)]
pub(crate) struct Missing {
    pub(crate) paths: Vec<String>,
    pub(crate) more: usize,
}

impl Missing {
    pub(crate) fn add(&mut self, path: &str) {
        if self.paths.len() < MISSING_LIMIT {
            self.paths.push(path.to_owned());
        } else {
            self.more += 1;
        }
    }

    /// Puts `step` before the paths added since there were `from` of them.
    pub(crate) fn prefix(&mut self, from: usize, step: &Step<'_>) {
        for path in &mut self.paths[from..] {
            step.prefix(path);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.paths.is_empty()
    }
}

/// One step of a path. Paths are put together from their end, on the way out of what went wrong, so that a
/// body without fault pays nothing for them.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Step<'a> {
    Field(&'a str),
    Key(&'a str),
    Index(usize),
}

impl Step<'_> {
    pub(crate) fn prefix(&self, path: &mut String) {
        let step = match self {
            Self::Field(name) => (*name).to_owned(),
            Self::Key(key) => format!("[{key:?}]"),
            Self::Index(index) => format!("[{index}]"),
        };
        if !path.is_empty() && !path.starts_with('[') {
            path.insert(0, '.');
        }
        path.insert_str(0, &step);
    }
}
