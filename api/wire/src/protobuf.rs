//! The binary encoding. prost does the work; what it leaves out is added here: it takes a message without its
//! required fields and gives them their zero values, which the rest of the program would take for sent ones.

use bytes::Bytes;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

use crate::DecodeError;
use crate::error::{Missing, Step};

/// A generated message of any package, also of the internal ones.
pub trait Described: prost::Message + Default {
    /// Its name without the package and enclosing messages.
    const NAME: &'static str;
    /// Its required fields, and those that lead to required ones.
    const SCHEMA: &'static Schema;
}

/// The fields of a message that have to be looked at to know whether it is complete.
#[derive(Debug)]
pub struct Schema {
    /// By number.
    pub fields: &'static [Field],
}

/// A field in a [`Schema`].
#[derive(Debug)]
pub struct Field {
    /// Its number.
    pub number: u32,
    /// As in the `.proto` file.
    pub name: &'static str,
    /// Whether a message without it is incomplete.
    pub required: bool,
    /// What it holds.
    pub content: Content,
}

/// What a [`Field`] holds.
#[derive(Debug)]
pub enum Content {
    /// Nothing that could be incomplete.
    Scalar,
    /// A required enum. A number without a name counts as absent, as in any closed enum.
    Enum(fn(i32) -> bool),
    /// A message, or several.
    Message {
        /// What to look at in it.
        schema: &'static Schema,
        /// Whether the path of an error has an index.
        repeated: bool,
    },
}

/// Reads a message and checks that its required fields are there.
///
/// # Errors
/// Bytes that are no such message, nesting beyond 100 levels, missing required fields. A message that comes in
/// two parts, which no encoder writes, is refused when one of the parts is incomplete by itself.
pub fn decode<M: Described>(body: &[u8]) -> Result<M, DecodeError> {
    let fail = |reason| DecodeError::Protobuf { message: M::NAME, reason };
    let message = M::decode(body).map_err(|error| fail(error.to_string()))?;
    let mut missing = Missing::default();
    inspect(M::SCHEMA, body, &mut missing).map_err(|Malformed(reason)| fail(reason))?;
    if missing.is_empty() {
        Ok(message)
    } else {
        Err(fail(crate::error::Problem::Missing { paths: missing.paths, more: missing.more }.to_string()))
    }
}

/// The bytes of a message.
pub fn encode<M: Described>(message: &M) -> Bytes {
    message.encode_to_vec().into()
}

/// Not to be met in practice, since prost has read the same bytes before.
struct Malformed(String);

impl From<prost::DecodeError> for Malformed {
    fn from(error: prost::DecodeError) -> Self {
        Self(error.to_string())
    }
}

/// Notes what is missing in `body`. prost has read it before and refused what is nested too deep for recursion.
fn inspect(schema: &Schema, body: &[u8], missing: &mut Missing) -> Result<(), Malformed> {
    let mut seen = 0_u64;
    let mut rest = body;
    while !rest.is_empty() {
        let before = body.len() - rest.len();
        let (number, wire_type) = decode_key(&mut rest)?;
        let found = schema.fields.binary_search_by_key(&number, |field| field.number);
        let Ok(index) = found else {
            skip_field(wire_type, number, &mut rest, DecodeContext::default())?;
            continue;
        };
        let field = &schema.fields[index];
        let mut present = true;
        match field.content {
            Content::Message { schema, repeated } if wire_type == WireType::LengthDelimited => {
                let from = missing.paths.len();
                inspect(schema, delimited(&mut rest)?, missing)?;
                if missing.paths.len() > from {
                    if repeated {
                        missing.prefix(from, &Step::Index(occurrences(&body[..before], number)?));
                    }
                    missing.prefix(from, &Step::Field(field.name));
                }
            }
            Content::Enum(known) if wire_type == WireType::Varint => {
                // As prost: a number is read as 64 bits and cut to 32.
                present = known(decode_varint(&mut rest)? as i32);
            }
            _ => skip_field(wire_type, number, &mut rest, DecodeContext::default())?,
        }
        if present {
            seen |= 1 << index;
        }
    }
    for (index, field) in schema.fields.iter().enumerate() {
        if field.required && seen & (1 << index) == 0 {
            missing.add(field.name);
        }
    }
    Ok(())
}

/// The content of a length-delimited field.
fn delimited<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], Malformed> {
    let length = decode_varint(rest)?;
    let split = usize::try_from(length).ok().and_then(|length| rest.split_at_checked(length));
    let (content, after) = split.ok_or_else(|| Malformed("a field is longer than its message".to_owned()))?;
    *rest = after;
    Ok(content)
}

/// How often a field stands in `body`: the index of its next element. Counted only once something is missing.
fn occurrences(mut body: &[u8], wanted: u32) -> Result<usize, Malformed> {
    let mut count = 0;
    while !body.is_empty() {
        let (number, wire_type) = decode_key(&mut body)?;
        skip_field(wire_type, number, &mut body, DecodeContext::default())?;
        count += usize::from(number == wanted);
    }
    Ok(count)
}

// Generated from descriptors, see `build/schema.rs`.
#[rustfmt::skip]
mod generated {
    use super::{Content, Described, Field, Schema};

    include!(concat!(env!("OUT_DIR"), "/schema.rs"));
}
