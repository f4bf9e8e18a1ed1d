//! The place a request takes among those worked on, kept until its answer is written.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use futures_util::Stream;
use tokio::sync::OwnedSemaphorePermit;

/// A body that holds `permit` for as long as it lives.
pub(super) fn keep_with(body: Body, permit: OwnedSemaphorePermit) -> Body {
    Body::from_stream(Kept { body: body.into_data_stream(), _permit: permit })
}

struct Kept {
    body: axum::body::BodyDataStream,
    _permit: OwnedSemaphorePermit,
}

impl Stream for Kept {
    type Item = Result<Bytes, axum::Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Pin::new(&mut self.body).poll_next(cx)
    }
}
