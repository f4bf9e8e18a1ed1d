//! Request bodies that come packed.

use std::io::{self, Read};

use axum::body::Bytes;
use flate2::read::MultiGzDecoder;
use http::{HeaderMap, StatusCode, header};

/// Why a body cannot be unpacked; a sentence for its sender.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    #[error("Expecting 'Content-Encoding' of gzip or identity")]
    Encoding,
    #[error("The body is larger than {limit} bytes")]
    TooLarge { limit: usize },
    #[error("Failed to unpack the body: {0}")]
    Damaged(#[from] io::Error),
    #[error("This process is ending")]
    Ending,
}

impl Fault {
    /// The status of the answer.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        match self {
            Self::Encoding => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Damaged(_) => StatusCode::BAD_REQUEST,
            Self::Ending => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

/// What a body says, whose headers may say that it is packed. A small body may unpack to a large one, so that is work
/// for another thread, and ends at the limit.
///
/// # Errors
/// An encoding that is not known here, a body that is damaged, and one that is longer than the limit when unpacked.
pub async fn unpack(headers: &HeaderMap, body: Bytes, limit: usize) -> Result<Bytes, Fault> {
    match headers.get(header::CONTENT_ENCODING).map(|value| value.as_bytes().to_ascii_lowercase()) {
        None => return Ok(body),
        Some(name) if name == b"identity" => return Ok(body),
        Some(name) if name == b"gzip" => {}
        Some(_) => return Err(Fault::Encoding),
    }
    let work = move || {
        let mut plain = Vec::new();
        let mut reader = MultiGzDecoder::new(&body[..]).take(limit as u64 + 1);
        reader.read_to_end(&mut plain).map(|_| plain)
    };
    let plain = tokio::task::spawn_blocking(work).await.map_err(|_| Fault::Ending)??;
    if plain.len() > limit { Err(Fault::TooLarge { limit }) } else { Ok(plain.into()) }
}
