//! Server-sent events out of a stream of bytes. Pure.

use bytes::BytesMut;

use crate::limits::EVENT_LINE_BYTES;

/// One event, as the stream has it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Frame {
    /// The event's name; empty when the stream gave none.
    pub event: String,
    pub data: String,
}

/// A line too long to be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a line of the event stream is longer than {EVENT_LINE_BYTES} bytes")]
pub struct LineTooLong;

/// Takes bytes as they come, gives events as they are complete.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: BytesMut,
    /// How much of the buffer holds no line end.
    scanned: usize,
    frame: Frame,
    last_id: Option<String>,
}

impl Decoder {
    /// The id of the newest event, to be sent as `Last-Event-ID` with the next connection.
    pub fn last_id(&self) -> Option<&str> {
        self.last_id.as_deref()
    }

    /// A new connection goes on after the last id; what the old one left unfinished is dropped.
    pub fn reconnected(&mut self) {
        self.buffer.clear();
        self.scanned = 0;
        self.frame = Frame::default();
    }

    /// Takes the next bytes and hands out what they complete.
    ///
    /// # Errors
    /// A line without end; the connection is of no further use.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Vec<Frame>, LineTooLong> {
        self.buffer.extend_from_slice(bytes);
        let mut frames = Vec::new();
        while let Some(end) = self.buffer[self.scanned..].iter().position(|byte| *byte == b'\n') {
            let line = self.buffer.split_to(self.scanned + end + 1);
            self.scanned = 0;
            let line = String::from_utf8_lossy(&line[..line.len() - 1]);
            frames.extend(self.line(line.strip_suffix('\r').unwrap_or(&line)));
        }
        self.scanned = self.buffer.len();
        if self.scanned > EVENT_LINE_BYTES || self.frame.data.len() > EVENT_LINE_BYTES {
            return Err(LineTooLong);
        }
        Ok(frames)
    }

    fn line(&mut self, line: &str) -> Option<Frame> {
        if line.is_empty() {
            let frame = std::mem::take(&mut self.frame);
            return (!frame.data.is_empty()).then_some(frame);
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.frame.event),
            "data" => {
                if !self.frame.data.is_empty() {
                    self.frame.data.push('\n');
                }
                self.frame.data.push_str(value);
            }
            "id" => self.last_id = Some(value.to_owned()),
            // A comment, or a field of a later day.
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STREAM: &str = ": hello\r\n\r\nid: 7\nevent: a\ndata: {\"x\":1}\n\ndata: one\ndata:two\n\nevent: empty\n\nid: 8\nretry: 5\ndata: last\n\ndata: cut";

    fn whole() -> Vec<Frame> {
        let frame = |event: &str, data: &str| Frame { event: event.into(), data: data.into() };
        vec![frame("a", "{\"x\":1}"), frame("", "one\ntwo"), frame("", "last")]
    }

    proptest! {
        #[test]
        fn the_cuts_between_chunks_do_not_matter(cuts in proptest::collection::vec(0..STREAM.len(), 0..20)) {
            let mut cuts = cuts;
            cuts.sort_unstable();
            let (mut decoder, mut frames, mut from) = (Decoder::default(), Vec::new(), 0);
            for cut in cuts.into_iter().chain([STREAM.len()]) {
                frames.extend(decoder.push(&STREAM.as_bytes()[from..cut]).unwrap());
                from = cut;
            }
            prop_assert_eq!(frames, whole());
            prop_assert_eq!(decoder.last_id(), Some("8"));
        }
    }

    #[test]
    fn what_was_cut_does_not_leak_into_the_next_connection() {
        let mut decoder = Decoder::default();
        decoder.push(STREAM.as_bytes()).unwrap();
        decoder.reconnected();
        assert_eq!(decoder.push(b"data: new\n\n").unwrap()[0].data, "new");
        assert_eq!(decoder.last_id(), Some("8"));
    }

    #[test]
    fn a_line_without_end_is_refused() {
        let mut decoder = Decoder::default();
        let chunk = vec![b'x'; 1 << 20];
        let result = (0..8).try_for_each(|_| decoder.push(&chunk).map(drop));
        assert_eq!(result, Err(LineTooLong));
    }
}
