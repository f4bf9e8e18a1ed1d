//! Attributes of an agent: what constraints of frameworks ask about. They are described, never consumed.

use std::fmt;
use std::sync::Arc;

use wire::v1;
use wire::v1::value::Type as WireType;

use crate::limits;
use crate::quantity::Quantity;
use crate::ranges::Ranges;
use crate::resources::{Set, TextError, Value};

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum AttributeValue {
    Scalar(Quantity),
    Ranges(Ranges),
    Set(Set),
    Text(Arc<str>),
}

/// Attributes in the order they were given. A name may be there more than once.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Attributes(Vec<(Arc<str>, AttributeValue)>);

/// An attribute of a message and the rule it breaks.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum AttributeError {
    #[error("Attribute '{name}' is invalid: {reason}")]
    Invalid { name: String, reason: String },
    #[error("'attributes' must not have more than {max} entries", max = limits::ATTRIBUTES)]
    TooMany,
}

impl Attributes {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &AttributeValue)> {
        self.0.iter().map(|(name, value)| (&**name, value))
    }

    /// The first of this name.
    pub fn get(&self, name: &str) -> Option<&AttributeValue> {
        self.iter().find(|(own, _)| *own == name).map(|(_, value)| value)
    }

    /// Reads `rack:a;level:10;ports:[1-5];keys:{a,b}`: a number, intervals or a set by the first character, else
    /// text, which may contain colons.
    pub fn parse(text: &str) -> Result<Self, TextError> {
        let mut out = Vec::new();
        for entry in crate::resources::text_entries(text) {
            if out.len() == limits::ATTRIBUTES {
                return Err(TextError::TooMany);
            }
            let (name, value) = entry.split_once(':').ok_or_else(|| TextError::Shape(entry.into()))?;
            let (name, value) = (name.trim(), value.trim());
            if name.is_empty() || value.is_empty() {
                return Err(TextError::Shape(entry.into()));
            }
            // A negative number is no amount, but nothing hinders it from being a text.
            let parsed = match crate::resources::text_value(value) {
                Ok(parsed) => parsed,
                Err(_) if value.starts_with('-') => None,
                Err(reason) => return Err(TextError::Value { text: entry.into(), reason }),
            };
            out.push((
                name.into(),
                parsed.map_or_else(|| AttributeValue::Text(value.into()), AttributeValue::from),
            ));
        }
        Ok(Self(out))
    }

    pub fn from_wire(attributes: &[v1::Attribute]) -> Result<Self, AttributeError> {
        if attributes.len() > limits::ATTRIBUTES {
            return Err(AttributeError::TooMany);
        }
        let read_one = |attribute: &v1::Attribute| match read(attribute) {
            Ok(value) => Ok((Arc::from(attribute.name.as_str()), value)),
            Err(reason) => Err(AttributeError::Invalid { name: attribute.name.clone(), reason }),
        };
        attributes.iter().map(read_one).collect::<Result<_, _>>().map(Self)
    }

    pub fn to_wire(&self) -> Vec<v1::Attribute> {
        self.0.iter().map(|(name, value)| write(name, value)).collect()
    }
}

fn read(attribute: &v1::Attribute) -> Result<AttributeValue, String> {
    if attribute.name.is_empty() {
        return Err("'name' must not be empty".into());
    }
    let unset = |field: &str| format!("'{field}' must be set as 'type' says so");
    match WireType::try_from(attribute.r#type) {
        Ok(WireType::Scalar) => {
            let scalar = attribute.scalar.as_ref().ok_or_else(|| unset("scalar"))?;
            let quantity = Quantity::from_f64(scalar.value).map_err(|error| format!("'scalar' {error}"))?;
            Ok(AttributeValue::Scalar(quantity))
        }
        Ok(WireType::Ranges) => {
            let ranges = attribute.ranges.as_ref().ok_or_else(|| unset("ranges"))?;
            if ranges.range.len() > limits::RANGES {
                return Err(format!("'ranges' must not have more than {} entries", limits::RANGES));
            }
            let pairs = ranges.range.iter().map(|range| (range.begin, range.end));
            Ranges::distinct(pairs).map(AttributeValue::Ranges).map_err(|error| format!("'ranges': {error}"))
        }
        Ok(WireType::Set) => {
            let set = attribute.set.as_ref().ok_or_else(|| unset("set"))?;
            if set.item.len() > limits::SET_ITEMS {
                return Err(format!("'set' must not have more than {} entries", limits::SET_ITEMS));
            }
            let items = set.item.iter().map(|item| Arc::from(item.as_str()));
            Ok(AttributeValue::Set(Arc::new(items.collect())))
        }
        Ok(WireType::Text) => {
            let text = attribute.text.as_ref().ok_or_else(|| unset("text"))?;
            Ok(AttributeValue::Text(text.value.as_str().into()))
        }
        Err(_) => Err("'type' must be SCALAR, RANGES, SET or TEXT".into()),
    }
}

fn write(name: &str, value: &AttributeValue) -> v1::Attribute {
    let mut out = v1::Attribute { name: name.to_owned(), ..Default::default() };
    match value {
        AttributeValue::Scalar(quantity) => {
            out.r#type = WireType::Scalar.into();
            out.scalar = Some(v1::value::Scalar { value: quantity.as_f64() });
        }
        AttributeValue::Ranges(ranges) => {
            let range =
                |range: &crate::ranges::Range| v1::value::Range { begin: range.first, end: range.last };
            out.r#type = WireType::Ranges.into();
            out.ranges = Some(v1::value::Ranges { range: ranges.as_slice().iter().map(range).collect() });
        }
        AttributeValue::Set(set) => {
            out.r#type = WireType::Set.into();
            out.set = Some(v1::value::Set { item: set.iter().map(|item| item.to_string()).collect() });
        }
        AttributeValue::Text(text) => {
            out.r#type = WireType::Text.into();
            out.text = Some(v1::value::Text { value: text.to_string() });
        }
    }
    out
}

impl From<Value> for AttributeValue {
    fn from(value: Value) -> Self {
        match value {
            Value::Scalar(quantity) | Value::Whole { size: quantity, .. } => Self::Scalar(quantity),
            Value::Ranges(ranges) => Self::Ranges(ranges),
            Value::Set(set) => Self::Set(set),
        }
    }
}

/// As constraints compare it: a text bare, `10`, `[1-5]`, `{a, b}`.
impl fmt::Display for AttributeValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scalar(quantity) => write!(f, "{quantity}"),
            Self::Ranges(ranges) => write!(f, "{ranges}"),
            Self::Set(set) => write!(f, "{}", Value::Set(Arc::clone(set))),
            Self::Text(text) => f.write_str(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_by_their_look() {
        let read =
            Attributes::parse("rack:a; level:10.5;ports:[1-5];keys:{b,a};image:repo:tag;t:-3;n:nan;v:1.2.3")
                .unwrap();
        let shown: Vec<String> = read.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(
            shown,
            [
                "rack=a",
                "level=10.5",
                "ports=[1-5]",
                "keys={a, b}",
                "image=repo:tag",
                "t=-3",
                "n=nan",
                "v=1.2.3"
            ]
        );
        assert!(matches!(read.get("level"), Some(AttributeValue::Scalar(_))));
        for name in ["rack", "t", "n", "v", "image"] {
            assert!(matches!(read.get(name), Some(AttributeValue::Text(_))), "{name}");
        }
        assert_eq!(Attributes::from_wire(&read.to_wire()).unwrap(), read);
    }

    #[test]
    fn refused() {
        for text in ["rack", ":a", "rack:", "ports:[1-", "keys:{a"] {
            assert!(Attributes::parse(text).is_err(), "{text}");
        }
        let bad =
            v1::Attribute { name: "level".into(), r#type: WireType::Scalar.into(), ..Default::default() };
        assert_eq!(
            Attributes::from_wire(&[bad]).unwrap_err().to_string(),
            "Attribute 'level' is invalid: 'scalar' must be set as 'type' says so"
        );
    }
}
