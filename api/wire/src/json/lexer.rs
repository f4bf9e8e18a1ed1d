//! The tokens of JSON, as RFC 8259 has them.

use std::borrow::Cow;

use crate::error::SyntaxError;

/// How much of the text an error quotes, in bytes.
const QUOTED: usize = 60;

/// What kind of value comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Null,
    Boolean,
    Number,
    String,
    Array,
    Object,
}

impl Kind {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Boolean => "boolean",
            Self::Number => "number",
            Self::String => "string",
            Self::Array => "array",
            Self::Object => "object",
        }
    }
}

#[derive(Debug)]
pub(super) struct Lexer<'a> {
    text: &'a [u8],
    at: usize,
    /// Whether an array or object was just opened, so that no comma stands before its first part.
    opened: bool,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a [u8]) -> Self {
        Self { text, at: 0, opened: false }
    }

    /// The kind of the value that comes next, which stays unread.
    pub(super) fn peek(&mut self) -> Result<Kind, SyntaxError> {
        match self.token() {
            Some(b'{') => Ok(Kind::Object),
            Some(b'[') => Ok(Kind::Array),
            Some(b'"') => Ok(Kind::String),
            Some(b'-' | b'0'..=b'9') => Ok(Kind::Number),
            Some(b't') if self.stands("true") => Ok(Kind::Boolean),
            Some(b'f') if self.stands("false") => Ok(Kind::Boolean),
            Some(b'n') if self.stands("null") => Ok(Kind::Null),
            _ => Err(self.error("syntax error")),
        }
    }

    fn stands(&self, word: &str) -> bool {
        self.text[self.at..].starts_with(word.as_bytes())
    }

    /// Steps over the bracket that [`Self::peek`] announced.
    pub(super) fn open(&mut self) {
        self.at += 1;
        self.opened = true;
    }

    /// Goes on to the next part of an array or object; false when `close` ended it.
    pub(super) fn next_in(&mut self, close: u8) -> Result<bool, SyntaxError> {
        let opened = std::mem::take(&mut self.opened);
        match self.token() {
            Some(byte) if byte == close => {
                self.at += 1;
                Ok(false)
            }
            Some(b',') if !opened => {
                self.at += 1;
                Ok(true)
            }
            Some(_) if opened => Ok(true),
            _ => Err(self.error("syntax error")),
        }
    }

    /// The name of a member, and the colon after it.
    pub(super) fn key(&mut self) -> Result<Cow<'a, str>, SyntaxError> {
        if self.token() != Some(b'"') {
            return Err(self.error("syntax error"));
        }
        let key = self.string()?;
        if self.token() != Some(b':') {
            return Err(self.error("syntax error"));
        }
        self.at += 1;
        Ok(key)
    }

    /// `true`, `false` or `null`.
    pub(super) fn literal(&mut self) -> Result<&'static str, SyntaxError> {
        for literal in ["true", "false", "null"] {
            if self.stands(literal) {
                self.at += literal.len();
                return Ok(literal);
            }
        }
        Err(self.error("syntax error"))
    }

    /// The text of a number.
    pub(super) fn number(&mut self) -> Result<&'a str, SyntaxError> {
        let rest = &self.text[self.at..];
        match number_length(rest) {
            Some(length) => {
                self.at += length;
                // Digits, signs, points and `e` only.
                str::from_utf8(&rest[..length]).map_err(|_| self.error("syntax error"))
            }
            None => Err(self.error("syntax error")),
        }
    }

    /// Whether the whole of `text` is a number.
    pub(super) fn is_number(text: &str) -> bool {
        number_length(text.as_bytes()) == Some(text.len())
    }

    /// A string, borrowed from the text if nothing in it is escaped.
    pub(super) fn string(&mut self) -> Result<Cow<'a, str>, SyntaxError> {
        let start = self.at + 1;
        let mut unescaped = Vec::new();
        let mut copied = start;
        self.at = start;
        loop {
            match self.text.get(self.at) {
                Some(b'"') => break,
                Some(b'\\') => {
                    unescaped.extend_from_slice(&self.text[copied..self.at]);
                    let character = self.escape()?;
                    unescaped.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                    copied = self.at;
                }
                Some(0x20..) => self.at += 1,
                _ => return Err(self.error("syntax error in a string")),
            }
        }
        let rest = &self.text[copied..self.at];
        self.at += 1;
        if copied == start {
            return str::from_utf8(rest)
                .map(Cow::Borrowed)
                .map_err(|_| self.error("a string that is not UTF-8"));
        }
        unescaped.extend_from_slice(rest);
        String::from_utf8(unescaped).map(Cow::Owned).map_err(|_| self.error("a string that is not UTF-8"))
    }

    /// What a backslash and what follows stand for.
    fn escape(&mut self) -> Result<char, SyntaxError> {
        let kind = self.text.get(self.at + 1).copied();
        self.at += 2;
        Ok(match kind {
            Some(plain @ (b'"' | b'\\' | b'/')) => char::from(plain),
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.unicode(),
            _ => return Err(self.error("unknown escape")),
        })
    }

    /// The character after `\u`, which may take two of them.
    fn unicode(&mut self) -> Result<char, SyntaxError> {
        let first = self.hexadecimal()?;
        let mut code = u32::from(first);
        if (0xd800..0xdc00).contains(&first) && self.stands("\\u") {
            self.at += 2;
            let second = u32::from(self.hexadecimal()?);
            // A second half out of its range gives a code that is no character, and with it the error below.
            code = match second.checked_sub(0xdc00) {
                Some(low) if low < 0x400 => 0x10000 + ((code - 0xd800) << 10) + low,
                _ => code,
            };
        }
        char::from_u32(code).ok_or_else(|| self.error("half of a surrogate pair"))
    }

    fn hexadecimal(&mut self) -> Result<u16, SyntaxError> {
        let digits =
            self.text.get(self.at..self.at + 4).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        let code = digits
            .and_then(|digits| str::from_utf8(digits).ok())
            .map(|digits| u16::from_str_radix(digits, 16));
        let Some(Ok(code)) = code else { return Err(self.error("unknown escape")) };
        self.at += 4;
        Ok(code)
    }

    /// Makes sure that nothing follows.
    pub(super) fn end(&mut self) -> Result<(), SyntaxError> {
        match self.token() {
            None => Ok(()),
            Some(_) => {
                let what = "Parsed JSON included non-whitespace trailing characters";
                Err(SyntaxError { line: None, ..self.error(what) })
            }
        }
    }

    /// Passes over white space; the byte after it stays unread.
    fn token(&mut self) -> Option<u8> {
        while let Some(&byte) = self.text.get(self.at) {
            if !matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
                return Some(byte);
            }
            self.at += 1;
        }
        None
    }

    /// An error at the current position.
    pub(super) fn error(&self, what: &'static str) -> SyntaxError {
        let at = self.at.min(self.text.len());
        let line = 1 + self.text[..at].iter().filter(|&&byte| byte == b'\n').count();
        let rest = &self.text[at..];
        let near = String::from_utf8_lossy(&rest[..rest.len().min(QUOTED)]).into_owned();
        SyntaxError { what, line: Some(line), near }
    }
}

/// How many bytes at the start of `text` are a number.
fn number_length(text: &[u8]) -> Option<usize> {
    let digits = |from: usize| text[from..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let mut at = usize::from(text.first() == Some(&b'-'));
    let whole = digits(at);
    if whole == 0 || (whole > 1 && text[at] == b'0') {
        return None;
    }
    at += whole;
    if text.get(at) == Some(&b'.') {
        match digits(at + 1) {
            0 => return None,
            fraction => at += 1 + fraction,
        }
    }
    if let Some(b'e' | b'E') = text.get(at) {
        at += 1;
        at += usize::from(matches!(text.get(at), Some(b'+' | b'-')));
        match digits(at) {
            0 => return None,
            exponent => at += exponent,
        }
    }
    Some(at)
}
