//! Label selectors: `key`, `key==v`, `key!=v`, `key in (a,b)`, `key notin (a,b)`, joined by commas.

use std::collections::BTreeMap;

/// Conditions that all have to hold.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Selector(Vec<Condition>);

#[derive(Debug, PartialEq, Eq)]
enum Condition {
    Exists(String),
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
}

impl Selector {
    /// # Errors
    /// A sentence that names the place.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut parser = Parser { text, rest: text };
        let mut conditions = vec![parser.condition()?];
        while parser.take(",") {
            conditions.push(parser.condition()?);
        }
        if parser.rest.trim().is_empty() { Ok(Self(conditions)) } else { Err(parser.error("expected ','")) }
    }

    pub(super) fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.0.iter().all(|condition| match condition {
            Condition::Exists(key) => labels.contains_key(key),
            Condition::In(key, values) => labels.get(key).is_some_and(|value| values.contains(value)),
            Condition::NotIn(key, values) => labels.get(key).is_some_and(|value| !values.contains(value)),
        })
    }
}

struct Parser<'a> {
    text: &'a str,
    rest: &'a str,
}

impl Parser<'_> {
    fn condition(&mut self) -> Result<Condition, String> {
        let key = self.term()?;
        if self.take("==") {
            Ok(Condition::In(key, vec![self.term()?]))
        } else if self.take("!=") {
            Ok(Condition::NotIn(key, vec![self.term()?]))
        } else if self.take("notin") {
            Ok(Condition::NotIn(key, self.set()?))
        } else if self.take("in") {
            Ok(Condition::In(key, self.set()?))
        } else {
            Ok(Condition::Exists(key))
        }
    }

    fn set(&mut self) -> Result<Vec<String>, String> {
        if !self.take("(") {
            return Err(self.error("expected '('"));
        }
        let mut terms = vec![self.term()?];
        while self.take(",") {
            terms.push(self.term()?);
        }
        if self.take(")") { Ok(terms) } else { Err(self.error("expected ')'")) }
    }

    /// Letters, digits, `.`, `_` and `-`; anything else after a backslash.
    fn term(&mut self) -> Result<String, String> {
        self.rest = self.rest.trim_start();
        let mut term = String::new();
        let mut chars = self.rest.char_indices();
        let mut end = self.rest.len();
        while let Some((at, c)) = chars.next() {
            if c == '\\' {
                match chars.next() {
                    Some((_, escaped)) => term.push(escaped),
                    None => return Err(self.error("expected a character after '\\'")),
                }
            } else if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') {
                term.push(c);
            } else {
                end = at;
                break;
            }
        }
        if term.is_empty() {
            return Err(self.error("expected a label"));
        }
        self.rest = &self.rest[end..];
        Ok(term)
    }

    fn take(&mut self, token: &str) -> bool {
        match self.rest.trim_start().strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn error(&self, expected: &str) -> String {
        let at = self.text.len() - self.rest.len();
        format!("Invalid label selector '{}': {expected} at position {at}", self.text.escape_debug())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_select() {
        let labels = [("tier", "web"), ("env", "prod"), ("a b", "x/y")]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into();
        for (text, expected) in [
            ("tier", true),
            ("color", false),
            ("tier==web", true),
            (" tier == web , env != test ", true),
            ("color!=red", false),
            ("env in (prod, test)", true),
            ("env notin (prod)", false),
            ("color notin (red)", false),
            (r"a\ b == x\/y", true),
        ] {
            assert_eq!(Selector::parse(text).unwrap().matches(&labels), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_selector_is_named() {
        for text in ["", "==", "a==", "a in", "a in (b", "a,,b", "a=b", "a\\", "a b c"] {
            let error = Selector::parse(text).unwrap_err();
            assert!(error.contains("at position"), "{text}: {error}");
        }
    }
}
