//! Label selectors: `key`, `key==v`, `key!=v`, `key in (a,b)`, `key notin (a,b)`, joined by commas.

use std::collections::BTreeMap;

/// All of them must hold.
#[derive(Debug)]
pub(super) struct Selector(Vec<Term>);

#[derive(Debug)]
struct Term {
    key: String,
    wanted: Wanted,
}

#[derive(Debug)]
enum Wanted {
    Exists,
    In(Vec<String>),
    NotIn(Vec<String>),
}

impl Selector {
    /// # Errors
    /// A sentence about the place where it is no selector any more.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut scanner = Scanner { rest: text };
        let mut terms = vec![scanner.term()?];
        while scanner.take(",") {
            terms.push(scanner.term()?);
        }
        scanner.end()?;
        Ok(Self(terms))
    }

    pub(super) fn holds(&self, labels: &BTreeMap<String, String>) -> bool {
        self.0.iter().all(|term| {
            let Some(value) = labels.get(&term.key) else { return false };
            match &term.wanted {
                Wanted::Exists => true,
                Wanted::In(values) => values.contains(value),
                Wanted::NotIn(values) => !values.contains(value),
            }
        })
    }
}

struct Scanner<'a> {
    rest: &'a str,
}

impl Scanner<'_> {
    fn term(&mut self) -> Result<Term, String> {
        let key = self.word()?;
        let wanted = if self.take("==") {
            Wanted::In(vec![self.word()?])
        } else if self.take("!=") {
            Wanted::NotIn(vec![self.word()?])
        } else if self.keyword("in") {
            Wanted::In(self.set()?)
        } else if self.keyword("notin") {
            Wanted::NotIn(self.set()?)
        } else {
            Wanted::Exists
        };
        Ok(Term { key, wanted })
    }

    fn set(&mut self) -> Result<Vec<String>, String> {
        if !self.take("(") {
            return Err(self.wrong("'('"));
        }
        let mut values = vec![self.word()?];
        while self.take(",") {
            values.push(self.word()?);
        }
        if self.take(")") { Ok(values) } else { Err(self.wrong("')'")) }
    }

    fn word(&mut self) -> Result<String, String> {
        self.skip();
        let mut word = String::new();
        let mut characters = self.rest.chars();
        loop {
            let before = characters.as_str();
            match characters.next() {
                Some(plain) if plain.is_ascii_alphanumeric() || "._-".contains(plain) => word.push(plain),
                Some('\\') => word.push(characters.next().ok_or_else(|| self.wrong("a character after '\\'"))?),
                _ => {
                    self.rest = before;
                    break;
                }
            }
        }
        if word.is_empty() { Err(self.wrong("a word")) } else { Ok(word) }
    }

    fn take(&mut self, sign: &str) -> bool {
        self.skip();
        match self.rest.strip_prefix(sign) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    /// A word of the grammar: what follows must not continue it.
    fn keyword(&mut self, word: &str) -> bool {
        self.skip();
        let follows = self.rest.strip_prefix(word).filter(|rest| rest.starts_with([' ', '(']));
        match follows {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn end(&mut self) -> Result<(), String> {
        self.skip();
        if self.rest.is_empty() { Ok(()) } else { Err(self.wrong("',' or the end")) }
    }

    fn skip(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn wrong(&self, expected: &str) -> String {
        format!("label: {expected} expected before '{}'", self.rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_select() {
        let labels: BTreeMap<String, String> =
            [("tier", "web"), ("team", "a b")].map(|(k, v)| (k.to_owned(), v.to_owned())).into();
        for (text, holds) in [
            ("tier", true),
            ("absent", false),
            ("tier==web", true),
            ("tier == web , team", true),
            ("tier!=web", false),
            ("absent!=web", false),
            ("tier in (db, web)", true),
            ("tier notin (db,cache)", true),
            ("team==a\\ b", true),
        ] {
            assert_eq!(Selector::parse(text).unwrap().holds(&labels), holds, "{text}");
        }
    }

    #[test]
    fn what_is_no_selector_is_refused_at_its_place() {
        for text in ["", "tier==", "tier in web", "tier in (web", "tier web", "==x", "a,,b", "a\\"] {
            let error = Selector::parse(text).unwrap_err();
            assert!(error.contains("expected"), "{text}: {error}");
        }
    }
}
