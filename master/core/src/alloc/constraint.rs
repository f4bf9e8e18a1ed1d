//! Which agents a framework wants to be offered in a role, by what operators say of their machines.

use std::collections::BTreeMap;

use regex::Regex;

/// What can be asked of an agent.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Traits {
    pub hostname: String,
    pub region: Option<String>,
    pub zone: Option<String>,
    /// The first of each name. Without a text where the attribute is of another kind.
    pub attributes: BTreeMap<String, Option<String>>,
}

/// One of these groups must hold, each of them whole.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Constraints(pub Vec<Vec<Constraint>>);

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Constraint {
    pub of: Trait,
    pub holds: Predicate,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trait {
    Hostname,
    Region,
    Zone,
    Attribute(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Predicate {
    Exists,
    NotExists,
    Equals(String),
    NotEquals(String),
    Matches(Pattern),
    NotMatches(Pattern),
}

/// A regular expression that the whole text has to match.
#[derive(Clone, Debug)]
pub struct Pattern(pub Regex);

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl Eq for Pattern {}

/// A trait as an agent has it.
enum Found<'a> {
    Nothing,
    Text(&'a str),
    /// An attribute that is a number or a list of ranges.
    NoText,
}

impl Traits {
    fn find(&self, of: &Trait) -> Found<'_> {
        let text = match of {
            Trait::Hostname => Some(&self.hostname),
            Trait::Region => self.region.as_ref(),
            Trait::Zone => self.zone.as_ref(),
            Trait::Attribute(name) => match self.attributes.get(name) {
                Some(None) => return Found::NoText,
                found => found.and_then(Option::as_ref),
            },
        };
        text.map_or(Found::Nothing, |text| Found::Text(text))
    }
}

impl Predicate {
    fn of(&self, found: &Found<'_>) -> bool {
        match (self, found) {
            (Self::Exists, found) => !matches!(found, Found::Nothing),
            (Self::NotExists, found) => matches!(found, Found::Nothing),
            (Self::Equals(_) | Self::Matches(_), Found::Nothing) => false,
            (Self::NotEquals(_) | Self::NotMatches(_), Found::Nothing) => true,
            // No text can be held against it: whether it will do is for the scheduler to say.
            (_, Found::NoText) => true,
            (Self::Equals(value), Found::Text(text)) => value == text,
            (Self::NotEquals(value), Found::Text(text)) => value != text,
            (Self::Matches(pattern), Found::Text(text)) => pattern.0.is_match(text),
            (Self::NotMatches(pattern), Found::Text(text)) => !pattern.0.is_match(text),
        }
    }
}

impl Constraints {
    /// Whether an agent may be offered.
    pub fn hold(&self, traits: &Traits) -> bool {
        let holds = |constraint: &Constraint| constraint.holds.of(&traits.find(&constraint.of));
        self.0.iter().any(|group| group.iter().all(holds))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn traits() -> Traits {
        Traits {
            hostname: "box1".to_owned(),
            region: Some("east".to_owned()),
            zone: None,
            attributes: [("rack".to_owned(), Some("r7".to_owned())), ("units".to_owned(), None)].into(),
        }
    }

    fn one(of: Trait, holds: Predicate) -> bool {
        Constraints(vec![vec![Constraint { of, holds }]]).hold(&traits())
    }

    fn attribute(name: &str) -> Trait {
        Trait::Attribute(name.to_owned())
    }

    #[test]
    fn predicates_of_what_is_there_is_not_and_is_no_text() {
        let pattern = || Pattern(Regex::new("^(?:r[0-9])$").unwrap());
        // Name, and whether it exists, equals `r7`, does not, matches `r[0-9]`, does not.
        for (name, expected) in [
            ("rack", [true, true, false, true, false]),
            ("units", [true, true, true, true, true]),
            ("none", [false, false, true, false, true]),
        ] {
            let predicates = [
                Predicate::Exists,
                Predicate::Equals("r7".to_owned()),
                Predicate::NotEquals("r7".to_owned()),
                Predicate::Matches(pattern()),
                Predicate::NotMatches(pattern()),
            ];
            assert_eq!(predicates.map(|predicate| one(attribute(name), predicate)), expected, "{name}");
            assert_eq!(one(attribute(name), Predicate::NotExists), !expected[0], "{name}");
        }
        assert!(one(Trait::Hostname, Predicate::Equals("box1".to_owned())));
        assert!(one(Trait::Region, Predicate::Equals("east".to_owned())));
        assert!(one(Trait::Zone, Predicate::NotExists));
    }

    #[test]
    fn one_group_must_hold_whole() {
        let rack =
            |value: &str| Constraint { of: attribute("rack"), holds: Predicate::Equals(value.to_owned()) };
        let east = || Constraint { of: Trait::Region, holds: Predicate::Equals("east".to_owned()) };
        let holds = |groups: Vec<Vec<Constraint>>| Constraints(groups).hold(&traits());
        assert!(holds(vec![vec![rack("r7"), east()]]));
        assert!(!holds(vec![vec![rack("r8"), east()]]));
        assert!(holds(vec![vec![rack("r8"), east()], vec![east()]]));
        assert!(!holds(vec![vec![rack("r8")], vec![rack("r9")]]));
    }
}
