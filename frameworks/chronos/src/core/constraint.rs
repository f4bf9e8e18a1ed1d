//! Where a job may run: rules about the attributes of agents.

use std::collections::BTreeMap;
use std::fmt;

use regex::{Regex, RegexBuilder};

use crate::limits;

/// `[attribute, operator, value]`.
#[derive(Debug, Clone)]
pub struct Constraint {
    attribute: String,
    operator: Operator,
}

#[derive(Debug, Clone)]
enum Operator {
    Equals(String),
    Like(Regex),
    Unlike(Regex),
}

impl Constraint {
    /// # Errors
    /// The rule that the words break. (Chronos drops an operator it does not know, and runs the job anywhere.)
    pub fn parse(words: &[String]) -> Result<Self, String> {
        let [attribute, operator, value] = words else {
            return Err("must be [attribute, operator, value]".to_owned());
        };
        // The whole text has to match.
        let pattern = || {
            RegexBuilder::new(&format!("^(?:{value})$"))
                .size_limit(limits::REGEX_BYTES)
                .dfa_size_limit(limits::REGEX_BYTES)
                .build()
                .map_err(|_| format!("'{value}' must be a regular expression"))
        };
        let operator = match operator.to_ascii_uppercase().as_str() {
            "EQUALS" => Operator::Equals(value.clone()),
            "LIKE" => Operator::Like(pattern()?),
            "UNLIKE" => Operator::Unlike(pattern()?),
            _ => return Err(format!("'{operator}' must be EQUALS, LIKE or UNLIKE")),
        };
        Ok(Self { attribute: attribute.clone(), operator })
    }

    /// Whether an agent with these attributes will do. One that does not have the attribute fails every rule.
    pub fn allows(&self, fields: &BTreeMap<String, String>) -> bool {
        let Some(text) = fields.get(&self.attribute) else { return false };
        match &self.operator {
            Operator::Equals(value) => text == value,
            Operator::Like(pattern) => pattern.is_match(text),
            Operator::Unlike(pattern) => !pattern.is_match(text),
        }
    }
}

impl fmt::Display for Constraint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (operator, value) = match &self.operator {
            Operator::Equals(value) => ("EQUALS", value.as_str()),
            Operator::Like(pattern) => ("LIKE", pattern.as_str()),
            Operator::Unlike(pattern) => ("UNLIKE", pattern.as_str()),
        };
        write!(f, "{} {operator} {value}", self.attribute)
    }
}
