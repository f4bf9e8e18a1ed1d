//! Request bodies: bounded in size, in time, and all together.

use std::io::Read;

use axum::body::Body;
use axum::response::Response;
use bytes::{Bytes, BytesMut};
use flate2::read::MultiGzDecoder;
use http::{HeaderMap, StatusCode, header};
use http_body_util::BodyExt;
use tokio::time::timeout;

use crate::answer;
use crate::app::App;
use crate::limits;

/// The whole body, unpacked. The answer to the client is in the error.
pub(crate) async fn read(app: &App, headers: &HeaderMap, body: Body) -> Result<Bytes, Response> {
    let announced =
        headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > limits::BODY_BYTES as u64) {
        return Err(too_large());
    }
    let bytes = match timeout(limits::BODY_TIME, collect(app, body)).await {
        Ok(result) => result?,
        Err(_) => {
            let seconds = limits::BODY_TIME.as_secs();
            return Err(answer::text(
                StatusCode::REQUEST_TIMEOUT,
                format!("The body did not arrive within {seconds} s"),
            ));
        }
    };
    match headers.get(header::CONTENT_ENCODING).map(|value| value.as_bytes().to_ascii_lowercase()) {
        None => Ok(bytes),
        Some(name) if name == b"identity" => Ok(bytes),
        Some(name) if name == b"gzip" => unpack(bytes).await,
        Some(_) => Err(answer::text(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "Expecting 'Content-Encoding' of gzip or identity",
        )),
    }
}

async fn collect(app: &App, mut body: Body) -> Result<Bytes, Response> {
    let mut bytes = BytesMut::new();
    let mut held = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| answer::bad(format!("Failed to read the body: {error}")))?;
        let Ok(data) = frame.into_data() else { continue };
        if bytes.len() + data.len() > limits::BODY_BYTES {
            return Err(too_large());
        }
        while (bytes.len() + data.len()) > held.len() * limits::BODY_UNIT {
            // Waiting here stops reading, and the deadline of the body ends the wait. Small bodies never wait long: the
            // budget is a hundred times what honest clients need.
            match app.bodies.acquire().await {
                Ok(permit) => held.push(permit),
                Err(_) => return Err(answer::unavailable("This master is ending")),
            }
        }
        bytes.extend_from_slice(&data);
    }
    Ok(bytes.freeze())
}

/// A small body may unpack to a large one, so this is work for another thread, and bounded.
async fn unpack(packed: Bytes) -> Result<Bytes, Response> {
    let work = move || {
        let mut plain = Vec::new();
        let mut reader = MultiGzDecoder::new(&packed[..]).take(limits::BODY_BYTES as u64 + 1);
        reader.read_to_end(&mut plain).map(|_| plain)
    };
    match tokio::task::spawn_blocking(work).await {
        Ok(Ok(plain)) if plain.len() > limits::BODY_BYTES => Err(too_large()),
        Ok(Ok(plain)) => Ok(plain.into()),
        Ok(Err(error)) => Err(answer::bad(format!("Failed to unpack the body: {error}"))),
        Err(_) => Err(answer::unavailable("This master is ending")),
    }
}

fn too_large() -> Response {
    let text = format!("The body is larger than {} bytes", limits::BODY_BYTES);
    answer::text(StatusCode::PAYLOAD_TOO_LARGE, text)
}

/// Decodes beside the runtime's threads when the body is large.
pub(crate) async fn decode<T: Send + 'static, E: Send + 'static>(
    bytes: Bytes,
    decode: impl FnOnce(&[u8]) -> Result<T, E> + Send + 'static,
    refuse: impl FnOnce(E) -> Response,
) -> Result<T, Response> {
    let result = if bytes.len() > limits::DECODE_ASIDE_BYTES {
        match tokio::task::spawn_blocking(move || decode(&bytes)).await {
            Ok(result) => result,
            Err(_) => return Err(answer::unavailable("This master is ending")),
        }
    } else {
        decode(&bytes)
    };
    result.map_err(refuse)
}
