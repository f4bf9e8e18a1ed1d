//! The binary encoding. prost does the work; what it leaves out is added here: it takes a message without its
//! required fields and gives them their zero values, which the rest of the program would take for sent ones. And it makes
//! of two bytes, an empty message, a value of thousands: how much a body would take is counted before anything is made of it.

use bytes::Bytes;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

use crate::DecodeError;
use crate::error::{Missing, Step};
use crate::json::MESSAGES_LIMIT;

/// A generated message of any package, also of the internal ones.
pub trait Described: prost::Message + Default {
    /// Its name without the package and enclosing messages.
    const NAME: &'static str;
    /// Its size, its required fields, and the messages in it.
    const SCHEMA: &'static Schema;
}

/// What has to be looked at to know whether a message is complete and how much memory it takes.
#[derive(Debug)]
pub struct Schema {
    /// Bytes of the value made of it, not counting what it points to.
    pub size: usize,
    /// Required fields and messages, by number.
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
/// Bytes that are no such message, nesting beyond 100 levels, more messages than fit into [`MESSAGES_LIMIT`], missing
/// required fields. A message that comes in
/// two parts, which no encoder writes, is refused when one of the parts is incomplete by itself.
pub fn decode<M: Described>(body: &[u8]) -> Result<M, DecodeError> {
    let fail = |reason| DecodeError::Protobuf { message: M::NAME, reason };
    let mut inspection = Inspection::default();
    let inspected = inspection.message(M::SCHEMA, body, 0);
    if inspection.size > MESSAGES_LIMIT {
        return Err(fail(format!("more messages than fit into {MESSAGES_LIMIT} bytes")));
    }
    // What is malformed for us is so for prost, which says it better, and not later than we noticed.
    let message = M::decode(body).map_err(|error| fail(error.to_string()))?;
    inspected.map_err(|Malformed(reason)| fail(reason))?;
    let missing = inspection.missing;
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

/// Bytes that are no message.
struct Malformed(String);

impl From<prost::DecodeError> for Malformed {
    fn from(error: prost::DecodeError) -> Self {
        Self(error.to_string())
    }
}

/// As prost's own limit.
const NESTING: usize = 100;

/// A look at a body before anything is made of it.
#[derive(Default)]
struct Inspection {
    /// Of all messages so far, in bytes.
    size: usize,
    missing: Missing,
}

impl Inspection {
    /// Stops at what is malformed, nested too deep, or too much.
    fn message(&mut self, schema: &Schema, body: &[u8], depth: usize) -> Result<(), Malformed> {
        self.size += schema.size;
        if depth > NESTING || self.size > MESSAGES_LIMIT {
            return Err(Malformed("too many messages, or in too many levels".to_owned()));
        }
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
                    let from = self.missing.paths.len();
                    self.message(schema, delimited(&mut rest)?, depth + 1)?;
                    if self.missing.paths.len() > from {
                        if repeated {
                            let index = occurrences(&body[..before], number)?;
                            self.missing.prefix(from, &Step::Index(index));
                        }
                        self.missing.prefix(from, &Step::Field(field.name));
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
                self.missing.add(field.name);
            }
        }
        Ok(())
    }
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
