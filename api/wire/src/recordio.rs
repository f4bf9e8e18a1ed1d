//! RecordIO, the framing of every stream: the length of a record in decimal, a line feed, the record.
//!
//! Formally a reader may cut the bytes anywhere. Clients in use do not: they take each HTTP chunk for one whole
//! record. [`encode`] therefore gives one buffer, to be sent as one chunk.

use std::io::Write;

use bytes::{Buf, Bytes, BytesMut};

/// The most digits a length may have: those of 2^64 - 1.
const DIGITS: usize = 20;

/// Frames one record: length, line feed and payload in one piece.
pub fn encode(payload: &[u8]) -> Bytes {
    let mut framed = Vec::with_capacity(payload.len() + DIGITS + 1);
    // Writing to a vector does not fail.
    let _ = writeln!(framed, "{}", payload.len());
    framed.extend_from_slice(payload);
    framed.into()
}

/// Why a stream is no sequence of records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Something else than a decimal length and a line feed stands before a record.
    #[error("the length of a record must be decimal digits before a line feed")]
    Length,
    /// A record is announced that is longer than the reader takes.
    #[error("a record of {length} bytes is longer than the limit of {limit}")]
    TooLong {
        /// As announced.
        length: u64,
        /// What the decoder was made with.
        limit: usize,
    },
    /// The stream ended inside a record.
    #[error("the stream ended inside a record")]
    Truncated,
}

/// Takes records out of a stream, however it is cut.
///
/// Holds at most the part of one record that came with earlier input: a record that lies whole in the input is
/// handed out as a slice of it. Memory grows with what arrived, not with the length announced, so that a peer
/// cannot reserve it with a number.
#[derive(Debug)]
pub struct Decoder {
    limit: usize,
    length: u64,
    digits: usize,
    /// Present between the line feed and the end of a record.
    body: Option<usize>,
    partial: BytesMut,
}

impl Decoder {
    /// A decoder that refuses records of more than `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self { limit, length: 0, digits: 0, body: None, partial: BytesMut::new() }
    }

    /// The next record, taken from the front of `input`; `None` when the input is used up. Empty records mean
    /// nothing and are left out.
    ///
    /// # Errors
    /// A bad length, or one beyond the limit. The stream cannot be read on after that.
    pub fn decode(&mut self, input: &mut Bytes) -> Result<Option<Bytes>, FrameError> {
        loop {
            let length = match self.body {
                Some(length) => length,
                None => match self.header(input)? {
                    Some(length) => length,
                    None => return Ok(None),
                },
            };
            let wanted = length - self.partial.len();
            if self.partial.is_empty() && input.len() >= wanted {
                self.body = None;
                if length == 0 {
                    continue;
                }
                return Ok(Some(input.split_to(length)));
            }
            self.body = Some(length);
            let taken = input.split_to(wanted.min(input.len()));
            self.partial.extend_from_slice(&taken);
            if self.partial.len() < length {
                return Ok(None);
            }
            self.body = None;
            return Ok(Some(std::mem::take(&mut self.partial).freeze()));
        }
    }

    /// To be called at the end of the stream.
    ///
    /// # Errors
    /// When it ended inside a record.
    pub fn finish(&self) -> Result<(), FrameError> {
        if self.digits > 0 || self.body.is_some() { Err(FrameError::Truncated) } else { Ok(()) }
    }

    fn header(&mut self, input: &mut Bytes) -> Result<Option<usize>, FrameError> {
        while input.has_remaining() {
            match input.get_u8() {
                digit @ b'0'..=b'9' if self.digits < DIGITS => {
                    let digit = u64::from(digit - b'0');
                    let length = self.length.checked_mul(10).and_then(|tens| tens.checked_add(digit));
                    self.length = length.ok_or(FrameError::Length)?;
                    self.digits += 1;
                }
                b'\n' if self.digits > 0 => {
                    let length = std::mem::take(&mut self.length);
                    self.digits = 0;
                    return match usize::try_from(length) {
                        Ok(fitting) if fitting <= self.limit => Ok(Some(fitting)),
                        _ => Err(FrameError::TooLong { length, limit: self.limit }),
                    };
                }
                _ => return Err(FrameError::Length),
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn drain(decoder: &mut Decoder, mut input: Bytes) -> Result<Vec<Bytes>, FrameError> {
        let mut records = Vec::new();
        while let Some(record) = decoder.decode(&mut input)? {
            records.push(record);
        }
        Ok(records)
    }

    #[test]
    fn a_record_is_its_length_a_line_feed_and_its_bytes() {
        assert_eq!(encode(br#"{"type":"HEARTBEAT"}"#), &b"20\n{\"type\":\"HEARTBEAT\"}"[..]);
    }

    #[test]
    fn a_whole_record_is_not_copied() {
        let input = Bytes::from_static(b"3\nabc2\nde");
        let records = drain(&mut Decoder::new(10), input.clone()).unwrap();
        assert_eq!(records, ["abc", "de"]);
        assert_eq!(records[0].as_ptr(), input[2..].as_ptr());
    }

    #[test]
    fn empty_records_are_left_out() {
        assert_eq!(drain(&mut Decoder::new(10), Bytes::from_static(b"0\n1\nx0\n")).unwrap(), ["x"]);
    }

    #[test]
    fn what_is_no_length_is_refused() {
        for wrong in
            ["\n", "x\n", "1 \n", "1\r\n", "-1\n", "99999999999999999999\n", "000000000000000000001\n"]
        {
            let result = drain(&mut Decoder::new(10), Bytes::copy_from_slice(wrong.as_bytes()));
            assert_eq!(result, Err(FrameError::Length), "{wrong:?}");
        }
    }

    #[test]
    fn a_record_beyond_the_limit_is_refused_when_announced() {
        let mut decoder = Decoder::new(3);
        assert_eq!(
            drain(&mut decoder, Bytes::from_static(b"4\n")),
            Err(FrameError::TooLong { length: 4, limit: 3 })
        );
    }

    #[test]
    fn an_end_inside_a_record_is_noticed() {
        for cut in ["1", "3\nab", "3\n"] {
            let mut decoder = Decoder::new(10);
            assert_eq!(drain(&mut decoder, Bytes::copy_from_slice(cut.as_bytes())).unwrap(), [""; 0]);
            assert_eq!(decoder.finish(), Err(FrameError::Truncated), "{cut:?}");
        }
        let mut decoder = Decoder::new(10);
        drain(&mut decoder, Bytes::from_static(b"1\na")).unwrap();
        assert_eq!(decoder.finish(), Ok(()));
    }

    proptest! {
        #[test]
        fn records_survive_any_cutting(
            records in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..8),
            cuts in prop::collection::vec(0usize..400, 0..8),
        ) {
            let stream = records.iter().flat_map(|record| encode(record)).collect::<Vec<_>>();
            let mut cuts = cuts.into_iter().map(|cut| cut.min(stream.len())).collect::<Vec<_>>();
            cuts.sort_unstable();
            cuts.push(stream.len());
            let mut decoder = Decoder::new(40);
            let mut found = Vec::new();
            let mut start = 0;
            for end in cuts {
                found.extend(drain(&mut decoder, Bytes::copy_from_slice(&stream[start..end])).unwrap());
                start = end;
            }
            prop_assert_eq!(found, records);
            prop_assert_eq!(decoder.finish(), Ok(()));
        }
    }
}
