//! What all parts of a master share.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use front::guard::Guard;
use front::logging::{Logging, Logs};
use master_core::authority::Authority;
use master_core::input::{LinkId, RequestId};
use model::time::Time;
use replica::disk::DirectoryFiles;
use replica::form::Forming;
use replica::{Members, NodeId, Status};
use tokio::sync::{Semaphore, mpsc, watch};
use wire::v1::DomainInfo;

use crate::driver::Message;
use crate::level::Levels;
use crate::limits;
use crate::membership::Changes;
use crate::metrics::Metrics;
use crate::peers::Peers;
use crate::routes::state::About;

/// What this master is to clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Standing {
    /// The group is not founded yet; the first members still to be heard of.
    Forming {
        missing: Vec<String>,
    },
    /// Nobody is known to lead.
    Electing,
    Following {
        leader: Arc<str>,
    },
    Leading {
        term: u64,
    },
    /// The process ends.
    Ending,
}

impl Standing {
    /// Of a master whose replica does not run yet.
    fn before_the_start(forming: &Forming) -> Self {
        match forming.founding() {
            // It only reads its disk: there is a group, and nobody to wait for.
            Some(_) => Self::Electing,
            None => Self::Forming { missing: forming.missing().into_iter().map(str::to_owned).collect() },
        }
    }
}

/// What a master was told that its parts ask for.
pub(crate) struct Given {
    pub(crate) domain: Option<DomainInfo>,
    pub(crate) offer_timeout: Option<Duration>,
    pub(crate) guard: Option<Guard>,
    pub(crate) authority: Arc<Authority>,
    pub(crate) logs: Option<Logs>,
}

pub(crate) struct App {
    /// `host:port` others use.
    pub(crate) advertise: Arc<str>,
    /// The first address of its host, for those who want a number.
    pub(crate) ip: IpAddr,
    pub(crate) clock: Clock,
    /// What it says of itself.
    pub(crate) about: About,
    /// Where it stands.
    pub(crate) domain: Option<DomainInfo>,
    /// An offer nobody answers is taken back after so long.
    pub(crate) offer_timeout: Option<Duration>,
    /// Who may ask for what; absent: everybody for everything.
    pub(crate) guard: Option<Guard>,
    /// What the core holds those frameworks to.
    pub(crate) authority: Arc<Authority>,
    /// The process's log.
    pub(crate) logging: Arc<Logging>,
    pub(crate) standing: watch::Sender<Standing>,
    pub(crate) inbox: mpsc::Sender<Message>,
    pub(crate) metrics: Metrics,
    /// The founding of the group, and afterwards the answer to whoever greets us.
    pub(crate) forming: Mutex<Forming>,
    /// Set once the replica runs.
    pub(crate) group: OnceLock<Group>,
    pub(crate) bodies: Semaphore,
    /// Places of readers of the whole state.
    pub(crate) readers: Arc<Semaphore>,
    /// Those of them that make something at this moment.
    pub(crate) renders: Arc<Semaphore>,
    requests: AtomicU64,
    links: AtomicU64,
}

/// What the routes between peers need of a running replica.
pub(crate) struct Group {
    /// This member.
    pub(crate) node: NodeId,
    pub(crate) peers: Arc<Peers>,
    pub(crate) files: DirectoryFiles,
    /// As of the last index applied here.
    pub(crate) members: watch::Sender<Members>,
    /// The replica's last numbers.
    pub(crate) status: watch::Sender<Option<Status>>,
    pub(crate) changes: Changes,
    /// What the programs of the members know.
    pub(crate) levels: Levels,
}

impl App {
    pub(crate) fn new(
        advertise: Arc<str>,
        ip: IpAddr,
        flags: Vec<(&'static str, String)>,
        forming: Forming,
        metrics: Metrics,
        inbox: mpsc::Sender<Message>,
        given: Given,
    ) -> Self {
        let clock = Clock::start();
        let standing = watch::Sender::new(Standing::before_the_start(&forming));
        Self {
            about: About { advertise: advertise.to_string(), started: clock.now(), flags },
            advertise,
            ip,
            clock,
            domain: given.domain,
            offer_timeout: given.offer_timeout,
            guard: given.guard,
            authority: given.authority,
            logging: Arc::new(Logging::new(given.logs)),
            standing,
            inbox,
            metrics,
            forming: Mutex::new(forming),
            group: OnceLock::new(),
            bodies: Semaphore::new(limits::BODY_UNITS),
            readers: Arc::new(Semaphore::new(limits::READERS)),
            renders: Arc::new(Semaphore::new(limits::RENDERS)),
            requests: AtomicU64::new(1),
            links: AtomicU64::new(1),
        }
    }

    pub(crate) fn request_id(&self) -> RequestId {
        RequestId(self.requests.fetch_add(1, Ordering::Relaxed))
    }

    pub(crate) fn link_id(&self) -> LinkId {
        LinkId(self.links.fetch_add(1, Ordering::Relaxed))
    }

    /// Resolves when the process is about to end: what was upgraded is no part of any connection that is drained.
    pub(crate) async fn ending(&self) {
        let mut standing = self.standing.subscribe();
        // The sender lives as long as we do.
        let _ = standing.wait_for(|standing| *standing == Standing::Ending).await;
    }

    pub(crate) fn with_forming<T>(&self, act: impl FnOnce(&mut Forming) -> T) -> T {
        act(&mut self.forming.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Unix time that never goes back: the wall clock is read once, later times are counted from there.
pub(crate) struct Clock {
    at_start: u64,
    start: Instant,
}

impl Clock {
    fn start() -> Self {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let at_start = u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX);
        Self { at_start, start: Instant::now() }
    }

    pub(crate) fn now(&self) -> Time {
        let passed = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        Time::from_millis(self.at_start.saturating_add(passed))
    }

    /// When that time will be; now, if it has passed.
    pub(crate) fn instant(&self, time: Time) -> Instant {
        self.start + Duration::from_millis(time.as_millis().saturating_sub(self.at_start))
    }
}

#[cfg(test)]
mod tests {
    use replica::ClusterId;

    use super::*;

    #[test]
    fn a_master_that_comes_back_does_not_say_that_its_group_is_not_founded() {
        let peers = ["a:1".to_owned(), "b:1".to_owned()];
        let mut forming = Forming::new(NodeId(1), "a:1", &peers).expect("one of them");
        let missing = vec!["b:1".to_owned()];
        assert_eq!(Standing::before_the_start(&forming), Standing::Forming { missing });
        let hello = Forming::new(NodeId(2), "b:1", &peers).expect("one of them").hello();
        forming.hear(&hello).expect("they agree");
        let founding = forming.decide(ClusterId(7)).cloned().expect("all are there");
        let again = Forming::member(NodeId(1), "a:1", founding);
        assert_eq!(Standing::before_the_start(&again), Standing::Electing);
    }
}
