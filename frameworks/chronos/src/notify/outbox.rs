//! Letters that wait to be sent: how many, for how long, and what became of the others.
//!
//! Passive: the times are arguments, and nothing is sent here. A channel that fails is left alone for a while, not each of
//! its letters: a server that is down is asked once, however many letters wait for it.

use std::collections::BTreeMap;

use model::time::{Span, Time};
use serde::{Deserialize, Serialize};

use super::{Channel, Letter};
use crate::core::millis;
use crate::limits;

/// A letter as it is stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Posted {
    pub(crate) letter: Letter,
    #[serde(with = "millis")]
    pub(crate) written: Time,
    /// Times it was tried; not stored with each of them.
    #[serde(skip)]
    pub(crate) attempts: u32,
}

/// How sending ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    Sent,
    /// It may go better later.
    Failed(String),
    /// It will not.
    Refused(String),
}

/// What became of the letters of a channel since this instance leads.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) sent: u64,
    /// Attempts that failed and were, or will be, repeated.
    pub(crate) failed: u64,
    /// Given up: the receiver does not want it, or it was too old.
    pub(crate) given_up: u64,
    /// Never taken in: the outbox was full.
    pub(crate) dropped: u64,
}

/// A channel's state.
#[derive(Debug, Clone, Default)]
pub(crate) struct Lane {
    pub(crate) counts: Counts,
    /// Attempts in a row that failed.
    failures: u32,
    /// Not tried before.
    pub(crate) paused_until: Option<Time>,
    /// What the last failure was.
    pub(crate) problem: String,
}

/// What a channel is to do next.
#[derive(Debug, PartialEq)]
pub(crate) enum Next {
    Send(u64, Letter),
    /// Nothing before this time.
    At(Time),
    /// Nothing until something is written.
    Nothing,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Outbox {
    pub(crate) waiting: BTreeMap<u64, Posted>,
    pub(crate) lanes: BTreeMap<Channel, Lane>,
    next: u64,
}

impl Outbox {
    /// Takes a letter in and numbers it, unless too many wait.
    pub(crate) fn post(&mut self, now: Time, letter: Letter) -> Option<(u64, &Posted)> {
        if self.waiting.len() >= limits::LETTERS {
            self.lane(letter.channel).counts.dropped += 1;
            return None;
        }
        // Numbers go on growing from one leader to the next.
        let number = self.next.max(now.as_millis());
        self.next = number + 1;
        let posted = Posted { letter, written: now, attempts: 0 };
        Some((number, self.waiting.entry(number).or_insert(posted)))
    }

    /// Takes in what an earlier leader did not send.
    pub(crate) fn restore(&mut self, number: u64, posted: Posted) {
        self.next = self.next.max(number + 1);
        self.waiting.insert(number, posted);
    }

    /// What this channel is to do. A letter that failed lets those go first that were tried less often.
    pub(crate) fn next(&mut self, now: Time, channel: Channel) -> Next {
        let mine = self.waiting.iter().filter(|(_, posted)| posted.letter.channel == channel);
        let Some((number, posted)) = mine.min_by_key(|(number, posted)| (posted.attempts, **number)) else {
            return Next::Nothing;
        };
        let (number, letter) = (*number, posted.letter.clone());
        match self.lane(channel).paused_until.filter(|until| *until > now) {
            Some(until) => Next::At(until),
            None => Next::Send(number, letter),
        }
    }

    /// Notes how sending ended, and says whether the letter is done with.
    pub(crate) fn ended(&mut self, now: Time, number: u64, outcome: Outcome) -> bool {
        let Some(posted) = self.waiting.get_mut(&number) else { return false };
        posted.attempts += 1;
        let (channel, too_old) = (posted.letter.channel, now >= posted.written + limits::LETTER_LIFE);
        let lane = self.lane(channel);
        let over = match outcome {
            Outcome::Sent => {
                (lane.failures, lane.paused_until) = (0, None);
                lane.counts.sent += 1;
                true
            }
            Outcome::Refused(problem) => {
                // The server answers, so it is up.
                (lane.failures, lane.paused_until) = (0, None);
                lane.problem = problem;
                lane.counts.given_up += 1;
                true
            }
            Outcome::Failed(problem) => {
                lane.problem = problem;
                lane.paused_until = Some(now + pause(lane.failures));
                lane.failures = lane.failures.saturating_add(1);
                if too_old {
                    lane.counts.given_up += 1;
                } else {
                    lane.counts.failed += 1;
                }
                too_old
            }
        };
        if over {
            self.waiting.remove(&number);
        }
        over
    }

    /// Letters that wait, of one channel.
    pub(crate) fn waiting_of(&self, channel: Channel) -> usize {
        self.waiting.values().filter(|posted| posted.letter.channel == channel).count()
    }

    fn lane(&mut self, channel: Channel) -> &mut Lane {
        self.lanes.entry(channel).or_default()
    }
}

/// After so many failures in a row before.
fn pause(failures: u32) -> Span {
    limits::LETTER_AGAIN.saturating_mul(1 << failures.min(16)).min(limits::LETTER_AGAIN_LONGEST)
}

#[cfg(test)]
mod tests {
    use serde_json::Map;

    use super::*;

    const NOW: Time = Time::from_secs(1_767_225_600);

    fn letter(channel: Channel, job: &str) -> Letter {
        let (to, subject, message) = (String::new(), "s".to_owned(), "m".to_owned());
        Letter { channel, to, job: job.to_owned(), subject, message, details: Map::new() }
    }

    fn send(outbox: &mut Outbox, now: Time, channel: Channel) -> (u64, String) {
        match outbox.next(now, channel) {
            Next::Send(number, letter) => (number, letter.job),
            other => panic!("{other:?}"),
        }
    }

    fn failed() -> Outcome {
        Outcome::Failed("refused the connection".to_owned())
    }

    #[test]
    fn a_dead_server_is_asked_at_growing_intervals_and_other_channels_go_on() {
        let mut outbox = Outbox::default();
        outbox.post(NOW, letter(Channel::Mail, "a"));
        outbox.post(NOW, letter(Channel::Slack, "a"));
        let (mut now, mut pauses) = (NOW, Vec::new());
        for _ in 0..12 {
            let (number, _) = send(&mut outbox, now, Channel::Mail);
            assert!(!outbox.ended(now, number, failed()));
            let Next::At(until) = outbox.next(now, Channel::Mail) else { panic!("not left alone") };
            pauses.push((until - now).as_millis() / 1000);
            now = until;
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]);
        let (number, _) = send(&mut outbox, NOW, Channel::Slack);
        assert!(outbox.ended(NOW, number, Outcome::Sent));
        assert_eq!(outbox.next(NOW, Channel::Slack), Next::Nothing);

        let (number, _) = send(&mut outbox, now, Channel::Mail);
        outbox.ended(now, number, Outcome::Sent);
        outbox.post(now, letter(Channel::Mail, "b"));
        let (number, _) = send(&mut outbox, now, Channel::Mail);
        outbox.ended(now, number, failed());
        let until = now + limits::LETTER_AGAIN;
        assert_eq!(outbox.next(now, Channel::Mail), Next::At(until), "a success forgets failures");
    }

    #[test]
    fn one_address_that_always_fails_does_not_stand_in_the_way_of_others() {
        let mut outbox = Outbox::default();
        outbox.post(NOW, letter(Channel::Mail, "bad"));
        outbox.post(NOW, letter(Channel::Mail, "good"));
        let (number, job) = send(&mut outbox, NOW, Channel::Mail);
        assert_eq!(job, "bad");
        outbox.ended(NOW, number, failed());
        assert_eq!(send(&mut outbox, NOW + Span::from_secs(10), Channel::Mail).1, "good");
    }

    #[test]
    fn a_letter_that_is_not_wanted_or_too_old_is_given_up() {
        let mut outbox = Outbox::default();
        outbox.post(NOW, letter(Channel::Mail, "a"));
        outbox.post(NOW, letter(Channel::Mail, "b"));
        let (number, _) = send(&mut outbox, NOW, Channel::Mail);
        assert!(outbox.ended(NOW, number, Outcome::Refused("no such user".to_owned())));
        let late = NOW + limits::LETTER_LIFE;
        let (number, _) = send(&mut outbox, late, Channel::Mail);
        assert!(outbox.ended(late, number, failed()));
        assert!(outbox.waiting.is_empty());
        assert_eq!(outbox.lanes[&Channel::Mail].counts.given_up, 2);
        assert!(!outbox.ended(late, number, Outcome::Sent), "done with already");
    }

    #[test]
    fn a_full_outbox_takes_nothing_more_and_counts_it() {
        let mut outbox = Outbox::default();
        for _ in 0..limits::LETTERS {
            assert!(outbox.post(NOW, letter(Channel::Mail, "a")).is_some());
        }
        assert!(outbox.post(NOW, letter(Channel::Http, "a")).is_none());
        assert_eq!(outbox.lanes[&Channel::Http].counts.dropped, 1);
        assert_eq!(outbox.waiting_of(Channel::Mail), limits::LETTERS);
    }

    #[test]
    fn numbers_go_on_after_what_an_earlier_leader_left() {
        let mut outbox = Outbox::default();
        let left = NOW.as_millis() + 5;
        let posted = Posted { letter: letter(Channel::Mail, "old"), written: NOW, attempts: 0 };
        outbox.restore(left, posted);
        let (number, _) = outbox.post(NOW, letter(Channel::Mail, "new")).expect("room");
        assert_eq!(number, left + 1);
        assert_eq!(send(&mut outbox, NOW, Channel::Mail).1, "old");
    }
}
