//! Request bodies: bounded, JSON, with what is wrong named by its path.

use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode, header};
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_path_to_error::Segment;

use super::reply::Failure;

/// Reads a document.
///
/// # Errors
/// 415 for another media type, 400 for what is no JSON, 422 for a value of the wrong type.
pub(super) fn read<T: DeserializeOwned>(headers: &HeaderMap, body: &Bytes) -> Result<T, Failure> {
    check_type(headers)?;
    if body.iter().all(u8::is_ascii_whitespace) {
        return Err(Failure::no_json("the body is empty"));
    }
    // In two steps, because the two kinds of error have different statuses. The first bounds the depth.
    let value: Value = serde_json::from_slice(body).map_err(|error| Failure::broken_json(error.to_string()))?;
    serde_path_to_error::deserialize(value).map_err(|error| {
        let path = render(error.path());
        Failure::wrong_type(&path, error.into_inner().to_string())
    })
}

/// `curl -d` sends the type of a form: that is let pass. Anything else that is clearly no JSON is not.
fn check_type(headers: &HeaderMap) -> Result<(), Failure> {
    let Some(given) = headers.get(header::CONTENT_TYPE) else { return Ok(()) };
    let text = given.to_str().unwrap_or_default().to_ascii_lowercase();
    let kind = text.split(';').next().unwrap_or_default().trim();
    let json = kind.ends_with("json") || kind == "application/x-www-form-urlencoded" || kind.is_empty();
    if json { Ok(()) } else { Err(Failure::status(StatusCode::UNSUPPORTED_MEDIA_TYPE)) }
}

/// `/portDefinitions(1)/name`: the form of paths in error details.
fn render(path: &serde_path_to_error::Path) -> String {
    let mut text = String::new();
    for segment in path.iter() {
        match segment {
            Segment::Seq { index } => text.push_str(&format!("({index})")),
            Segment::Map { key } => text.push_str(&format!("/{key}")),
            Segment::Enum { variant } => text.push_str(&format!("/{variant}")),
            Segment::Unknown => {}
        }
    }
    if text.is_empty() { "/".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use axum::response::IntoResponse;
    use wire::marathon::App;

    use super::*;

    fn status(kind: Option<&str>, body: &str) -> u16 {
        let mut headers = HeaderMap::new();
        if let Some(kind) = kind {
            headers.insert(header::CONTENT_TYPE, kind.parse().unwrap());
        }
        match read::<App>(&headers, &Bytes::from(body.to_owned())) {
            Ok(_) => 200,
            Err(failure) => failure.into_response().status().as_u16(),
        }
    }

    #[test]
    fn each_kind_of_wrong_has_its_status() {
        assert_eq!(status(None, r#"{"id":"/a"}"#), 200);
        assert_eq!(status(Some("application/json; charset=utf-8"), r#"{"id":"/a"}"#), 200);
        assert_eq!(status(Some("application/x-www-form-urlencoded"), r#"{"id":"/a"}"#), 200);
        assert_eq!(status(Some("text/xml"), "<a/>"), 415);
        assert_eq!(status(None, " "), 400);
        assert_eq!(status(None, "{"), 400);
        assert_eq!(status(None, r#"{"id":"/a","cpus":NaN}"#), 400);
        assert_eq!(status(None, &"[".repeat(100_000)), 400);
        assert_eq!(status(None, r#"{"id":7}"#), 422);
        assert_eq!(status(None, "[]"), 422);
    }

    #[test]
    fn a_path_reads_as_the_specification_writes_it() {
        let body = Bytes::from_static(br#"{"portDefinitions":[{"port":1},{"port":1,"name":5}]}"#);
        let failure = read::<App>(&HeaderMap::new(), &body).unwrap_err();
        assert!(format!("{failure:?}").contains("/portDefinitions(1)/name"), "{failure:?}");
    }
}
