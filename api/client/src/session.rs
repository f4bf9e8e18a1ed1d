//! The passive machine behind a subscription to the scheduler API.
//!
//! The driver reports what happens ([`Input`]) and executes what is asked ([`Effect`]), in order. After each call of
//! [`Session::handle`] it arms a timer for [`Session::next_deadline`] and reports [`Input::Wake`] when that is reached. The
//! machine reads no clock; its jitter comes from a seed.

use model::time::{Span, Time};

use crate::limits;

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// The deadline was reached.
    Wake,
    /// The stream is open: the head of a 200 answer has come.
    Opened,
    /// The first event. `heartbeat` is the announced interval.
    Subscribed {
        /// The interval between heartbeats.
        heartbeat: Span,
    },
    /// Any other event, a heartbeat included.
    Heard,
    /// The attempt or the stream ended: refused, redirected, closed or broken. With `again` at once, because another
    /// master was named.
    Ended {
        /// Whether to try again without a pause.
        again: bool,
    },
    /// The master sent ERROR: the framework is not wanted any more, or another instance took its place.
    Refused,
}

/// What the driver is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Send SUBSCRIBE to the master that is likely to lead.
    Connect,
    /// Close the stream or give up the attempt, and pass over to another master.
    Disconnect,
    /// The subscription is gone for good.
    Stop,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// A pause before the next attempt.
    Waiting {
        until: Time,
    },
    /// An attempt is under way; without the first event by then it is given up.
    Connecting {
        until: Time,
        /// Redirects followed since the last pause.
        redirects: u32,
    },
    /// Events come; silent until then, the stream is given up.
    Subscribed {
        silence: Span,
        until: Time,
    },
    Stopped,
}

/// One subscription, over all its streams.
#[derive(Debug)]
pub struct Session {
    state: State,
    backoff: Span,
    seed: u64,
}

impl Session {
    /// A session that connects at the first [`Input::Wake`]. Two instances of a framework take different seeds.
    pub fn new(seed: u64) -> Self {
        let now = Time::from_millis(0);
        Self { state: State::Waiting { until: now }, backoff: limits::BACKOFF_FIRST, seed }
    }

    /// Takes in what happened.
    pub fn handle(&mut self, now: Time, input: &Input, out: &mut Vec<Effect>) {
        match (self.state, input) {
            (State::Stopped, _) => {}
            (_, Input::Refused) => {
                self.state = State::Stopped;
                out.push(Effect::Stop);
            }
            (State::Waiting { until }, Input::Wake) if now >= until => {
                self.connect(now, 0, out);
            }
            (State::Connecting { until, .. } | State::Subscribed { until, .. }, Input::Wake)
                if now >= until =>
            {
                out.push(Effect::Disconnect);
                self.pause(now);
            }
            (_, Input::Subscribed { heartbeat }) => {
                self.backoff = limits::BACKOFF_FIRST;
                let silence = heartbeat.saturating_mul(limits::HEARTBEATS_MISSED);
                self.state = State::Subscribed { silence, until: now + silence };
            }
            (State::Subscribed { silence, .. }, Input::Heard) => {
                self.state = State::Subscribed { silence, until: now + silence };
            }
            (State::Connecting { redirects, .. }, Input::Ended { again: true })
                if redirects < limits::REDIRECTS =>
            {
                self.connect(now, redirects + 1, out);
            }
            (State::Connecting { .. } | State::Subscribed { .. }, Input::Ended { .. }) => self.pause(now),
            (_, Input::Wake | Input::Opened | Input::Heard | Input::Ended { .. }) => {}
        }
    }

    /// When [`Input::Wake`] is due.
    pub fn next_deadline(&self) -> Option<Time> {
        match self.state {
            State::Waiting { until } | State::Connecting { until, .. } | State::Subscribed { until, .. } => {
                Some(until)
            }
            State::Stopped => None,
        }
    }

    fn connect(&mut self, now: Time, redirects: u32, out: &mut Vec<Effect>) {
        self.state = State::Connecting { until: now + limits::SUBSCRIBED, redirects };
        out.push(Effect::Connect);
    }

    /// Between half of the pause and all of it: frameworks that lost one master do not come back in step.
    fn pause(&mut self, now: Time) {
        let half = self.backoff.as_millis() / 2;
        let pause = Span::from_millis(half + self.random() % (half + 1));
        self.backoff = self.backoff.saturating_mul(2).min(limits::BACKOFF_LONGEST);
        self.state = State::Waiting { until: now + pause };
    }

    /// SplitMix64: enough to spread retries, and the same for the same seed.
    fn random(&mut self) -> u64 {
        self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.seed;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Time {
        Time::from_millis(millis)
    }

    fn step(session: &mut Session, millis: u64, input: Input) -> Vec<Effect> {
        let mut out = Vec::new();
        session.handle(at(millis), &input, &mut out);
        out
    }

    fn subscribed() -> Session {
        let mut session = Session::new(1);
        assert_eq!(step(&mut session, 0, Input::Wake), [Effect::Connect]);
        assert_eq!(step(&mut session, 5, Input::Opened), []);
        assert_eq!(step(&mut session, 6, Input::Subscribed { heartbeat: Span::from_secs(15) }), []);
        session
    }

    #[test]
    fn a_silent_stream_is_given_up_after_two_heartbeats() {
        let mut session = subscribed();
        assert_eq!(session.next_deadline(), Some(at(30_006)));
        step(&mut session, 20_000, Input::Heard);
        assert_eq!(step(&mut session, 30_006, Input::Wake), [], "it was heard meanwhile");
        assert_eq!(step(&mut session, 50_000, Input::Wake), [Effect::Disconnect]);
    }

    #[test]
    fn a_redirect_is_followed_at_once_and_a_failure_after_a_growing_pause() {
        let mut session = Session::new(1);
        step(&mut session, 0, Input::Wake);
        assert_eq!(step(&mut session, 1, Input::Ended { again: true }), [Effect::Connect]);
        let mut now = 1;
        let mut pauses = Vec::new();
        for _ in 0..12 {
            step(&mut session, now, Input::Ended { again: false });
            let due = session.next_deadline().expect("a pause").as_millis();
            pauses.push(due - now);
            now = due;
            assert_eq!(step(&mut session, now, Input::Wake), [Effect::Connect]);
        }
        assert!(pauses[0] <= 50 && pauses[0] >= 25, "{pauses:?}");
        assert!(pauses[11] <= 2_000 && pauses[11] >= 1_000, "{pauses:?}");
    }

    #[test]
    fn masters_that_name_each_other_are_not_followed_in_circles() {
        let mut session = Session::new(1);
        step(&mut session, 0, Input::Wake);
        for _ in 0..limits::REDIRECTS {
            assert_eq!(step(&mut session, 1, Input::Ended { again: true }), [Effect::Connect]);
        }
        assert_eq!(step(&mut session, 1, Input::Ended { again: true }), []);
        let due = session.next_deadline().expect("a pause");
        assert!(due > at(1));
        assert_eq!(step(&mut session, due.as_millis(), Input::Wake), [Effect::Connect]);
        assert_eq!(step(&mut session, due.as_millis(), Input::Ended { again: true }), [Effect::Connect]);
    }

    #[test]
    fn an_attempt_without_a_first_event_is_given_up() {
        let mut session = Session::new(1);
        step(&mut session, 0, Input::Wake);
        step(&mut session, 5, Input::Opened);
        assert_eq!(step(&mut session, 10_000, Input::Wake), [Effect::Disconnect]);
    }

    #[test]
    fn an_error_ends_it_for_good() {
        let mut session = subscribed();
        assert_eq!(step(&mut session, 100, Input::Refused), [Effect::Stop]);
        assert_eq!(step(&mut session, 101, Input::Ended { again: true }), []);
        assert_eq!(session.next_deadline(), None);
    }

    #[test]
    fn the_same_seed_gives_the_same_pauses() {
        let pauses = |seed| {
            let mut session = Session::new(seed);
            step(&mut session, 0, Input::Wake);
            step(&mut session, 0, Input::Ended { again: false });
            session.next_deadline()
        };
        assert_eq!(pauses(7), pauses(7));
        assert!((0..20).map(pauses).collect::<std::collections::BTreeSet<_>>().len() > 5);
    }
}
