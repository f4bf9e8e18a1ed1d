//! The process's log: `/files/*`, LIST_FILES, READ_FILE, `/logging/toggle` and the calls for its level (spec mesos-v1, 7.3).
//!
//! The log is the one file of a master that is shown, under the path it has at the first implementation. The path asked
//! for is compared as a whole and never looked up on the disk.

use std::fs::{File, Metadata};
use std::io::Read;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Query, State};
use axum::response::Response;
use front::logging;
use http::{HeaderValue, Method, StatusCode, header};
use serde::Deserialize;
use serde_json::json;
use wire::master::{Response as Answer, call, response};
use wire::v1;

use super::legacy::readable;
use crate::app::App;
use crate::{answer, limits};

/// The one virtual path there is.
const LOG: &str = "/master/log";

#[derive(Deserialize)]
pub(super) struct Asked {
    path: Option<String>,
    offset: Option<i64>,
    length: Option<i64>,
}

impl Asked {
    /// The log's real place, if it is what is asked for.
    fn file(&self, app: &App) -> Result<PathBuf, Response> {
        let path = self.path.as_deref().ok_or_else(|| answer::bad("Expecting 'path=value' in query."))?;
        log_file(app, path)
    }
}

fn log_file(app: &App, path: &str) -> Result<PathBuf, Response> {
    let file = app.logging.file().filter(|_| path.trim_end_matches('/') == LOG);
    file.map(std::path::Path::to_owned).ok_or_else(|| missing(app, path))
}

fn missing(app: &App, path: &str) -> Response {
    let sentence = match app.logging.file() {
        Some(_) => format!("There is no '{path}': a master shows {LOG}"),
        None => format!("There is no '{path}': this master was started without --log-file"),
    };
    answer::text(StatusCode::NOT_FOUND, sentence)
}

/// Files are read on threads of their own: a disk may hang.
async fn aside<T: Send + 'static>(
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> Result<T, Response> {
    let unreadable = |error: String| answer::text(StatusCode::INTERNAL_SERVER_ERROR, error);
    match tokio::task::spawn_blocking(work).await {
        Ok(Ok(made)) => Ok(made),
        Ok(Err(error)) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(answer::text(StatusCode::NOT_FOUND, "The log file is gone"))
        }
        Ok(Err(error)) => Err(unreadable(format!("The log file cannot be read: {error}"))),
        Err(_) => Err(unreadable("The log file cannot be read".to_owned())),
    }
}

pub(super) async fn browse(
    State(app): State<Arc<App>>,
    Query(asked): Query<Asked>,
    method: Method,
) -> Response {
    let found = async {
        readable(&method)?;
        let file = asked.file(&app)?;
        let info = aside(move || std::fs::metadata(file).map(|data| info(&data))).await?;
        Ok(answer::json(
            json!([{
                "gid": info.gid,
                "mode": mode_text(info.mode.unwrap_or_default()),
                "mtime": info.mtime.as_ref().map_or(0, |time| time.nanoseconds / 1_000_000_000) as f64,
                "nlink": info.nlink,
                "path": info.path,
                "size": info.size,
                "uid": info.uid,
            }])
            .to_string(),
        ))
    };
    found.await.unwrap_or_else(|refusal: Response| refusal)
}

pub(super) async fn read(
    State(app): State<Arc<App>>,
    Query(asked): Query<Asked>,
    method: Method,
) -> Response {
    let found = async {
        readable(&method)?;
        let file = asked.file(&app)?;
        // -1 is the same as nothing.
        let number = |value: Option<i64>| value.and_then(|value| u64::try_from(value).ok());
        let (offset, length) = (number(asked.offset), number(asked.length));
        let (data, size) = aside(move || part(&file, offset, length)).await?;
        let shown = json!({"data": String::from_utf8_lossy(&data), "offset": offset.unwrap_or(size)});
        Ok(answer::json(shown.to_string()))
    };
    found.await.unwrap_or_else(|refusal: Response| refusal)
}

/// Bytes from `offset`, the end when absent, and the size of the file.
fn part(file: &PathBuf, offset: Option<u64>, length: Option<u64>) -> std::io::Result<(Vec<u8>, u64)> {
    let file = File::open(file)?;
    let size = file.metadata()?.len();
    let offset = offset.unwrap_or(size);
    let most = length.unwrap_or(limits::READ_BYTES).min(limits::READ_BYTES);
    let mut bytes = vec![0; usize::try_from(most.min(size.saturating_sub(offset))).unwrap_or(0)];
    let mut filled = 0;
    // It may be put aside and begun anew while it is read.
    while filled < bytes.len() {
        match file.read_at(&mut bytes[filled..], offset + filled as u64)? {
            0 => break,
            more => filled += more,
        }
    }
    bytes.truncate(filled);
    Ok((bytes, size))
}

pub(super) async fn download(
    State(app): State<Arc<App>>,
    Query(asked): Query<Asked>,
    method: Method,
) -> Response {
    let found = async {
        readable(&method)?;
        let file = asked.file(&app)?;
        // Bounded: a log file is put aside before it is larger.
        let bytes = aside(move || std::fs::read(file)).await?;
        let response = answer::typed_body("application/octet-stream", Body::from(bytes));
        let name = HeaderValue::from_static("attachment; filename=log");
        let response = answer::with(response, header::CONTENT_DISPOSITION, name);
        // What clients made the master log must not run as a page of this server.
        Ok(answer::with(response, header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")))
    };
    found.await.unwrap_or_else(|refusal: Response| refusal)
}

/// Virtual paths and what they stand for.
pub(super) async fn debug(State(app): State<Arc<App>>, method: Method) -> Response {
    if let Err(refusal) = readable(&method) {
        return refusal;
    }
    let file = app.logging.file().map(|file| (LOG.to_owned(), json!(file.display().to_string())));
    answer::json(serde_json::Value::Object(file.into_iter().collect()).to_string())
}

/// LIST_FILES.
pub(super) async fn list(app: &App, call: Option<call::ListFiles>) -> Result<Answer, Response> {
    let call = call.ok_or_else(|| absent("list_files"))?;
    let file = log_file(app, &call.path)?;
    let info = aside(move || std::fs::metadata(file).map(|data| info(&data))).await?;
    Ok(Answer {
        r#type: Some(response::Type::ListFiles.into()),
        list_files: Some(response::ListFiles { file_infos: vec![info] }),
        ..Answer::default()
    })
}

/// READ_FILE.
pub(super) async fn read_file(app: &App, call: Option<call::ReadFile>) -> Result<Answer, Response> {
    let call = call.ok_or_else(|| absent("read_file"))?;
    let file = log_file(app, &call.path)?;
    let (data, size) = aside(move || part(&file, Some(call.offset), call.length)).await?;
    Ok(Answer {
        r#type: Some(response::Type::ReadFile.into()),
        read_file: Some(response::ReadFile { size, data: data.into() }),
        ..Answer::default()
    })
}

fn absent(member: &str) -> Response {
    answer::bad(format!("Failed to validate master::Call: Expecting '{member}' to be present"))
}

fn info(data: &Metadata) -> v1::FileInfo {
    v1::FileInfo {
        path: LOG.to_owned(),
        nlink: i32::try_from(data.nlink()).ok(),
        size: Some(data.len()),
        mtime: Some(v1::TimeInfo { nanoseconds: data.mtime().saturating_mul(1_000_000_000) }),
        mode: Some(data.mode()),
        uid: Some(name_in("/etc/passwd", data.uid()).unwrap_or_else(|| data.uid().to_string())),
        gid: Some(name_in("/etc/group", data.gid()).unwrap_or_else(|| data.gid().to_string())),
    }
}

fn mode_text(mode: u32) -> String {
    let bits = (0..9).rev().map(|bit| if mode >> bit & 1 == 1 { b"xwr"[bit % 3] as char } else { '-' });
    std::iter::once('-').chain(bits).collect()
}

/// The name with number `id` in a file of the form `name:password:number:...`.
fn name_in(file: &str, id: u32) -> Option<String> {
    let mut text = String::new();
    File::open(file).ok()?.take(limits::NAMES_BYTES).read_to_string(&mut text).ok()?;
    let mut lines = text.lines();
    let line = lines.find(|line| line.split(':').nth(2).is_some_and(|number| number.parse() == Ok(id)))?;
    line.split(':').next().map(str::to_owned)
}

/// GET_LOGGING_LEVEL.
pub(super) fn level(app: &App) -> Answer {
    Answer {
        r#type: Some(response::Type::GetLoggingLevel.into()),
        get_logging_level: Some(response::GetLoggingLevel { level: app.logging.level() }),
        ..Answer::default()
    }
}

/// SET_LOGGING_LEVEL.
pub(super) fn set_level(app: &App, call: Option<call::SetLoggingLevel>) -> Result<Response, Response> {
    let call = call.ok_or_else(|| absent("set_logging_level"))?;
    let nanoseconds = u64::try_from(call.duration.nanoseconds)
        .map_err(|_| answer::bad("The duration of a logging level must not be negative"))?;
    change(app, call.level, Duration::from_nanos(nanoseconds))
}

fn change(app: &App, level: u32, duration: Duration) -> Result<Response, Response> {
    if app.logging.set(level, duration) {
        return Ok(answer::empty(StatusCode::OK));
    }
    let sentence = "The program that started this master keeps its log to itself";
    Err(answer::text(StatusCode::NOT_IMPLEMENTED, sentence))
}

#[derive(Deserialize)]
pub(super) struct Toggle {
    level: Option<u32>,
    duration: Option<String>,
}

/// `/logging/toggle`: the level, or with `level` and `duration` (`10secs`, `15mins`) another one for so long.
pub(super) async fn toggle(
    State(app): State<Arc<App>>,
    Query(wanted): Query<Toggle>,
    method: Method,
) -> Response {
    let done = || {
        readable(&method)?;
        match logging::toggle(wanted.level, wanted.duration.as_deref()) {
            Ok(None) => Ok(answer::text(StatusCode::OK, format!("{}\n", app.logging.level()))),
            Ok(Some((level, duration))) => change(&app, level, duration),
            Err(sentence) => Err(answer::bad(sentence)),
        }
    };
    done().unwrap_or_else(|refusal: Response| refusal)
}
