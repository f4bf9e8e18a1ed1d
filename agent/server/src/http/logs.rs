//! The agent's own log: `/logging/toggle`, the calls for its level, and the file as `/slave/log` (spec mesos-v1, 7.3).

use std::fs::File;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::Response;
use front::logging;
use wire::agent::call;

use super::files::parameter;
use super::reply::{self, Refusal};
use super::{Site, api};

/// The path that the log has at the first implementation.
pub(super) const LOG: &str = "/slave/log";

/// The log, if it is what a virtual path names. It is compared as a whole and never looked up on the disk.
pub(super) fn named(site: &Site, path: &str) -> Option<Arc<std::path::Path>> {
    site.logging.file().filter(|_| path.trim_end_matches('/') == LOG).map(Arc::from)
}

pub(super) fn open(file: &std::path::Path) -> Result<File, Refusal> {
    File::open(file).map_err(|error| Refusal::new(404, format!("The log file cannot be read: {error}")))
}

/// SET_LOGGING_LEVEL.
pub(super) fn set(site: &Site, call: Option<call::SetLoggingLevel>) -> Result<Response<Body>, Refusal> {
    let call = call.ok_or_else(|| api::expects("set_logging_level"))?;
    let nanoseconds = u64::try_from(call.duration.nanoseconds)
        .map_err(|_| Refusal::new(400, "The duration of a logging level must not be negative"))?;
    change(site, call.level, Duration::from_nanos(nanoseconds))
}

/// `/logging/toggle`.
pub(super) fn toggle(site: &Site, query: &str) -> Result<Response<Body>, Refusal> {
    let level = parameter(query, "level").map(|text| text.parse()).transpose();
    let level = level.map_err(|_| Refusal::new(400, "'level' must be a number, 0 or more"))?;
    match logging::toggle(level, parameter(query, "duration").as_deref()) {
        Ok(None) => {
            let level = format!("{}\n", site.logging.level());
            Ok(reply::body(200, "text/plain; charset=utf-8", level.into()))
        }
        Ok(Some((level, duration))) => change(site, level, duration),
        Err(sentence) => Err(Refusal::new(400, sentence)),
    }
}

fn change(site: &Site, level: u32, duration: Duration) -> Result<Response<Body>, Refusal> {
    if site.logging.set(level, duration) {
        return Ok(reply::empty());
    }
    Err(Refusal::new(501, "The program that started this agent keeps its log to itself"))
}
