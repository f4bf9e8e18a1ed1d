//! Where a job may run: rules about the attributes of agents.

use std::collections::BTreeMap;
use std::fmt;

use regex::{Regex, RegexBuilder};
use sdk::offer::Offer;

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

    /// Whether an agent with these attributes will do. One that does not have the attribute fails every rule; a set
    /// is looked at member by member, and ranges match no pattern.
    pub fn allows(&self, fields: &BTreeMap<String, String>) -> bool {
        let Some(text) = fields.get(&self.attribute) else { return false };
        let range = text.starts_with('[') && text.ends_with(']');
        let set = text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
        let any = |holds: &dyn Fn(&str) -> bool| {
            holds(text) || set.is_some_and(|members| members.split(',').any(holds))
        };
        match &self.operator {
            Operator::Equals(value) => any(&|member| member == value),
            Operator::Like(pattern) => !range && any(&|member| pattern.is_match(member)),
            Operator::Unlike(pattern) => !range && !any(&|member| pattern.is_match(member)),
        }
    }
}

/// What constraints may ask about an offer's agent. An attribute named `hostname` takes the place of the agent's name
/// on the network (Chronos adds that name only where the agent declares none).
pub(crate) fn fields(offer: &Offer) -> BTreeMap<String, String> {
    let mut fields = offer.fields();
    if let Some(declared) = offer.attributes.get("hostname") {
        fields.insert("hostname".to_owned(), declared.to_string());
    }
    fields
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

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(words: [&str; 3], value: &str) -> bool {
        let constraint = Constraint::parse(&words.map(str::to_owned)).unwrap();
        constraint.allows(&BTreeMap::from([("a".to_owned(), value.to_owned())]))
    }

    #[test]
    fn sets_are_matched_member_by_member_and_ranges_by_no_pattern() {
        assert!(allows(["a", "LIKE", "b.*"], "{ab,bc}"));
        assert!(!allows(["a", "UNLIKE", "b.*"], "{ab,bc}"));
        assert!(allows(["a", "UNLIKE", "c.*"], "{ab,bc}"));
        assert!(allows(["a", "EQUALS", "bc"], "{ab,bc}"));
        assert!(!allows(["a", "EQUALS", "b"], "{ab,bc}"));
        assert!(!allows(["a", "LIKE", ".*"], "[1-2]"));
        assert!(!allows(["a", "UNLIKE", "x"], "[1-2]"));
        assert!(allows(["a", "LIKE", "1.*"], "1.5"));
        // What has no members has no empty one either.
        assert!(!allows(["a", "LIKE", "(ssd)?"], "hdd"));
        assert!(allows(["a", "UNLIKE", "(ssd)?"], "hdd"));
        assert!(!allows(["a", "EQUALS", ""], "hdd"));
        assert!(!allows(["b", "UNLIKE", "x"], "y"));
    }
}
