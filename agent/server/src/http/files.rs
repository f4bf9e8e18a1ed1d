//! `/files/*`, LIST_FILES and READ_FILE: looking into sandboxes, and nowhere else (spec mesos-v1, 7.3).
//!
//! A task writes what it likes into its sandbox, symbolic links to `/etc/shadow` included. So a path is never walked
//! by name: the kernel resolves it below the sandbox's directory and refuses whatever leads out of it.

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::Path;

use agent_core::View;
use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, Response, header};
use model::id;
use rustix::fs::{Mode, OFlags, ResolveFlags};
use serde_json::{Map, Value, json};
use tokio_util::io::ReaderStream;
use wire::v1;

use super::reply::{self, Refusal};
use super::{Site, logs};
use crate::limits;

/// What a virtual path names: a sandbox, and a path in it (empty for the sandbox itself).
#[derive(Debug, PartialEq, Eq)]
struct Place {
    framework: String,
    sandbox: String,
    inside: String,
}

/// An entry of a directory.
struct Entry {
    path: String,
    nlink: u64,
    size: u64,
    mtime: i64,
    mode: u32,
    uid: u32,
    gid: u32,
}

pub(super) async fn browse(site: &Site, query: &str) -> Result<Response<Body>, Refusal> {
    let path =
        parameter(query, "path").ok_or_else(|| Refusal::new(400, "Expecting 'path=value' in query."))?;
    let entries = listed(site, path).await?;
    let show = |entry: &Entry| {
        json!({
            "gid": group_name(entry.gid),
            "mode": mode_text(entry.mode),
            "mtime": entry.mtime as f64,
            "nlink": entry.nlink,
            "path": entry.path,
            "size": entry.size,
            "uid": user_name(entry.uid),
        })
    };
    Ok(reply::json(&entries.iter().map(show).collect()))
}

pub(super) async fn read(site: &Site, query: &str) -> Result<Response<Body>, Refusal> {
    let path =
        parameter(query, "path").ok_or_else(|| Refusal::new(400, "Expecting 'path=value' in query."))?;
    let offset = number(query, "offset")?;
    let length = number(query, "length")?;
    let (data, size) = part(site, path, offset, length).await?;
    let data = String::from_utf8_lossy(&data);
    Ok(reply::json(&json!({ "data": data, "offset": offset.unwrap_or(size) })))
}

/// A number of a query; absent and -1 mean the same.
fn number(query: &str, name: &str) -> Result<Option<u64>, Refusal> {
    match parameter(query, name) {
        None => Ok(None),
        Some(text) if text == "-1" => Ok(None),
        Some(text) => text.parse().map(Some).map_err(|_| {
            Refusal::new(400, format!("Failed to parse {name}: expecting a number, received '{text}'"))
        }),
    }
}

/// Bytes of a file from `offset` (its end when absent) and the size of the file.
pub(super) async fn part(
    site: &Site,
    path: String,
    offset: Option<u64>,
    length: Option<u64>,
) -> Result<(Bytes, u64), Refusal> {
    let log = logs::named(site, &path);
    let read = move |site: &Path, path: &str| {
        let file = log.map_or_else(|| open_file(site, path), |log| logs::open(&log))?;
        let size = file.metadata().map_err(not_found)?.len();
        let offset = offset.unwrap_or(size);
        let wanted =
            length.unwrap_or(limits::READ_BYTES).min(limits::READ_BYTES).min(size.saturating_sub(offset));
        let mut bytes = vec![0; usize::try_from(wanted).unwrap_or(0)];
        let mut filled = 0;
        // A file may shrink while it is read.
        while filled < bytes.len() {
            match file.read_at(&mut bytes[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(more) => filled += more,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(not_found(error)),
            }
        }
        bytes.truncate(filled);
        Ok((bytes.into(), size))
    };
    blocking(site, path, read).await
}

pub(super) async fn download(site: &Site, query: &str) -> Result<Response<Body>, Refusal> {
    let path =
        parameter(query, "path").ok_or_else(|| Refusal::new(400, "Expecting 'path=value' in query."))?;
    let name = path.rsplit('/').find(|part| !part.is_empty()).unwrap_or_default().to_owned();
    let log = logs::named(site, &path);
    let open =
        move |site: &Path, path: &str| log.map_or_else(|| open_file(site, path), |log| logs::open(&log));
    let file = blocking(site, path, open).await?;
    let size = file.metadata().map_err(not_found)?.len();
    // Not more than was promised, should it grow meanwhile.
    let stream = ReaderStream::new(tokio::io::AsyncReadExt::take(tokio::fs::File::from_std(file), size));
    let mut response = Response::new(Body::from_stream(stream));
    let headers = response.headers_mut();
    let disposition = HeaderValue::from_str(&format!("attachment; filename={name}"));
    headers.insert(header::CONTENT_LENGTH, size.into());
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers
        .insert(header::CONTENT_DISPOSITION, disposition.unwrap_or(HeaderValue::from_static("attachment")));
    // What a task wrote must not run as a page of this server.
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    Ok(response)
}

pub(super) async fn list(site: &Site, path: String) -> Result<Vec<v1::FileInfo>, Refusal> {
    let entries = listed(site, path).await?;
    let show = |entry: Entry| v1::FileInfo {
        path: entry.path,
        nlink: Some(i32::try_from(entry.nlink).unwrap_or(i32::MAX)),
        size: Some(entry.size),
        mtime: Some(v1::TimeInfo { nanoseconds: entry.mtime.saturating_mul(1_000_000_000) }),
        mode: Some(entry.mode),
        uid: Some(user_name(entry.uid)),
        gid: Some(group_name(entry.gid)),
    };
    Ok(entries.into_iter().map(show).collect())
}

/// `/files/debug`: virtual paths and what they stand for.
pub(super) fn debug(site: &Site, view: &View) -> Value {
    let tasks = view.tasks.iter().chain(view.completed.iter().map(|task| &**task));
    let tasks = tasks.filter(|task| task.executor.is_none()).map(|task| &task.sandbox);
    let ended = view.completed_executors.iter().map(|executor| &**executor);
    let executors = view.executors.iter().chain(ended).map(|executor| &executor.sandbox);
    let log = site.logging.file().map(|file| (logs::LOG.to_owned(), file.display().to_string().into()));
    let mut members: Vec<(String, Value)> = tasks
        .chain(executors)
        .map(|sandbox| {
            let (framework, name) = (sandbox.framework.as_str(), &sandbox.name);
            let real = site.sandboxes.join(framework).join(name).display().to_string();
            (format!("/frameworks/{framework}/executors/{name}/runs/latest"), real.into())
        })
        .chain(log)
        .collect();
    members.sort_by(|a, b| a.0.cmp(&b.0));
    members.into_iter().collect::<Map<_, _>>().into()
}

/// What is in a directory of a sandbox; the log is a file that is listed by itself.
async fn listed(site: &Site, path: String) -> Result<Vec<Entry>, Refusal> {
    match logs::named(site, &path) {
        None => blocking(site, path, entries).await,
        Some(log) => {
            let stat = move |_: &Path, _: &str| {
                let stat = rustix::fs::fstat(&logs::open(&log)?).map_err(|error| not_found(error.into()))?;
                Ok(vec![described(logs::LOG.to_owned(), &stat)])
            };
            blocking(site, path, stat).await
        }
    }
}

fn described(path: String, stat: &rustix::fs::Stat) -> Entry {
    Entry {
        path,
        nlink: stat.st_nlink,
        size: u64::try_from(stat.st_size).unwrap_or(0),
        mtime: stat.st_mtime,
        mode: stat.st_mode,
        uid: stat.st_uid,
        gid: stat.st_gid,
    }
}

/// Runs `work` where it may wait for the disk.
async fn blocking<T: Send + 'static>(
    site: &Site,
    path: String,
    work: impl FnOnce(&Path, &str) -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refusal> {
    let root = site.sandboxes.clone();
    let done = tokio::task::spawn_blocking(move || work(&root, &path)).await;
    done.unwrap_or_else(|_| Err(Refusal::new(500, "Reading failed")))
}

/// Takes a virtual path apart: a real path below the sandboxes, `/sandboxes/<framework>/<name>`, or the form of the
/// first implementation, `/frameworks/<framework>/executors/<name>/runs/latest`.
fn place(root: &Path, path: &str) -> Option<Place> {
    let below = path.strip_prefix(root.to_str()?).filter(|rest| rest.starts_with('/'));
    let mut parts = below.unwrap_or(path).split('/').filter(|part| !part.is_empty() && *part != ".");
    let (framework, sandbox) = if below.is_some() {
        (parts.next()?, parts.next()?)
    } else {
        match parts.next()? {
            "sandboxes" => (parts.next()?, parts.next()?),
            "frameworks" => {
                let framework = parts.next()?;
                let _executors = parts.next().filter(|part| *part == "executors")?;
                let sandbox = parts.next()?;
                let _runs = parts.next().filter(|part| *part == "runs")?;
                let _latest = parts.next()?;
                (framework, sandbox)
            }
            _ => return None,
        }
    };
    id::check(framework).ok().and(id::check(sandbox).ok())?;
    let inside: Vec<&str> = parts.collect();
    Some(Place { framework: framework.into(), sandbox: sandbox.into(), inside: inside.join("/") })
}

/// Opens what a virtual path names, for reading. A pipe does not block, a device is refused by the callers.
fn open(root: &Path, path: &str) -> Result<File, Refusal> {
    let nothing = || Refusal::new(404, format!("There is no '{path}' among the sandboxes of this agent"));
    let place = place(root, path).ok_or_else(nothing)?;
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let step = |from: &OwnedFd, name: &str, resolve| {
        rustix::fs::openat2(
            from,
            name,
            flags,
            Mode::empty(),
            resolve | ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS,
        )
        .map_err(|_| nothing())
    };
    let root = File::open(root).map_err(|_| nothing())?.into();
    // The agent made these two levels, without links.
    let sandbox = step(&root, &format!("{}/{}", place.framework, place.sandbox), ResolveFlags::NO_SYMLINKS)?;
    if place.inside.is_empty() {
        return Ok(sandbox.into());
    }
    step(&sandbox, &place.inside, ResolveFlags::empty()).map(File::from)
}

fn open_file(root: &Path, path: &str) -> Result<File, Refusal> {
    let file = open(root, path)?;
    let kind = file.metadata().map_err(not_found)?.file_type();
    if kind.is_dir() {
        return Err(Refusal::new(400, format!("'{path}' is a directory")));
    }
    if !kind.is_file() {
        return Err(Refusal::new(400, format!("'{path}' is not a plain file")));
    }
    Ok(file)
}

fn entries(root: &Path, path: &str) -> Result<Vec<Entry>, Refusal> {
    let directory = open(root, path)?;
    if !directory.metadata().map_err(not_found)?.is_dir() {
        return Err(Refusal::new(400, format!("'{path}' is not a directory")));
    }
    let directory = OwnedFd::from(directory);
    let mut found = Vec::new();
    for entry in
        rustix::fs::Dir::read_from(&directory).map_err(|error| not_found(error.into()))?.take(limits::ENTRIES)
    {
        let Ok(entry) = entry else { break };
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        // It may be gone by now.
        let Ok(stat) = rustix::fs::statat(&directory, name, rustix::fs::AtFlags::SYMLINK_NOFOLLOW) else {
            continue;
        };
        found.push(described(format!("{}/{}", path.trim_end_matches('/'), name.to_string_lossy()), &stat));
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}

fn not_found(error: std::io::Error) -> Refusal {
    Refusal::new(404, error.to_string())
}

/// `drwxr-xr-x`.
fn mode_text(mode: u32) -> String {
    let kind = match mode & 0o170_000 {
        0o040_000 => 'd',
        0o120_000 => 'l',
        0o010_000 => 'p',
        0o140_000 => 's',
        0o060_000 => 'b',
        0o020_000 => 'c',
        _ => '-',
    };
    let bits = (0..9).rev().map(|bit| if mode >> bit & 1 == 1 { b"xwr"[bit % 3] as char } else { '-' });
    std::iter::once(kind).chain(bits).collect()
}

fn user_name(uid: u32) -> String {
    name_in("/etc/passwd", uid).unwrap_or_else(|| uid.to_string())
}

fn group_name(gid: u32) -> String {
    name_in("/etc/group", gid).unwrap_or_else(|| gid.to_string())
}

/// The name with number `id` in a file of the form `name:password:number:...`. Directory services are not asked:
/// a listing must not wait for one.
fn name_in(file: &str, id: u32) -> Option<String> {
    let mut text = String::new();
    File::open(file).ok()?.take(1 << 20).read_to_string(&mut text).ok()?;
    let line =
        text.lines().find(|line| line.split(':').nth(2).is_some_and(|number| number.parse() == Ok(id)))?;
    line.split(':').next().map(str::to_owned)
}

/// The value of a query parameter, percent-decoded. A bad escape is taken as it stands.
pub(super) fn parameter(query: &str, name: &str) -> Option<String> {
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let value = pairs.into_iter().find(|(key, _)| *key == name).map(|(_, value)| value.replace('+', " "))?;
    Some(percent_encoding::percent_decode_str(&value).decode_utf8_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    fn sandbox() -> (tempfile::TempDir, std::path::PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap().join("sandboxes");
        let task = root.join("f/t");
        fs::create_dir_all(task.join("sub")).unwrap();
        fs::write(task.join("stdout"), "hello").unwrap();
        fs::write(dir.path().join("secret"), "secret").unwrap();
        fs::create_dir_all(root.join("f/other")).unwrap();
        fs::write(root.join("f/other/stdout"), "other").unwrap();
        symlink("stdout", task.join("good")).unwrap();
        symlink("../other/stdout", task.join("neighbour")).unwrap();
        symlink(dir.path().join("secret"), task.join("absolute")).unwrap();
        symlink("/proc/self/root/etc/passwd", task.join("magic")).unwrap();
        symlink("../../..", task.join("up")).unwrap();
        (dir, root)
    }

    #[test]
    fn every_way_to_name_a_sandbox_leads_to_it() {
        let (_dir, root) = sandbox();
        let real = root.join("f/t/stdout").display().to_string();
        for path in [
            &*real,
            "/sandboxes/f/t/stdout",
            "sandboxes/f/t/good",
            "/frameworks/f/executors/t/runs/latest/stdout",
        ] {
            let mut text = String::new();
            open_file(&root, path).unwrap().read_to_string(&mut text).unwrap();
            assert_eq!(text, "hello", "{path}");
        }
    }

    #[test]
    fn no_way_leads_out_of_it() {
        let (_dir, root) = sandbox();
        for inside in [
            "neighbour",
            "absolute",
            "magic",
            "up/secret",
            "../other/stdout",
            "../../../secret",
            "sub/../../other/stdout",
        ] {
            assert!(open(&root, &format!("/sandboxes/f/t/{inside}")).is_err(), "{inside}");
        }
        for path in [
            "/sandboxes/../secret",
            "/sandboxes/f/..",
            "/sandboxes/f",
            "/",
            "",
            "/etc/passwd",
            "/sandboxes/f/../f/t/stdout",
        ] {
            assert!(open(&root, path).is_err(), "{path}");
        }
    }

    #[test]
    fn a_pipe_neither_blocks_nor_is_read() {
        let (_dir, root) = sandbox();
        let pipe = root.join("f/t/pipe");
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, Mode::RUSR, 0).unwrap();
        assert!(open_file(&root, "/sandboxes/f/t/pipe").is_err());
    }

    #[test]
    fn a_listing_is_sorted_and_does_not_follow_links() {
        let (_dir, root) = sandbox();
        let found = entries(&root, "/sandboxes/f/t/").unwrap();
        let names: Vec<&str> = found.iter().map(|entry| entry.path.rsplit('/').next().unwrap()).collect();
        assert_eq!(names, ["absolute", "good", "magic", "neighbour", "stdout", "sub", "up"]);
        assert_eq!(found[4].path, "/sandboxes/f/t/stdout");
        assert_eq!(mode_text(found[0].mode), "lrwxrwxrwx");
        assert_eq!(mode_text(0o100_644), "-rw-r--r--");
    }

    #[test]
    fn parameters_are_decoded_and_bad_escapes_harmless() {
        assert_eq!(parameter("path=%2Fa%20b+c&offset=3", "path").as_deref(), Some("/a b c"));
        assert_eq!(parameter("path=%zz%", "path").as_deref(), Some("%zz%"));
        assert_eq!(parameter("a=1", "path"), None);
        assert_eq!(number("offset=-1", "offset").unwrap(), None);
        assert!(number("offset=x", "offset").is_err());
    }
}
