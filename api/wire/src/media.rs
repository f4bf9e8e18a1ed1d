//! Which encoding a request has and which its answer gets.

use bytes::Bytes;

use crate::{DecodeError, Message, json, protobuf, recordio};

/// `Content-Type` of JSON. Clients compare it as a whole, so it is sent without parameters.
pub const JSON: &str = "application/json";
/// `Content-Type` of protobuf.
pub const PROTOBUF: &str = "application/x-protobuf";

/// One of the two encodings of the v1 API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Codec {
    /// The JSON dialect of [`json`].
    Json,
    /// proto2, binary.
    Protobuf,
}

/// Why no encoding could be agreed on. The texts are those of the first implementation of the protocol, which
/// tools match.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MediaError {
    /// A request with a body does not say what it is.
    #[error("Expecting 'Content-Type' to be present")]
    Missing,
    /// The body is neither JSON nor protobuf.
    #[error("Expecting 'Content-Type' of application/json or application/x-protobuf")]
    Unsupported,
    /// The client takes neither JSON nor protobuf.
    #[error("Expecting 'Accept' to allow 'application/x-protobuf' or 'application/json'")]
    NotAcceptable,
}

impl MediaError {
    /// The HTTP status that says so.
    pub const fn status(self) -> u16 {
        match self {
            Self::Missing => 400,
            Self::Unsupported => 415,
            Self::NotAcceptable => 406,
        }
    }
}

impl Codec {
    /// The encoding of a request body. Case and parameters (`; charset=utf-8`) are of no account.
    ///
    /// # Errors
    /// No header, or another type.
    pub fn of_request(content_type: Option<&str>) -> Result<Self, MediaError> {
        let header = content_type.ok_or(MediaError::Missing)?;
        let name = header.split(';').next().unwrap_or_default().trim();
        if name.eq_ignore_ascii_case(JSON) {
            Ok(Self::Json)
        } else if name.eq_ignore_ascii_case(PROTOBUF) {
            Ok(Self::Protobuf)
        } else {
            Err(MediaError::Unsupported)
        }
    }

    /// The encoding of the answer, from the values of all `Accept` headers. JSON goes before protobuf, whatever
    /// their order and weights; a weight of zero excludes. No header accepts everything.
    ///
    /// # Errors
    /// Neither is acceptable.
    pub fn of_response<'a>(accept: impl IntoIterator<Item = &'a str>) -> Result<Self, MediaError> {
        let mut absent = true;
        let mut json = Acceptance::default();
        let mut protobuf = Acceptance::default();
        for range in accept.into_iter().flat_map(|header| header.split(',')) {
            absent = false;
            json.consider(JSON, range);
            protobuf.consider(PROTOBUF, range);
        }
        if absent || json.given() {
            Ok(Self::Json)
        } else if protobuf.given() {
            Ok(Self::Protobuf)
        } else {
            Err(MediaError::NotAcceptable)
        }
    }

    /// The value of `Content-Type`, for single answers and for streams of records alike.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Json => JSON,
            Self::Protobuf => PROTOBUF,
        }
    }

    /// The message as a body.
    pub fn encode<M: Message>(self, message: &M) -> Bytes {
        match self {
            Self::Json => json::to_vec(message).into(),
            Self::Protobuf => message.encode_to_vec().into(),
        }
    }

    /// The message as one record of a stream, to be sent as one HTTP chunk.
    pub fn encode_record<M: Message>(self, message: &M) -> Bytes {
        recordio::encode(&self.encode(message))
    }

    /// A message from a whole body. All its required fields are there.
    ///
    /// # Errors
    /// See [`DecodeError`].
    pub fn decode<M: Message>(self, body: &[u8]) -> Result<M, DecodeError> {
        match self {
            Self::Json => json::from_slice(body),
            Self::Protobuf => protobuf::decode(body),
        }
    }
}

/// What the ranges of `Accept` say about one type. The most specific range decides.
#[derive(Default)]
struct Acceptance {
    specificity: u8,
    wanted: bool,
}

impl Acceptance {
    fn consider(&mut self, name: &str, range: &str) {
        let mut parts = range.split(';').map(str::trim);
        let pattern = parts.next().unwrap_or_default();
        let specificity = if pattern.eq_ignore_ascii_case(name) {
            3
        } else if pattern.eq_ignore_ascii_case("application/*") {
            2
        } else if pattern == "*/*" || pattern == "*" {
            1
        } else {
            return;
        };
        if specificity < self.specificity {
            return;
        }
        self.specificity = specificity;
        self.wanted = !parts.any(|parameter| {
            let Some((key, value)) = parameter.split_once('=') else { return false };
            key.trim().eq_ignore_ascii_case("q") && value.trim().parse() == Ok(0.0_f32)
        });
    }

    fn given(&self) -> bool {
        self.specificity > 0 && self.wanted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_type_is_read_without_case_and_parameters() {
        assert_eq!(Codec::of_request(Some("application/json")), Ok(Codec::Json));
        assert_eq!(Codec::of_request(Some("Application/JSON; charset=utf-8")), Ok(Codec::Json));
        assert_eq!(Codec::of_request(Some("application/x-protobuf")), Ok(Codec::Protobuf));
        assert_eq!(Codec::of_request(None).unwrap_err().status(), 400);
        assert_eq!(Codec::of_request(Some("text/plain")).unwrap_err().status(), 415);
        assert_eq!(Codec::of_request(Some("")).unwrap_err().status(), 415);
    }

    #[test]
    fn json_is_preferred_whatever_the_order() {
        for accept in [
            &[][..],
            &["*/*"],
            &["application/*"],
            &["application/x-protobuf, application/json"],
            &["application/json;q=0.1,application/x-protobuf"],
            &["application/x-protobuf", "application/json"],
            &["text/html, */*;q=0.8"],
        ] {
            assert_eq!(Codec::of_response(accept.iter().copied()), Ok(Codec::Json), "{accept:?}");
        }
    }

    #[test]
    fn protobuf_is_given_to_those_who_take_nothing_else() {
        for accept in ["application/x-protobuf", "APPLICATION/X-PROTOBUF", "*/*, application/json;q=0"] {
            assert_eq!(Codec::of_response([accept]), Ok(Codec::Protobuf), "{accept:?}");
        }
    }

    #[test]
    fn other_types_are_not_acceptable() {
        for accept in ["", "text/html", "application/recordio", "*/*;q=0", "application/json; q=0.0"] {
            let error = Codec::of_response([accept]).unwrap_err();
            assert_eq!((error, error.status()), (MediaError::NotAcceptable, 406), "{accept:?}");
        }
    }
}
