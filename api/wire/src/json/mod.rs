//! The JSON dialect of the Mesos v1 API, which is older than the canonical one of proto3 and differs from it.
//!
//! Written: names as in the `.proto` files, in their order; whole numbers as numbers; doubles always with a
//! fraction or exponent; enums by name; bytes in base64; unset fields left out, except that a declared default is
//! printed unless the field is deprecated; empty lists left out, except the top lists of the state answers.
//!
//! Read: the same, and `null` for absent, strings for numbers and booleans, one value for a list of one,
//! unknown members and unknown names of optional enums ignored.

mod duration;
mod lexer;
mod reader;
mod writer;

use std::io;

pub use reader::{Reader, Stop};
pub use writer::Writer;

use crate::{DecodeError, Message};

/// How deep objects and arrays may be nested. Reading takes stack for each level.
pub const NESTING_LIMIT: usize = 200;

/// How many bytes the messages of one text may take, not counting what they point to. An empty object is two characters and
/// stands for a whole message, some of which take thousands of bytes: without this limit a body that is let in grows a
/// thousandfold. Twenty thousand tasks in one call stay below it.
pub const MESSAGES_LIMIT: usize = 128 << 20;

/// How a message is written and read; generated for each of them.
pub trait Json {
    /// The names of the required fields.
    fn required(&self) -> &'static [&'static str];

    /// Writes the members in order.
    fn write_members(&self, writer: &mut Writer<'_>);

    /// Reads the value of one member, which is not `null`, and tells which required field that was, as a bit: the
    /// index into [`Self::required`]. Zero for an optional one.
    ///
    /// # Errors
    /// The value is not of the member's kind.
    fn read_member(&mut self, name: &str, reader: &mut Reader<'_>) -> Result<u64, Stop>;
}

impl<T: Json> Json for Box<T> {
    fn required(&self) -> &'static [&'static str] {
        (**self).required()
    }

    fn write_members(&self, writer: &mut Writer<'_>) {
        (**self).write_members(writer);
    }

    fn read_member(&mut self, name: &str, reader: &mut Reader<'_>) -> Result<u64, Stop> {
        (**self).read_member(name, reader)
    }
}

/// The message on one line, in ASCII.
pub fn to_vec<M: Message>(message: &M) -> Vec<u8> {
    let mut writer = Writer::to_buffer();
    writer.message(message);
    writer.into_buffer()
}

/// Writes the message as [`to_vec`] gives it, without holding the whole text: it goes out at the elements of
/// lists.
///
/// # Errors
/// Those of `stream`.
pub fn to_writer<M: Message>(stream: &mut dyn io::Write, message: &M) -> io::Result<()> {
    let mut writer = Writer::to_stream(stream);
    writer.message(message);
    writer.finish()
}

/// Writes an object member by member, for what is too large to be made before it is written. The text goes out
/// at the elements of lists.
///
/// # Errors
/// Those of `stream`; nothing more is made after the first.
pub fn object_to_writer(stream: &mut dyn io::Write, members: impl FnOnce(&mut Writer<'_>)) -> io::Result<()> {
    let mut writer = Writer::to_stream(stream);
    writer.object(members);
    writer.finish()
}

/// Reads a message.
///
/// # Errors
/// See [`DecodeError`].
pub fn from_slice<M: Message>(text: &[u8]) -> Result<M, DecodeError> {
    let mut message = M::default();
    Reader::document(text, M::NAME, &mut message)?;
    Ok(message)
}

// Generated from descriptors, see `build/json.rs`.
#[allow(clippy::all, unused_variables)]
#[rustfmt::skip]
mod generated {
    use super::{Json, Reader, Stop, Writer};

    /// A new element at the end of a list.
    fn grow<T: Json + Default>(list: &mut Vec<T>) -> &mut (dyn Json + '_) {
        let index = list.len();
        list.push(T::default());
        &mut list[index]
    }

    include!(concat!(env!("OUT_DIR"), "/json.rs"));
}
