//! Reads JSON straight into messages.
//!
//! A reader of our own, because the dialect decides by looking ahead (a string or a number, one value or an
//! array, `null` or anything) and because serde's visitors are generic: each program that decodes a call would
//! compile all messages once more. Here the generated code is compiled once.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

use super::lexer::{Kind, Lexer};
use super::{Json, MESSAGES_LIMIT, NESTING_LIMIT};
use crate::error::{DecodeError, Missing, Problem, Step, SyntaxError};

/// Why reading stopped. Paths are relative to where the error is and grow on the way out.
#[derive(Debug)]
pub enum Stop {
    /// The text is not JSON.
    Syntax(SyntaxError),
    /// The text is JSON, but not of the message.
    Problem(Problem),
}

impl Stop {
    fn prefix(&mut self, step: &Step<'_>) {
        match self {
            Self::Problem(
                Problem::Kind { path, .. } | Problem::Value { path, .. } | Problem::Base64 { path, .. },
            ) => {
                step.prefix(path);
            }
            Self::Problem(Problem::NotAnObject | Problem::Missing { .. }) | Self::Syntax(_) => {}
        }
    }
}

impl From<SyntaxError> for Stop {
    fn from(error: SyntaxError) -> Self {
        Self::Syntax(error)
    }
}

fn unexpected(kind: Kind) -> Stop {
    Stop::Problem(Problem::Kind { kind: kind.name(), path: String::new() })
}

fn invalid(reason: impl Into<String>) -> Stop {
    Stop::Problem(Problem::Value { reason: reason.into(), path: String::new() })
}

fn base64_error(reason: String) -> Stop {
    Stop::Problem(Problem::Base64 { reason, path: String::new() })
}

/// A position in a text, and the required fields found missing before it.
#[derive(Debug)]
pub struct Reader<'a> {
    lexer: Lexer<'a>,
    depth: usize,
    /// Of all messages so far, in bytes.
    size: usize,
    missing: Missing,
}

impl<'a> Reader<'a> {
    /// Reads a whole text as one message.
    pub(super) fn document(
        text: &'a [u8],
        name: &'static str,
        target: &mut dyn Json,
    ) -> Result<(), DecodeError> {
        let mut reader = Self { lexer: Lexer::new(text), depth: 0, size: 0, missing: Missing::default() };
        let shape = |problem| DecodeError::Shape { message: name, problem };
        match reader.whole(target) {
            Err(Stop::Syntax(error)) => Err(DecodeError::Syntax(error)),
            Err(Stop::Problem(problem)) => Err(shape(problem)),
            Ok(()) if reader.missing.is_empty() => Ok(()),
            Ok(()) => {
                let Missing { paths, more } = reader.missing;
                Err(shape(Problem::Missing { paths, more }))
            }
        }
    }

    fn whole(&mut self, target: &mut dyn Json) -> Result<(), Stop> {
        if self.lexer.peek()? == Kind::Object {
            self.message(target)?;
            Ok(self.lexer.end()?)
        } else {
            self.skip()?;
            self.lexer.end()?;
            Err(Stop::Problem(Problem::NotAnObject))
        }
    }

    /// Reads an object into `target` and notes which of its required fields are missing.
    pub fn message(&mut self, target: &mut dyn Json) -> Result<(), Stop> {
        self.size += size_of_val(target);
        if self.size > MESSAGES_LIMIT {
            return Err(invalid(format!("More objects than fit into {MESSAGES_LIMIT} bytes")));
        }
        let mut seen = 0;
        self.members(&mut |reader, name| {
            let before = reader.missing.paths.len();
            let step = Step::Field(name);
            match target.read_member(name, reader) {
                Ok(mask) => seen |= mask,
                Err(mut stop) => {
                    stop.prefix(&step);
                    return Err(stop);
                }
            }
            reader.missing.prefix(before, &step);
            Ok(())
        })?;
        for (index, name) in target.required().iter().enumerate() {
            if seen & (1 << index) == 0 {
                self.missing.add(name);
            }
        }
        Ok(())
    }

    /// Reads an object as a map.
    pub fn entries(
        &mut self,
        each: &mut dyn FnMut(&mut Self, String) -> Result<(), Stop>,
    ) -> Result<(), Stop> {
        self.members(&mut |reader, key| {
            let before = reader.missing.paths.len();
            let step = Step::Key(key);
            if let Err(mut stop) = each(reader, key.to_owned()) {
                stop.prefix(&step);
                return Err(stop);
            }
            reader.missing.prefix(before, &step);
            Ok(())
        })
    }

    /// Calls `each` in front of every value of an object that is not `null`.
    fn members(&mut self, each: &mut dyn FnMut(&mut Self, &str) -> Result<(), Stop>) -> Result<(), Stop> {
        match self.lexer.peek()? {
            Kind::Object => self.enter()?,
            other => return Err(unexpected(other)),
        }
        while self.lexer.next_in(b'}')? {
            let key = self.lexer.key()?;
            if self.lexer.peek()? == Kind::Null {
                self.lexer.literal()?;
            } else {
                each(self, &key)?;
            }
        }
        self.depth -= 1;
        Ok(())
    }

    /// Calls `each` in front of every element of an array that is not `null`, or of the one value that stands
    /// in place of an array.
    pub fn elements(&mut self, each: &mut dyn FnMut(&mut Self) -> Result<(), Stop>) -> Result<(), Stop> {
        if self.lexer.peek()? != Kind::Array {
            return each(self);
        }
        self.enter()?;
        let mut index = 0;
        while self.lexer.next_in(b']')? {
            if self.lexer.peek()? == Kind::Null {
                self.lexer.literal()?;
            } else {
                let before = self.missing.paths.len();
                let step = Step::Index(index);
                if let Err(mut stop) = each(self) {
                    stop.prefix(&step);
                    return Err(stop);
                }
                self.missing.prefix(before, &step);
            }
            index += 1;
        }
        self.depth -= 1;
        Ok(())
    }

    /// Goes into an array or an object.
    fn enter(&mut self) -> Result<(), Stop> {
        self.depth += 1;
        if self.depth > NESTING_LIMIT {
            return Err(Stop::Syntax(self.lexer.error("nesting deeper than 200 levels")));
        }
        self.lexer.open();
        Ok(())
    }

    /// Passes over a value of any kind.
    pub fn skip(&mut self) -> Result<(), Stop> {
        match self.lexer.peek()? {
            Kind::Object => return self.members(&mut |reader, _| reader.skip()),
            Kind::Array => return self.elements(&mut |reader| reader.skip()),
            Kind::String => _ = self.lexer.string()?,
            Kind::Number => _ = self.lexer.number()?,
            Kind::Boolean | Kind::Null => _ = self.lexer.literal()?,
        }
        Ok(())
    }

    /// A string.
    pub fn text(&mut self) -> Result<String, Stop> {
        Ok(self.string()?.into_owned())
    }

    fn string(&mut self) -> Result<Cow<'a, str>, Stop> {
        match self.lexer.peek()? {
            Kind::String => Ok(self.lexer.string()?),
            other => Err(unexpected(other)),
        }
    }

    /// Bytes in base64. Also taken as the object of a `UUID` message: clients send the uuid of an operation
    /// status back in the form in which it came.
    pub fn bytes(&mut self) -> Result<Bytes, Stop> {
        let mut encoded = None;
        if self.lexer.peek()? == Kind::Object {
            self.members(&mut |reader, name| match name {
                "value" => {
                    encoded = Some(reader.string()?);
                    Ok(())
                }
                _ => reader.skip(),
            })?;
        } else {
            encoded = Some(self.string()?);
        }
        let encoded = encoded.ok_or_else(|| base64_error("Expecting a string".to_owned()))?;
        match STANDARD.decode(encoded.as_bytes()) {
            Ok(decoded) => Ok(decoded.into()),
            Err(error) => Err(base64_error(foreign_character(&encoded).unwrap_or_else(|| error.to_string()))),
        }
    }

    /// A boolean, also as the string of its name.
    pub fn boolean(&mut self) -> Result<bool, Stop> {
        let text = match self.lexer.peek()? {
            Kind::Boolean => Cow::Borrowed(self.lexer.literal()?),
            Kind::String => self.lexer.string()?,
            other => return Err(unexpected(other)),
        };
        match &*text {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err(invalid("Expecting 'true' or 'false'")),
        }
    }

    /// A number, also in a string, where it may be infinite.
    pub fn double(&mut self) -> Result<f64, Stop> {
        let text = self.numeral()?;
        match &*text {
            "Infinity" => return Ok(f64::INFINITY),
            "-Infinity" => return Ok(f64::NEG_INFINITY),
            _ => {}
        }
        float(&text)
    }

    /// A whole number, also in a string. A fraction is cut off, as clients that compute in doubles need.
    pub fn integer<T: TryFrom<i128>>(&mut self) -> Result<T, Stop> {
        let text = self.numeral()?;
        let exact = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
        let value = match text.parse::<i128>() {
            Ok(value) if exact => Some(value),
            // Doubles beyond the range saturate, and no type of the API reaches so far.
            _ => Some(float(&text)?.trunc() as i128),
        };
        value
            .and_then(|value| T::try_from(value).ok())
            .ok_or_else(|| invalid(format!("Number {text} is out of range")))
    }

    /// The text of a number, out of a string if it stands in one.
    fn numeral(&mut self) -> Result<Cow<'a, str>, Stop> {
        match self.lexer.peek()? {
            Kind::Number => Ok(Cow::Borrowed(self.lexer.number()?)),
            Kind::String => Ok(self.lexer.string()?),
            other => Err(unexpected(other)),
        }
    }

    /// The value with the name that stands here; `None` for a name that is not known, so that a new capability
    /// of a framework does no harm.
    pub fn enumeration(&mut self, known: fn(&str) -> Option<i32>) -> Result<Option<i32>, Stop> {
        Ok(known(&self.string()?))
    }

    /// As [`Self::enumeration`], where the message makes no sense without the value.
    pub fn required_enumeration(&mut self, known: fn(&str) -> Option<i32>) -> Result<i32, Stop> {
        let name = self.string()?;
        known(&name).ok_or_else(|| invalid(format!("Failed to find enum for '{name}'")))
    }
}

fn float(text: &str) -> Result<f64, Stop> {
    if !Lexer::is_number(text) {
        return Err(invalid(format!("Expecting a number instead of '{text}'")));
    }
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() => Ok(value),
        _ => Err(invalid(format!("Number {text} is out of range"))),
    }
}

fn foreign_character(text: &str) -> Option<String> {
    let foreign = |c: &char| !(c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '='));
    text.chars().find(foreign).map(|c| format!("Invalid character '{c}'"))
}
