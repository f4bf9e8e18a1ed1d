//! Where instances of an app may run, relative to the agents and to each other.

use std::collections::BTreeMap;
use std::fmt;

use regex::{Regex, RegexBuilder};

use crate::limits;

/// A rule about one field of an agent: its hostname, or an attribute.
#[derive(Debug, Clone, PartialEq)]
pub struct Constraint {
    pub field: String,
    pub operator: Operator,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Operator {
    /// No two instances share a value.
    Unique,
    /// All instances share a value: this one, or that of the first instance.
    Cluster(Option<String>),
    /// Values get equally many instances, once at least so many values are in use.
    GroupBy(u32),
    Like(Pattern),
    Unlike(Pattern),
    /// At most so many instances share a value.
    MaxPer(u32),
    Is(String),
}

/// A regular expression that has to match the whole text.
#[derive(Clone)]
pub struct Pattern {
    text: String,
    compiled: Regex,
}

impl Pattern {
    pub fn new(text: &str) -> Result<Self, String> {
        RegexBuilder::new(&format!("^(?:{text})$"))
            .size_limit(limits::REGEX_BYTES)
            .dfa_size_limit(limits::REGEX_BYTES)
            .build()
            .map(|compiled| Self { text: text.to_owned(), compiled })
            .map_err(|error| {
                let reason = error.to_string();
                format!("is not a regular expression: {}", reason.lines().last().unwrap_or_default().trim())
            })
    }

    fn matches(&self, text: &str) -> bool {
        self.compiled.is_match(text)
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, f)
    }
}

const OPERATORS: &str = "UNIQUE, CLUSTER, GROUP_BY, LIKE, UNLIKE, MAX_PER, IS";

impl Constraint {
    /// Reads `[field, operator]` or `[field, operator, value]`; the operator's case does not matter.
    pub fn parse(words: &[String]) -> Result<Self, String> {
        let (field, name, value) = match words {
            [field, name] => (field, name, None),
            [field, name, value] => (field, name, Some(value.as_str())),
            _ => return Err("must be [field, operator] or [field, operator, value]".to_owned()),
        };
        if field.is_empty() {
            return Err("field must not be empty".to_owned());
        }
        let number = |text: &str| text.parse::<u32>().map_err(|_| format!("value '{text}' must be a number"));
        let operator = match (name.to_ascii_uppercase().as_str(), value) {
            ("UNIQUE", None | Some("")) => Operator::Unique,
            ("UNIQUE", Some(_)) => return Err("UNIQUE takes no value".to_owned()),
            ("CLUSTER", value) => Operator::Cluster(value.filter(|text| !text.is_empty()).map(str::to_owned)),
            ("GROUP_BY", None | Some("")) => Operator::GroupBy(0),
            ("GROUP_BY", Some(text)) => Operator::GroupBy(number(text)?),
            ("LIKE", Some(text)) => Operator::Like(Pattern::new(text)?),
            ("UNLIKE", Some(text)) => Operator::Unlike(Pattern::new(text)?),
            ("MAX_PER", Some(text)) => Operator::MaxPer(number(text)?),
            ("IS", Some(text)) => Operator::Is(text.to_owned()),
            (operator @ ("LIKE" | "UNLIKE" | "MAX_PER" | "IS"), None) => {
                return Err(format!("{operator} needs a value"));
            }
            (other, _) => return Err(format!("operator '{other}' must be one of {OPERATORS}")),
        };
        Ok(Self { field: field.clone(), operator })
    }

    pub fn words(&self) -> Vec<String> {
        let (name, value) = match &self.operator {
            Operator::Unique => ("UNIQUE", None),
            Operator::Cluster(value) => ("CLUSTER", value.clone()),
            Operator::GroupBy(0) => ("GROUP_BY", None),
            Operator::GroupBy(n) => ("GROUP_BY", Some(n.to_string())),
            Operator::Like(pattern) => ("LIKE", Some(pattern.text.clone())),
            Operator::Unlike(pattern) => ("UNLIKE", Some(pattern.text.clone())),
            Operator::MaxPer(n) => ("MAX_PER", Some(n.to_string())),
            Operator::Is(value) => ("IS", Some(value.clone())),
        };
        [self.field.clone(), name.to_owned()].into_iter().chain(value).collect()
    }

    /// Whether an agent with these fields may take one more instance.
    ///
    /// `placed` holds the fields of each agent where an instance of the same configuration is: older ones do not
    /// count, so that an upgrade may put a new instance beside the old one it replaces.
    pub fn allows<'a>(
        &self,
        agent: &BTreeMap<String, String>,
        placed: impl Iterator<Item = &'a BTreeMap<String, String>>,
    ) -> bool {
        let Some(value) = agent.get(key(&self.field)) else {
            return matches!(self.operator, Operator::Unlike(_));
        };
        let mut values = placed.filter_map(|fields| fields.get(key(&self.field)));
        match &self.operator {
            Operator::Unique => !values.any(|other| other == value),
            Operator::Cluster(Some(wanted)) => value == wanted,
            Operator::Cluster(None) => values.next().is_none_or(|first| first == value),
            Operator::GroupBy(groups) => fits_group(value, values, *groups),
            Operator::Like(pattern) => pattern.matches(value),
            Operator::Unlike(pattern) => !pattern.matches(value),
            Operator::MaxPer(most) => values.filter(|other| *other == value).count() < *most as usize,
            Operator::Is(wanted) => value == wanted || same_number(value, wanted),
        }
    }
}

/// The key under which a field of an agent is kept.
fn key(field: &str) -> &str {
    if field == "@hostname" { "hostname" } else { field }
}

/// A new value is always welcome; a used one only when enough values are in use and none has fewer instances.
fn fits_group<'a>(value: &String, placed: impl Iterator<Item = &'a String>, groups: u32) -> bool {
    let mut counts = BTreeMap::new();
    for other in placed {
        *counts.entry(other).or_insert(0_usize) += 1;
    }
    match counts.get(value) {
        None => true,
        Some(count) => counts.len() >= groups as usize && counts.values().min() == Some(count),
    }
}

fn same_number(a: &str, b: &str) -> bool {
    match (a.parse::<f64>(), b.parse::<f64>()) {
        (Ok(a), Ok(b)) => (a * 1000.0).round() == (b * 1000.0).round(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agent(fields: &[(&str, &str)]) -> BTreeMap<String, String> {
        fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn rule(words: &[&str]) -> Constraint {
        Constraint::parse(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn operators_decide() {
        let a = agent(&[("hostname", "a"), ("rack", "1")]);
        let b = agent(&[("hostname", "b"), ("rack", "2")]);
        let c = agent(&[("hostname", "c"), ("rack", "2")]);
        let bare = agent(&[("hostname", "d")]);
        type Fields = BTreeMap<String, String>;
        type Case<'a> = (&'a [&'a str], &'a Fields, &'a [&'a Fields], bool);
        let cases: &[Case<'_>] = &[
            (&["hostname", "UNIQUE"], &a, &[&b], true),
            (&["@hostname", "unique"], &a, &[&a], false),
            (&["rack", "UNIQUE"], &c, &[&b], false),
            (&["rack", "CLUSTER"], &a, &[], true),
            (&["rack", "CLUSTER"], &a, &[&b], false),
            (&["rack", "CLUSTER"], &c, &[&b], true),
            (&["rack", "CLUSTER", "1"], &b, &[], false),
            (&["hostname", "LIKE", "[ab]"], &b, &[], true),
            (&["hostname", "LIKE", "[ab]"], &c, &[], false),
            (&["hostname", "UNLIKE", "[ab]"], &c, &[], true),
            (&["rack", "UNLIKE", "1"], &bare, &[], true),
            (&["rack", "LIKE", ".*"], &bare, &[], false),
            (&["rack", "MAX_PER", "2"], &b, &[&c], true),
            (&["rack", "MAX_PER", "1"], &b, &[&c], false),
            (&["rack", "IS", "1.0"], &a, &[], true),
            (&["rack", "IS", "2"], &a, &[], false),
            (&["rack", "GROUP_BY"], &b, &[&a], true),
            (&["rack", "GROUP_BY"], &b, &[&a, &c], true),
            (&["rack", "GROUP_BY"], &b, &[&a, &c, &b], false),
            (&["rack", "GROUP_BY", "3"], &b, &[&a, &c], false),
        ];
        for (words, on, placed, expected) in cases {
            assert_eq!(
                rule(words).allows(on, placed.iter().copied()),
                *expected,
                "{words:?} {on:?} {placed:?}"
            );
        }
    }

    #[test]
    fn matching_is_of_the_whole_text() {
        assert!(!rule(&["hostname", "LIKE", "a|b"]).allows(&agent(&[("hostname", "ax")]), [].into_iter()));
    }

    #[test]
    fn words_survive() {
        for words in [
            &["hostname", "UNIQUE"] as &[&str],
            &["rack", "GROUP_BY", "3"],
            &["rack", "CLUSTER", "1"],
            &["rack", "UNLIKE", "a.*"],
            &["rack", "MAX_PER", "2"],
        ] {
            assert_eq!(rule(words).words(), words);
        }
    }

    #[test]
    fn what_is_no_constraint_is_named() {
        for (words, error) in [
            (&["hostname"] as &[&str], "must be [field, operator]"),
            (&["", "UNIQUE"], "field must not be empty"),
            (&["hostname", "UNIQUE", "x"], "UNIQUE takes no value"),
            (&["hostname", "LIKE"], "LIKE needs a value"),
            (&["hostname", "LIKE", "("], "is not a regular expression"),
            (&["hostname", "LIKE", "((a{1000}){1000}){1000}"], "is not a regular expression"),
            (&["hostname", "MAX_PER", "-1"], "must be a number"),
            (&["hostname", "NEAR", "x"], "operator 'NEAR' must be one of"),
        ] {
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            let got = Constraint::parse(&words).unwrap_err();
            assert!(got.contains(error), "{words:?}: {got}");
        }
    }
}
