//! The apps for people to look at. Every instance has the files; what they show comes from the leader.

use axum::response::Response;
use http::header::{HeaderName, HeaderValue, LOCATION};
use http::{HeaderMap, StatusCode};

use super::unknown_route;
use crate::http::respond::{self, Answered};

/// `/`: whoever types the address alone wants to look.
pub(super) fn to_page() -> Answered {
    let mut response = respond::empty(StatusCode::FOUND);
    response.headers_mut().insert(LOCATION, HeaderValue::from_static(ui::PREFIX));
    Ok(response)
}

/// `/ui/`
pub(super) fn apps() -> Answered {
    Ok(serve(ui::APPS))
}

/// `/ui/NAME`: what pages share.
pub(super) fn file(name: &str) -> Answered {
    ui::asset(name).map(serve).ok_or_else(unknown_route)
}

fn serve(asset: ui::Asset) -> Response {
    let mut response = respond::with_type(StatusCode::OK, asset.media_type, asset.body.as_bytes().to_vec());
    let headers = ui::HEADERS
        .iter()
        .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
    response.headers_mut().extend(headers.collect::<HeaderMap>());
    response
}
