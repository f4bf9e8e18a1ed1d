//! `GET /`: the cluster for people to look at, and the 200 that some clients probe for.

use axum::extract::Path;
use axum::response::Response;
use http::{HeaderName, HeaderValue};

use crate::answer;

/// The same on each master; on one that follows it says where the leader is.
pub(super) async fn cluster() -> Response {
    serve(ui::CLUSTER)
}

/// A file that pages share.
pub(super) async fn file(Path(name): Path<String>) -> Response {
    ui::asset(&name).map_or_else(answer::not_found, serve)
}

fn serve(asset: ui::Asset) -> Response {
    let response = answer::typed(asset.media_type, asset.body);
    ui::HEADERS.iter().fold(response, |response, (name, value)| {
        answer::with(response, HeaderName::from_static(name), HeaderValue::from_static(value))
    })
}
