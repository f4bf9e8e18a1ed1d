//! Reading the body of an answer, bounded in size and in silence.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::Response;
use thiserror::Error;

use crate::limits;

/// Why a body was not read to its end.
#[derive(Debug, Error)]
pub(crate) enum BodyError {
    #[error("the answer broke off: {0}")]
    Broken(#[from] reqwest::Error),
    #[error("the answer came to a halt")]
    Silent,
    #[error("the answer is longer than {0} bytes")]
    TooLong(usize),
}

/// The next part of a body; `None` at its end.
pub(crate) async fn part(answer: &mut Response, silence: Duration) -> Result<Option<Bytes>, BodyError> {
    match tokio::time::timeout(silence, answer.chunk()).await {
        Ok(part) => Ok(part?),
        Err(_) => Err(BodyError::Silent),
    }
}

/// The whole body, if it has at most `limit` bytes.
pub(crate) async fn whole(answer: &mut Response, limit: usize) -> Result<Bytes, BodyError> {
    let mut body = BytesMut::new();
    while let Some(part) = part(answer, limits::ANSWER).await? {
        if body.len() + part.len() > limit {
            return Err(BodyError::TooLong(limit));
        }
        body.extend_from_slice(&part);
    }
    Ok(body.freeze())
}

/// What a master says with a refusal, as far as it can be read.
pub(crate) async fn refusal(mut answer: Response) -> String {
    let body = whole(&mut answer, limits::REFUSAL_BYTES).await.unwrap_or_default();
    String::from_utf8_lossy(&body).trim().to_owned()
}
