//! The many spellings of one path.

use axum::http::Uri;
use http::Request;
use http::uri::PathAndQuery;

/// The target as it was sent, for the `Location` of a redirect.
#[derive(Clone, Debug)]
pub(crate) struct Original(pub(crate) PathAndQuery);

/// Legacy endings that old dashboards still ask for.
const OLD_ENDING: &str = ".json";

/// Brings the target into the one form that is routed (spec mesos-v1, section 1.2), and keeps the original beside it.
pub(crate) fn normalize<B>(mut request: Request<B>) -> Request<B> {
    let original = request.uri().path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    let path = canonical(original.path());
    let target = match original.query() {
        Some(query) => format!("{path}?{query}"),
        None => path,
    };
    // A target in absolute form (`GET http://host/health`) loses its authority here and is routed like any other.
    if let Ok(uri) = target.parse::<Uri>() {
        *request.uri_mut() = uri;
    }
    request.extensions_mut().insert(Original(original));
    request
}

fn canonical(path: &str) -> String {
    let mut segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
    // The first segment may name the process.
    if segments.len() > 1 && segments[0] == "master" {
        segments.remove(0);
    }
    if let [only] | ["files", only] | ["metrics", only] = segments[..]
        && let Some(last) = segments.last_mut()
    {
        *last = only.strip_suffix(OLD_ENDING).unwrap_or(only);
    }
    // What no handler has is served by the handler of a shorter path: `/api/v1/operator` by `/api/v1`.
    if let ["api", "v1", rest @ ..] = &segments[..] {
        match rest {
            ["scheduler" | "state", ..] => segments.truncate(3),
            _ => segments.truncate(2),
        }
    }
    format!("/{}", segments.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_path_are_one_path() {
        for (sent, routed) in [
            ("/", "/"),
            ("/health", "/health"),
            ("//health", "/health"),
            ("/health/", "/health"),
            ("/master/health", "/health"),
            ("/master//state/", "/state"),
            ("/master/state.json", "/state"),
            ("/state.json", "/state"),
            ("/master", "/master"),
            ("/master%2Fhealth", "/master%2Fhealth"),
            ("/api/v1", "/api/v1"),
            ("/api/v1/", "/api/v1"),
            ("/api/v1/operator", "/api/v1"),
            ("/api/v1/nosuch", "/api/v1"),
            ("/api/v1/scheduler", "/api/v1/scheduler"),
            ("/master/api/v1/scheduler/", "/api/v1/scheduler"),
            ("/api/v1/state", "/api/v1/state"),
            ("/redirect/x", "/redirect/x"),
            ("/metrics/snapshot", "/metrics/snapshot"),
            ("/files/read.json", "/files/read"),
        ] {
            assert_eq!(canonical(sent), routed, "{sent}");
        }
    }

    #[test]
    fn absolute_targets_lose_their_authority_and_queries_stay() {
        let request =
            Request::get("http://host:5050//master/tasks?limit=5").body(()).expect("a lawful request");
        let request = normalize(request);
        assert_eq!(request.uri().to_string(), "/tasks?limit=5");
        let original = request.extensions().get::<Original>().expect("kept");
        assert_eq!(original.0.as_str(), "//master/tasks?limit=5");
    }
}
