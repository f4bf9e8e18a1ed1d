//! Writes messages as JSON on one line.

use std::io;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::Json;

/// How much is gathered before it goes to a stream, in bytes.
const FLUSH: usize = 64 * 1024;

/// Receives the parts of a message in order. Commas are its own affair.
pub struct Writer<'w> {
    buffer: Vec<u8>,
    /// Where the text goes when it is not to be kept whole in memory.
    stream: Option<&'w mut dyn io::Write>,
    failure: Option<io::Error>,
}

impl<'w> Writer<'w> {
    pub(super) fn to_buffer() -> Self {
        Self { buffer: Vec::with_capacity(256), stream: None, failure: None }
    }

    pub(super) fn to_stream(stream: &'w mut dyn io::Write) -> Self {
        Self { buffer: Vec::with_capacity(FLUSH), stream: Some(stream), failure: None }
    }

    pub(super) fn into_buffer(self) -> Vec<u8> {
        self.buffer
    }

    pub(super) fn finish(mut self) -> io::Result<()> {
        self.flush_to(self.buffer.len());
        self.failure.map_or(Ok(()), Err)
    }

    fn flush_to(&mut self, end: usize) {
        let Some(stream) = &mut self.stream else { return };
        if self.failure.is_none() {
            self.failure = stream.write_all(&self.buffer[..end]).err();
        }
        self.buffer.drain(..end);
    }

    /// An object with the members of `message`.
    pub fn message(&mut self, message: &dyn Json) {
        self.buffer.push(b'{');
        message.write_members(self);
        self.buffer.push(b'}');
    }

    /// An object with what `members` writes.
    pub fn object(&mut self, members: impl FnOnce(&mut Self)) {
        self.buffer.push(b'{');
        members(self);
        self.buffer.push(b'}');
    }

    /// An array of messages, each made when its turn comes.
    pub fn messages<M: Json>(&mut self, items: impl Iterator<Item = M>) {
        self.buffer.push(b'[');
        for item in items {
            // Nobody reads the rest, which may be half a million records.
            if self.failure.is_some() {
                break;
            }
            self.element();
            self.message(&item);
        }
        self.buffer.push(b']');
    }

    /// The comma before a member or element, if there is one before it.
    fn separate(&mut self) {
        if !matches!(self.buffer.last(), Some(b'{' | b'[')) {
            self.buffer.push(b',');
        }
    }

    /// The name of a member.
    pub fn key(&mut self, name: &'static str) {
        self.separate();
        self.buffer.push(b'"');
        self.buffer.extend_from_slice(name.as_bytes());
        self.buffer.extend_from_slice(b"\":");
    }

    /// An array with what `element` writes for each item.
    pub fn list<T>(&mut self, items: &[T], element: impl Fn(&mut Self, &T)) {
        self.buffer.push(b'[');
        for item in items {
            self.element();
            element(self, item);
        }
        self.buffer.push(b']');
    }

    /// Begins an element of an array.
    fn element(&mut self) {
        // The last byte stays, because it tells whether a comma is due.
        if self.stream.is_some() && self.buffer.len() > FLUSH {
            self.flush_to(self.buffer.len() - 1);
        }
        self.separate();
    }

    /// An object with what `value` writes for each entry.
    pub fn map<'m, T: 'm>(
        &mut self,
        entries: impl Iterator<Item = (&'m String, &'m T)>,
        value: impl Fn(&mut Self, &T),
    ) {
        self.buffer.push(b'{');
        for (key, item) in entries {
            self.separate();
            self.text(key);
            self.buffer.push(b':');
            value(self, item);
        }
        self.buffer.push(b'}');
    }

    /// A string. Everything beyond ASCII is escaped: some clients compare the length of a record, which counts
    /// bytes, with the length of a decoded string.
    pub fn text(&mut self, text: &str) {
        self.buffer.push(b'"');
        let mut rest = text;
        while let Some(end) =
            rest.bytes().position(|byte| !(0x20..0x7f).contains(&byte) || matches!(byte, b'"' | b'\\'))
        {
            self.buffer.extend_from_slice(&rest.as_bytes()[..end]);
            let mut characters = rest[end..].chars();
            if let Some(character) = characters.next() {
                self.escape(character);
            }
            rest = characters.as_str();
        }
        self.buffer.extend_from_slice(rest.as_bytes());
        self.buffer.push(b'"');
    }

    fn escape(&mut self, character: char) {
        let short = match character {
            '"' => b'"',
            '\\' => b'\\',
            '\u{8}' => b'b',
            '\u{c}' => b'f',
            '\n' => b'n',
            '\r' => b'r',
            '\t' => b't',
            _ => {
                const DIGITS: &[u8; 16] = b"0123456789abcdef";
                for unit in character.encode_utf16(&mut [0; 2]) {
                    self.buffer.extend_from_slice(b"\\u");
                    for shift in [12, 8, 4, 0] {
                        self.buffer.push(DIGITS[usize::from(*unit >> shift) & 0xf]);
                    }
                }
                return;
            }
        };
        self.buffer.extend_from_slice(&[b'\\', short]);
    }

    /// A string that needs no escape: the name of a value of an enum.
    pub fn word(&mut self, word: &'static str) {
        self.buffer.push(b'"');
        self.buffer.extend_from_slice(word.as_bytes());
        self.buffer.push(b'"');
    }

    /// An array of such words.
    pub fn words(&mut self, words: impl Iterator<Item = &'static str>) {
        self.buffer.push(b'[');
        for word in words {
            self.separate();
            self.word(word);
        }
        self.buffer.push(b']');
    }

    /// Bytes in base64.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.buffer.push(b'"');
        self.buffer.extend_from_slice(STANDARD.encode(bytes).as_bytes());
        self.buffer.push(b'"');
    }

    /// `true` or `false`.
    pub fn boolean(&mut self, value: bool) {
        self.buffer.extend_from_slice(if value { b"true" } else { b"false" });
    }

    /// A number with a fraction or an exponent, the shortest that reads as the same double. What JSON has no
    /// number for is written as readers of this dialect take it: infinity as a string, no number as `null`.
    pub fn double(&mut self, value: f64) {
        let text: &[u8] = if value.is_finite() {
            return self.buffer.extend_from_slice(zmij::Buffer::new().format_finite(value).as_bytes());
        } else if value.is_nan() {
            b"null"
        } else if value > 0.0 {
            b"\"Infinity\""
        } else {
            b"\"-Infinity\""
        };
        self.buffer.extend_from_slice(text);
    }

    /// A whole number.
    pub fn integer(&mut self, value: impl itoa::Integer) {
        self.buffer.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
    }
}
