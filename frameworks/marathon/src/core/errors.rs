//! What is wrong with a document, all of it at once, by place.

use std::fmt::Write as _;

/// Collected errors, each with its path: `/name` for a step, `(0)` for a position, `/` for the whole.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Errors(Vec<(String, Vec<String>)>);

impl Errors {
    pub fn add(&mut self, path: impl AsRef<str>, error: impl Into<String>) {
        let (path, error) = (path.as_ref(), error.into());
        match self.0.iter_mut().find(|(known, _)| known == path) {
            Some((_, errors)) => errors.push(error),
            None => self.0.push((path.to_owned(), vec![error])),
        }
    }

    pub fn one(path: impl AsRef<str>, error: impl Into<String>) -> Self {
        let mut errors = Self::default();
        errors.add(path, error);
        errors
    }

    /// Takes `others`, whose paths continue `prefix`.
    pub fn extend(&mut self, prefix: &str, others: Self) {
        for (path, errors) in others.0 {
            for error in errors {
                let path = if path == "/" && !prefix.is_empty() {
                    prefix.to_owned()
                } else {
                    format!("{prefix}{path}")
                };
                self.add(path, error);
            }
        }
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &[String])> {
        self.0.iter().map(|(path, errors)| (path.as_str(), errors.as_slice()))
    }

    /// `value` if nothing is wrong.
    pub fn or<T>(self, value: T) -> Result<T, Self> {
        if self.is_empty() { Ok(value) } else { Err(self) }
    }
}

/// One line an error, for logs and transcripts.
impl std::fmt::Display for Errors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut text = String::new();
        for (path, errors) in &self.0 {
            for error in errors {
                writeln!(text, "{path}: {error}")?;
            }
        }
        f.write_str(text.trim_end())
    }
}
