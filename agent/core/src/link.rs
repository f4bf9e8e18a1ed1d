//! The way to the leading master: whom to dial, when, and when to give a link up.
//!
//! A broken link is dialled again at once, then every master in turn, then all over again after waits that
//! double: an agent must be back within a fraction of a second after a failover, and ten thousand of them must
//! not storm a cluster that has no leader for a minute.

use model::time::{Span, Time};

use crate::effect::{Effect, LinkId};
use crate::ids::Ids;
use crate::limits;

/// Where the registration stands.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Phase {
    /// Not started, or ended for good.
    Off,
    Waiting,
    Dialing {
        link: LinkId,
    },
    /// Hello sent, no answer yet.
    Greeting {
        link: LinkId,
    },
    Registered {
        link: LinkId,
        timeout: Span,
    },
}

/// What a wake-up of the link did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Woken {
    Nothing,
    /// The current link was given up.
    Lost,
}

#[derive(Debug)]
pub(crate) struct Link {
    masters: Vec<String>,
    /// The next master of the list to dial.
    cursor: usize,
    /// Masters of the list dialled in vain since the last wait.
    tried: usize,
    /// Rounds over the list without success: doubles the wait.
    rounds: u32,
    /// Where a master said the leader is.
    hint: Option<String>,
    redirects: u32,
    /// The master dialled last.
    address: String,
    next_id: u64,
    phase: Phase,
    deadline: Option<Time>,
}

impl Link {
    pub(crate) fn new(masters: Vec<String>) -> Self {
        Self {
            masters,
            cursor: 0,
            tried: 0,
            rounds: 0,
            hint: None,
            redirects: 0,
            address: String::new(),
            next_id: 1,
            phase: Phase::Off,
            deadline: None,
        }
    }

    pub(crate) fn deadline(&self) -> Option<Time> {
        self.deadline
    }

    /// The link on which the agent is registered.
    pub(crate) fn registered(&self) -> Option<LinkId> {
        match self.phase {
            Phase::Registered { link, .. } => Some(link),
            _ => None,
        }
    }

    /// The master of the current link, for people to read.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Whether `link` is the one in use: what comes from an older one is ignored.
    pub(crate) fn is_current(&self, link: LinkId) -> bool {
        self.current() == Some(link)
    }

    /// Whether the hello is sent and not yet answered on `link`.
    pub(crate) fn is_greeting(&self, link: LinkId) -> bool {
        self.phase == Phase::Greeting { link }
    }

    fn current(&self) -> Option<LinkId> {
        match self.phase {
            Phase::Dialing { link } | Phase::Greeting { link } | Phase::Registered { link, .. } => Some(link),
            Phase::Off | Phase::Waiting => None,
        }
    }

    pub(crate) fn start(&mut self, now: Time, out: &mut Vec<Effect>) {
        if self.phase == Phase::Off && !self.masters.is_empty() {
            self.dial_next(now, out);
        }
    }

    /// No link any more, for good.
    pub(crate) fn stop(&mut self, out: &mut Vec<Effect>) {
        if let Some(link) = self.current() {
            out.push(Effect::Hangup { link });
        }
        self.leave();
    }

    /// As [`stop`](Self::stop) for a caller that hangs up itself, after its last words.
    pub(crate) fn leave(&mut self) {
        self.phase = Phase::Off;
        self.deadline = None;
    }

    /// The upgrade went through; whether `link` is the one waited for. The caller sends its hello.
    pub(crate) fn up(&mut self, now: Time, link: LinkId) -> bool {
        if self.phase != (Phase::Dialing { link }) {
            return false;
        }
        self.phase = Phase::Greeting { link };
        self.deadline = Some(now + limits::WELCOME_TIMEOUT);
        true
    }

    pub(crate) fn welcome(&mut self, now: Time, link: LinkId, timeout: Span) {
        let timeout = timeout.clamp(limits::LINK_TIMEOUT_MIN, limits::LINK_TIMEOUT_MAX);
        self.phase = Phase::Registered { link, timeout };
        self.deadline = Some(now + timeout);
        #[cfg(feature = "mutants")]
        if mutant::planted("silent-links-are-trusted") {
            self.deadline = None;
        }
        self.tried = 0;
        self.rounds = 0;
        self.redirects = 0;
        // When this link breaks, its master is the first to be asked again.
        self.hint = Some(self.address.clone());
    }

    /// Any frame shows that the master lives.
    pub(crate) fn heard(&mut self, now: Time) {
        #[cfg(feature = "mutants")]
        if mutant::planted("silent-links-are-trusted") {
            return;
        }
        if let Phase::Registered { timeout, .. } = self.phase {
            self.deadline = Some(now + timeout);
        }
    }

    /// The current link is over: hangs up and looks for the next one. `leader` is a master to ask first.
    pub(crate) fn lost(&mut self, now: Time, leader: Option<String>, ids: &mut Ids, out: &mut Vec<Effect>) {
        if let Some(link) = self.current() {
            out.push(Effect::Hangup { link });
        }
        match leader {
            Some(leader) if self.redirects < limits::REDIRECTS => {
                self.redirects += 1;
                self.dial(now, leader, out);
            }
            _ => self.try_next(now, ids, out),
        }
    }

    /// Comes back to the same master after `wait`, spread by half of it.
    pub(crate) fn postpone(&mut self, now: Time, wait: Span, ids: &mut Ids, out: &mut Vec<Effect>) {
        if let Some(link) = self.current() {
            out.push(Effect::Hangup { link });
        }
        self.hint = Some(self.address.clone());
        let wait = wait.clamp(limits::BACKOFF_FIRST, limits::BUSY_MAX);
        let spread = Span::from_millis(ids.below(wait.as_millis() / 2 + 1));
        self.wait(now + wait + spread);
    }

    pub(crate) fn wake(&mut self, now: Time, ids: &mut Ids, out: &mut Vec<Effect>) -> Woken {
        if self.deadline.is_none_or(|deadline| now < deadline) {
            return Woken::Nothing;
        }
        match self.phase {
            Phase::Off => {
                self.deadline = None;
                Woken::Nothing
            }
            Phase::Waiting => {
                self.dial_next(now, out);
                Woken::Nothing
            }
            Phase::Dialing { .. } | Phase::Greeting { .. } | Phase::Registered { .. } => {
                self.lost(now, None, ids, out);
                Woken::Lost
            }
        }
    }

    fn try_next(&mut self, now: Time, ids: &mut Ids, out: &mut Vec<Effect>) {
        if self.hint.is_some() || self.tried < self.masters.len() {
            self.dial_next(now, out);
            return;
        }
        let longest = limits::BACKOFF_FIRST.saturating_mul(1 << self.rounds.min(16)).min(limits::BACKOFF_MAX);
        let half = longest.as_millis() / 2;
        self.rounds += 1;
        self.tried = 0;
        self.redirects = 0;
        self.wait(now + Span::from_millis(half + ids.below(half + 1)));
    }

    fn wait(&mut self, until: Time) {
        self.phase = Phase::Waiting;
        self.deadline = Some(until);
    }

    fn dial_next(&mut self, now: Time, out: &mut Vec<Effect>) {
        let address = self.hint.take().unwrap_or_else(|| {
            let address = self.masters[self.cursor % self.masters.len()].clone();
            self.cursor = (self.cursor + 1) % self.masters.len();
            self.tried += 1;
            address
        });
        self.dial(now, address, out);
    }

    fn dial(&mut self, now: Time, address: String, out: &mut Vec<Effect>) {
        let link = LinkId(self.next_id);
        self.next_id += 1;
        self.address.clone_from(&address);
        self.phase = Phase::Dialing { link };
        self.deadline = Some(now + limits::DIAL_TIMEOUT);
        out.push(Effect::Dial { link, address });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A link with its effects noted as words.
    struct Bench {
        link: Link,
        ids: Ids,
        now: Time,
    }

    impl Bench {
        fn new(masters: &[&str]) -> Self {
            let masters = masters.iter().map(|m| (*m).to_owned()).collect();
            Self { link: Link::new(masters), ids: Ids::new([1, 2]), now: Time::from_secs(1) }
        }

        fn run(&mut self, step: impl FnOnce(&mut Link, Time, &mut Ids, &mut Vec<Effect>)) -> Vec<String> {
            let mut out = Vec::new();
            step(&mut self.link, self.now, &mut self.ids, &mut out);
            out.iter()
                .map(|effect| match effect {
                    Effect::Dial { link, address } => format!("dial {} {address}", link.0),
                    Effect::Hangup { link } => format!("hangup {}", link.0),
                    other => format!("{other:?}"),
                })
                .collect()
        }

        fn lost(&mut self) -> Vec<String> {
            self.run(|link, now, ids, out| link.lost(now, None, ids, out))
        }

        /// Lets the deadline pass; how long that took, and what was done.
        fn wake(&mut self) -> (Span, Vec<String>) {
            let at = self.link.deadline().expect("a deadline");
            let waited = at.since(self.now);
            self.now = at;
            let done = self.run(|link, now, ids, out| {
                link.wake(now, ids, out);
            });
            (waited, done)
        }
    }

    #[test]
    fn every_master_is_asked_before_any_wait_and_waits_double() {
        let mut bench = Bench::new(&["a", "b"]);
        assert_eq!(bench.run(|link, now, _, out| link.start(now, out)), ["dial 1 a"]);
        assert_eq!(bench.lost(), ["hangup 1", "dial 2 b"]);
        let mut longest = limits::BACKOFF_FIRST;
        for round in 0..10 {
            assert_eq!(bench.lost().len(), 1, "only a hang-up before the wait");
            let (waited, done) = bench.wake();
            assert!(
                waited <= longest && waited >= Span::from_millis(longest.as_millis() / 2),
                "{round}: {waited}"
            );
            assert_eq!(done.len(), 1);
            bench.lost();
            longest = longest.saturating_mul(2).min(limits::BACKOFF_MAX);
        }
    }

    #[test]
    fn a_redirect_is_followed_at_once_but_not_for_ever() {
        let mut bench = Bench::new(&["a"]);
        bench.run(|link, now, _, out| link.start(now, out));
        for hop in 0..limits::REDIRECTS {
            let done = bench.run(|link, now, ids, out| link.lost(now, Some("z".into()), ids, out));
            assert_eq!(done[1], format!("dial {} z", hop + 2));
        }
        let done = bench.run(|link, now, ids, out| link.lost(now, Some("z".into()), ids, out));
        assert_eq!(done, ["hangup 5"]);
        assert_eq!(bench.wake().1, ["dial 6 a"]);
    }

    #[test]
    fn a_registered_link_dies_of_silence_and_its_master_is_asked_first() {
        let mut bench = Bench::new(&["a", "b"]);
        bench.run(|link, now, _, out| link.start(now, out));
        bench.lost();
        assert!(bench.link.up(bench.now, LinkId(2)));
        bench.link.welcome(bench.now, LinkId(2), Span::from_secs(15));
        bench.now += Span::from_secs(10);
        bench.link.heard(bench.now);
        let (silence, done) = bench.wake();
        assert_eq!(silence, Span::from_secs(15));
        assert_eq!(done, ["hangup 2", "dial 3 b"]);
    }

    #[test]
    fn answers_of_old_links_are_not_taken_for_the_current_one() {
        let mut bench = Bench::new(&["a"]);
        bench.run(|link, now, _, out| link.start(now, out));
        let (_, done) = bench.wake();
        assert_eq!(done, ["hangup 1"]);
        assert!(!bench.link.up(bench.now, LinkId(1)));
        assert!(!bench.link.is_current(LinkId(1)));
    }
}
