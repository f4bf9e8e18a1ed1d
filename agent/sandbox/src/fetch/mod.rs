//! Filling a sandbox: downloads, copies and archives.

mod archive;
pub(crate) mod beneath;
mod budget;
mod cache;
mod download;
mod error;
mod place;
mod source;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use url::Url;

use self::beneath::Inside;
use self::budget::{Budget, Patience, Reporter};
use self::cache::Cache;
use self::place::{Content, Place, Target};
use self::source::Source;

pub use error::{BadEntry, BadPath, FetchError, Reason};

/// One thing to bring into a sandbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FetchItem {
    /// `http://`, `https://`, `file://`, or an absolute path on this machine.
    pub uri: String,
    /// Make the file executable; it is then not unpacked.
    pub executable: bool,
    /// Unpack it when its name or its first bytes say that it is an archive (tar, tar.gz, tgz, zip, and a lone gz).
    pub extract: bool,
    /// Keep a copy on this machine for the next one who asks for the same URI.
    pub cache: bool,
    /// Path below the sandbox to store it under; `None` takes the last part of the URI's path.
    pub output_file: Option<String>,
}

/// What to fetch, and where to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchRequest {
    pub items: Vec<FetchItem>,
    /// The sandbox directory, made if missing ([`crate::directory::prepare`]).
    pub sandbox: PathBuf,
    /// Name or number of the user all of it shall belong to.
    pub user: Option<String>,
}

/// Bounds of one fetch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FetchLimits {
    /// Time for all items of one request together.
    pub time: Duration,
    /// Time without a single byte arriving.
    pub stall: Duration,
    /// Size of one downloaded or copied file.
    pub file_bytes: u64,
    /// Bytes, files and path length that one archive may unpack to.
    pub unpacked_bytes: u64,
    pub unpacked_entries: u64,
    pub path_bytes: usize,
    /// Redirections followed by one download.
    pub redirects: usize,
    /// Size of all kept copies together.
    pub cache_bytes: u64,
}

impl Default for FetchLimits {
    fn default() -> Self {
        Self {
            time: Duration::from_secs(30 * 60),
            stall: Duration::from_secs(60),
            file_bytes: 20 << 30,
            unpacked_bytes: 40 << 30,
            unpacked_entries: 250_000,
            path_bytes: 1024,
            redirects: 10,
            cache_bytes: 2 << 30,
        }
    }
}

/// How far a fetch is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    pub uri: String,
    /// Position of the item, from 0, and how many there are.
    pub item: usize,
    pub items: usize,
    pub phase: Phase,
    /// Bytes so far, and in all when the source says so.
    pub bytes: u64,
    pub total: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    Fetching,
    Unpacking,
    Done,
}

/// Brings things into sandboxes. Cloning is cheap.
#[derive(Clone)]
pub struct Fetcher {
    client: reqwest::Client,
    limits: FetchLimits,
    cache: Option<Arc<Cache>>,
}

/// Tells the blocking part of a fetch that its future was dropped.
struct GiveUp(Arc<AtomicBool>);

impl Drop for GiveUp {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Fetcher {
    /// `cache`: directory for copies, made if missing; `None` fetches anew each time.
    ///
    /// # Errors
    /// When that directory or the TLS library cannot be set up.
    pub fn new(limits: FetchLimits, cache: Option<PathBuf>) -> Result<Self, FetchError> {
        let at = |dir: &Path, reason| FetchError { uri: dir.display().to_string(), reason };
        let client = download::client(&limits).map_err(|reason| at(Path::new(""), reason))?;
        let open = |dir: PathBuf| {
            Cache::open(dir.clone(), limits.cache_bytes)
                .map(Arc::new)
                .map_err(|error| at(&dir, Reason::Setup("the cache", error)))
        };
        Ok(Self { client, limits, cache: cache.map(open).transpose()? })
    }

    /// Fetches the items one after another and stops at the first that fails. What has been written until then stays. Dropping
    /// the future ends the work soon after.
    ///
    /// # Errors
    /// The first failure, naming its URI.
    pub async fn fetch(
        &self,
        request: FetchRequest,
        progress: impl Fn(Progress) + Send + Sync + 'static,
    ) -> Result<(), FetchError> {
        let patience = Patience { deadline: Instant::now() + self.limits.time, given_up: Arc::default() };
        let _give_up = GiveUp(Arc::clone(&patience.given_up));
        let tell: Arc<dyn Fn(Progress) + Send + Sync> = Arc::new(progress);
        let target = Target { sandbox: request.sandbox, user: request.user };
        let items = request.items.len();
        for (at, item) in request.items.into_iter().enumerate() {
            let uri = source::shown(&item.uri);
            let reporter = Reporter { tell: Arc::clone(&tell), uri: uri.clone(), item: at, items };
            let work = self.fetch_item(&item, &target, &patience, &reporter);
            let left = patience.deadline.saturating_duration_since(Instant::now());
            let result = match tokio::time::timeout(left, work).await {
                Ok(result) => result,
                Err(_) => Err(Reason::TooSlow(self.limits.time)),
            };
            result.map_err(|reason| FetchError { uri, reason })?;
            reporter.report(Phase::Done, 0, None);
        }
        Ok(())
    }

    async fn fetch_item(
        &self,
        item: &FetchItem,
        target: &Target,
        patience: &Patience,
        reporter: &Reporter,
    ) -> Result<(), Reason> {
        let source = Source::parse(&item.uri)?;
        let (name, path) = self.name(item, &source)?;
        let owner = target.prepare()?;
        let content = match &source {
            Source::File(path) => {
                let path = path.clone();
                let opened = tokio::task::spawn_blocking(move || download::open_as(&path, owner)).await;
                Content::Lent(opened.unwrap_or(Err(Reason::Cancelled))?)
            }
            Source::Http(url) => match &self.cache {
                Some(cache) if item.cache => {
                    let key = format!("{} {url}", target.user.as_deref().unwrap_or_default());
                    Content::Lent(self.cached(cache, &key, url, patience, reporter).await?)
                }
                _ => {
                    let (temporary, file) = target.temporary(owner)?;
                    let written = file.try_clone().map_err(Reason::Read)?;
                    let guard = Content::Own { file, temporary, target: target.clone(), owner };
                    download::http(&self.client, url, written, &self.limits, patience, reporter).await?;
                    guard
                }
            },
        };
        let place = Place { name, path, owner, target: target.clone(), item: item.clone() };
        let budget = Budget::new(self.limits, patience.clone(), reporter.clone());
        tokio::task::spawn_blocking(move || place.put(content, budget))
            .await
            .unwrap_or(Err(Reason::Cancelled))
    }

    /// What it is called, and where it goes.
    fn name(&self, item: &FetchItem, source: &Source) -> Result<(String, Inside), Reason> {
        let name = match &item.output_file {
            Some(name) => name.clone(),
            None => source.name().ok_or(Reason::Unnamed)?,
        };
        let path =
            Inside::parse(name.as_bytes(), self.limits.path_bytes).and_then(|path| match path.is_empty() {
                true => Err(BadPath::Empty),
                false => Ok(path),
            });
        match path {
            Ok(path) => Ok((name, path)),
            Err(rule) => Err(Reason::Output { path: name, rule }),
        }
    }

    /// The kept copy, fetched first if there is none.
    async fn cached(
        &self,
        cache: &Cache,
        key: &str,
        url: &Url,
        patience: &Patience,
        reporter: &Reporter,
    ) -> Result<File, Reason> {
        let turn = cache.turn(key);
        let _turn = turn.lock().await;
        if let Some(file) = cache.get(key) {
            return Ok(file);
        }
        let setup = |error| Reason::Setup("the cache", error);
        let (path, file) = cache.create().map_err(setup)?;
        let new = New(path);
        let written = file.try_clone().map_err(setup)?;
        download::http(&self.client, url, written, &self.limits, patience, reporter).await?;
        cache.keep(key, &new.0).map_err(setup)?;
        Ok(file)
    }
}

/// A file on its way into the cache; removed when it does not get there.
struct New(PathBuf);

impl Drop for New {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
