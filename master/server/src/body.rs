//! Request bodies: bounded in size, in time, and all together.

use axum::body::Body;
use axum::response::Response;
use bytes::{Bytes, BytesMut};
use front::packed;
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
    let unpacked = packed::unpack(headers, bytes, limits::BODY_BYTES).await;
    unpacked.map_err(|fault| answer::text(fault.status(), fault.to_string()))
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
