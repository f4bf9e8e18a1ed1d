//! Resources as people write and read them: `cpus:4;mem:8192;ports:[31000-32000];cpus(eng):2`.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use wire::{DecodeError, v1};

use super::bag::{Bag, Item};
use super::convert::{self, ResourceError, Rule};
use super::key::{Disk, Name, Reservation, SourceKind, Tag};
use super::value::Value;
use crate::limits;
use crate::quantity::Quantity;
use crate::ranges::Ranges;
use crate::role::{Role, RoleError};

/// Why a text does not describe resources or attributes.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum TextError {
    #[error("'{0}' must have the form name:value")]
    Shape(String),
    #[error("'{0}' must have the form name(role):value")]
    Parentheses(String),
    #[error("'{text}': {source}")]
    Role { text: String, source: RoleError },
    #[error("'{text}': value must be a number, [first-last, ...] or {{item, ...}}: {reason}")]
    Value { text: String, reason: String },
    #[error("'{text}' is invalid: {rule}")]
    Rule { text: String, rule: Rule },
    #[error("must not have more than {max} entries", max = limits::RESOURCES)]
    TooMany,
    #[error("must be a JSON array of Resource objects: {0}")]
    Json(String),
    #[error("{resource}: '{field} must not be set")]
    NotConfigured { resource: String, field: &'static str },
    #[error(transparent)]
    Resource(#[from] ResourceError),
}

impl Bag {
    /// Reads the text of the agent's flag. A role in parentheses reserves statically; amounts named twice add up;
    /// zero is the same as absent. A text that begins with `[` is a JSON array of the API's `Resource` objects, which
    /// can say more: reservations with labels, disks, and what may be taken back (`"revocable":{}`).
    ///
    /// # Errors
    /// The text has neither form, or describes resources that cannot be.
    pub fn parse(text: &str) -> Result<Self, TextError> {
        if text.trim_start().starts_with('[') {
            return Self::parse_json(text);
        }
        let mut bag = Self::new();
        for (count, entry) in entries(text).enumerate() {
            if count == limits::RESOURCES {
                return Err(TextError::TooMany);
            }
            let (head, value) = entry.split_once(':').ok_or_else(|| TextError::Shape(entry.into()))?;
            let (name, tag) = parse_head(entry, head)?;
            let value = parse_value(value.trim())
                .map_err(|reason| TextError::Value { text: entry.into(), reason })?
                .ok_or_else(|| TextError::Value {
                    text: entry.into(),
                    reason: "text is for attributes".into(),
                })?;
            convert::check_kind(&name, &value)
                .map_err(|rule| TextError::Rule { text: entry.into(), rule })?;
            bag.try_insert(Item::new(name, tag, value))
                .map_err(|_| TextError::Rule { text: entry.into(), rule: Rule::Overlap })?;
        }
        Ok(bag)
    }

    fn parse_json(text: &str) -> Result<Self, TextError> {
        // The dialect reads messages, so the array is read as the one list of a message that has nothing else.
        let message = format!("{{\"resources\":{text}}}");
        let read: v1::TaskResourceLimitation = wire::json::from_slice(message.as_bytes()).map_err(unread)?;
        let bag = Self::from_wire(&read.resources)?;
        for item in &bag {
            if let Some(field) = item.tag().and_then(not_configured) {
                return Err(TextError::NotConfigured { resource: item.to_string(), field });
            }
        }
        Ok(bag)
    }
}

/// Without the name of the message, of which nobody outside has heard.
fn unread(error: DecodeError) -> TextError {
    TextError::Json(match error {
        DecodeError::Shape { problem, .. } => problem.to_string(),
        other => other.to_string(),
    })
}

/// What of a resource comes to be by an operation or an allocation, and is nothing that a machine has.
fn not_configured(tag: &Tag) -> Option<&'static str> {
    let dynamic = tag.reservations.iter().any(|layer| layer.dynamic);
    [
        (dynamic, "reservations' of type DYNAMIC"),
        (tag.disk.is_some(), "disk'"),
        (tag.shared, "shared'"),
        (tag.provider.is_some(), "provider_id'"),
        (tag.allocated.is_some(), "allocation_info'"),
    ]
    .into_iter()
    .find_map(|(there, field)| there.then_some(field))
}

/// The parts between semicolons; blank ones are nothing.
pub(crate) fn entries(text: &str) -> impl Iterator<Item = &str> {
    text.split([';', '\n']).map(str::trim).filter(|entry| !entry.is_empty())
}

fn parse_head(entry: &str, head: &str) -> Result<(Name, Tag), TextError> {
    let head = head.trim();
    let (name, role) = match head.split_once('(') {
        None => (head, None),
        Some((name, rest)) => {
            let role = rest.strip_suffix(')').ok_or_else(|| TextError::Parentheses(entry.into()))?;
            (name.trim(), Some(role.trim()))
        }
    };
    if name.is_empty() {
        return Err(TextError::Shape(entry.into()));
    }
    let mut tag = Tag::default();
    if let Some(role) = role {
        let role: Role = role.parse().map_err(|source| TextError::Role { text: entry.into(), source })?;
        if !role.is_any() {
            tag.reservations.push(Reservation::fixed(role));
        }
    }
    Ok((Name::from(name), tag))
}

/// A number, intervals or a set by the first character; `None` for any other text.
pub(crate) fn parse_value(text: &str) -> Result<Option<Value>, String> {
    if let Some(rest) = text.strip_prefix('[') {
        let inner = rest.strip_suffix(']').ok_or("']' is missing at the end")?;
        return parse_ranges(inner).map(Value::Ranges).map(Some);
    }
    if let Some(rest) = text.strip_prefix('{') {
        let inner = rest.strip_suffix('}').ok_or("'}' is missing at the end")?;
        return parse_set(inner).map(Some);
    }
    // The standard parser also reads "inf" and "NaN", which an attribute may well have as its text.
    if !text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '.' | '-' | '+')) {
        return Ok(None);
    }
    let Ok(number) = text.parse::<f64>() else { return Ok(None) };
    Quantity::from_f64(number)
        .map(|quantity| Some(Value::Scalar(quantity)))
        .map_err(|error| error.to_string())
}

fn parse_ranges(inner: &str) -> Result<Ranges, String> {
    let mut pairs = Vec::new();
    for part in inner.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        if pairs.len() == limits::RANGES {
            return Err(format!("more than {} ranges", limits::RANGES));
        }
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let number = |text: &str| {
            text.trim().parse::<u64>().map_err(|_| format!("'{part}' must be first-last in whole numbers"))
        };
        pairs.push((number(first)?, number(last)?));
    }
    Ranges::distinct(pairs).map_err(|error| error.to_string())
}

fn parse_set(inner: &str) -> Result<Value, String> {
    let mut set = BTreeSet::new();
    for item in inner.split(',').map(str::trim).filter(|item| !item.is_empty()) {
        if set.len() == limits::SET_ITEMS {
            return Err(format!("more than {} items", limits::SET_ITEMS));
        }
        if !set.insert(Arc::from(item)) {
            return Err(format!("'{item}' is there twice"));
        }
    }
    Ok(Value::Set(set.into()))
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scalar(quantity) => write!(f, "{quantity}"),
            Self::Ranges(ranges) => write!(f, "{ranges}"),
            Self::Set(set) => {
                let items: Vec<&str> = set.iter().map(|item| &**item).collect();
                write!(f, "{{{}}}", items.join(", "))
            }
            Self::Whole { size, copies: 1 } => write!(f, "{size}"),
            Self::Whole { size, copies } => write!(f, "{size}<{copies}>"),
        }
    }
}

/// `cpus(allocated: web):64`, as in the messages schedulers see.
impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.name())?;
        if let Some(tag) = self.tag() {
            write!(f, "{tag}")?;
        }
        write!(f, ":{}", self.value())
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(role) = &self.allocated {
            write!(f, "(allocated: {role})")?;
        }
        if !self.reservations.is_empty() {
            let layers: Vec<String> = self.reservations.iter().map(layer).collect();
            write!(f, "(reservations: [{}])", layers.join(", "))?;
        }
        if let Some(disk) = &self.disk {
            write!(f, "[{disk}]")?;
        }
        if self.revocable {
            f.write_str("{REV}")?;
        }
        if self.shared {
            f.write_str("<SHARED>")?;
        }
        Ok(())
    }
}

fn layer(layer: &Reservation) -> String {
    let kind = if layer.dynamic { "DYNAMIC" } else { "STATIC" };
    let principal = layer.principal.as_ref().map(|principal| format!(",{principal}")).unwrap_or_default();
    format!("({kind},{}{principal})", layer.role)
}

impl fmt::Display for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(source) = &self.source {
            let kind = match source.kind {
                SourceKind::Path => "PATH",
                SourceKind::Mount => "MOUNT",
                SourceKind::Block => "BLOCK",
                SourceKind::Raw => "RAW",
            };
            let name = source.root.as_ref().or(source.id.as_ref());
            write!(f, "{kind}{}", name.map(|name| format!(":{name}")).unwrap_or_default())?;
        }
        if let Some(persistence) = &self.persistence {
            let comma = if self.source.is_some() { "," } else { "" };
            write!(f, "{comma}{}", persistence.id)?;
        }
        if let Some(path) = &self.container_path {
            write!(f, ":{path}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Items joined by `; `, as in the messages schedulers see.
impl fmt::Display for Bag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, item) in self.iter().enumerate() {
            let separator = if i == 0 { "" } else { "; " };
            write!(f, "{separator}{item}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Bag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{self}>")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flag_text() {
        let bag = Bag::parse(
            "cpus:4; mem:8192;ports:[31000-32000, 5-5,80];cpus(eng):2;zones:{b, a};gpus:0;cpus:0.5;",
        )
        .unwrap();
        assert_eq!(
            bag.to_string(),
            "cpus:4.5; cpus(reservations: [(STATIC,eng)]):2; mem:8192; ports:[5-5, 80-80, 31000-32000]; zones:{a, b}"
        );
        assert_eq!(Bag::parse("cpus(*):4").unwrap(), Bag::parse("cpus:4").unwrap());
        assert_eq!(Bag::parse(" ; ").unwrap(), Bag::new());
    }

    #[test]
    fn flag_json() {
        let text = r#" [
            {"name":"cpus","type":"SCALAR","scalar":{"value":4}},
            {"name":"cpus","type":"SCALAR","scalar":{"value":2},"revocable":{}},
            {"name":"mem","type":"SCALAR","scalar":{"value":512},"role":"eng"},
            {"name":"disk","type":"SCALAR","scalar":{"value":64},"reservations":[{"type":"STATIC","role":"eng"}]},
            {"name":"ports","type":"RANGES","ranges":{"range":[{"begin":31000,"end":31009}]}}
        ]"#;
        let bag = Bag::parse(text).unwrap();
        assert_eq!(
            bag.to_string(),
            "cpus:4; cpus{REV}:2; disk(reservations: [(STATIC,eng)]):64; mem(reservations: [(STATIC,eng)]):512; ports:[31000-31009]"
        );
        assert_eq!(Bag::parse("[]").unwrap(), Bag::new());
    }

    #[test]
    fn refused_json() {
        let cpus =
            |more: &str| format!(r#"[{{"name":"cpus","type":"SCALAR","scalar":{{"value":1}},{more}}}]"#);
        for (text, part) in [
            ("[1]".to_owned(), "JSON array of Resource objects"),
            ("[{}]".to_owned(), "name"),
            (r#"[{"name":"cpus"}]"#.to_owned(), "type"),
            ("[".to_owned(), "JSON array of Resource objects"),
            (r#"[{"name":"cpus","type":"SCALAR","scalar":{"value":-1}}]"#.to_owned(), "value <= 0"),
            (cpus(r#""reservations":[{"type":"DYNAMIC","role":"eng"}]"#), "DYNAMIC must not be set"),
            (cpus(r#""allocation_info":{"role":"eng"}"#), "'allocation_info' must not be set"),
            (cpus(r#""provider_id":{"value":"p"}"#), "'provider_id' must not be set"),
            (cpus(r#""role":"a//b""#), "slash"),
        ] {
            let error = Bag::parse(&text).unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
            assert!(!error.contains("TaskResourceLimitation"), "{text}: {error}");
        }
    }

    #[test]
    fn refused_texts() {
        for (text, part) in [
            ("cpus", "form name:value"),
            (":4", "form name:value"),
            ("cpus(eng:4", "name(role):value"),
            ("cpus(a//b):4", "slash"),
            ("cpus:four", "must be a number"),
            ("cpus:-1", "must not be negative"),
            ("cpus:NaN", "must be a number"),
            ("cpus:1e400", "must be finite"),
            ("cpus:[1-2]", "'cpus' must be SCALAR"),
            ("ports:5", "'ports' must be RANGES"),
            ("ports:[5-4]", "must not end before it begins"),
            ("ports:[1-5,5-9]", "must not overlap"),
            ("ports:[1-5];ports:[5-9]", "counted twice"),
            ("ports:[1-", "']' is missing"),
            ("ports:[a-b]", "whole numbers"),
            ("ports:[1-99999999999999999999]", "whole numbers"),
            ("zones:{a,a}", "there twice"),
            ("gpus:1.5", "whole"),
        ] {
            let error = Bag::parse(text).unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
