//! A client that competes for a lock: a key under a lease, as instances of a framework compete for leadership.

use rand::RngExt;

use super::campaign::{Campaign, News, Race};
use super::{Crash, Due, Machine};
use crate::context::Context;
use crate::frame::Frame;
use crate::net::{ConnId, Host, MS};

/// How the judge calls the lock.
const LOCK: &str = "lock";

/// A machine with such a client on it.
pub struct Locker {
    host: Host,
    number: u64,
    masters: Vec<(String, Host)>,
    campaign: Campaign,
    /// Renewals until it hands the lock back by itself.
    rounds: u32,
    taken: u64,
    renewed: u64,
}

impl Locker {
    pub(crate) fn new(host: Host, number: u64, masters: &[(String, Host)]) -> Self {
        let campaign = Campaign::new(host, masters, race(number));
        Self { host, number, masters: masters.to_vec(), campaign, rounds: 0, taken: 0, renewed: 0 }
    }

    fn next(&mut self, cx: &mut Context) {
        let news = match self.campaign.holds() {
            Some((_, until)) if cx.now < until && self.rounds == 0 => self.campaign.release(cx),
            Some((token, until)) if cx.now < until => {
                self.rounds -= 1;
                cx.judge.leases.holds(LOCK, self.number, token, cx.now, until);
                self.campaign.next(cx)
            }
            _ => self.campaign.next(cx),
        };
        self.learn(news, cx);
    }

    fn learn(&mut self, news: Option<News>, cx: &mut Context) {
        match news {
            Some(News::Holds { token, until }) => {
                self.taken += 1;
                self.rounds = cx.random.random_range(0..8);
                if cx.now < until {
                    cx.judge.leases.holds(LOCK, self.number, token, cx.now, until);
                }
            }
            Some(News::Renewed { token, until }) => {
                self.renewed += 1;
                cx.judge.leases.holds(LOCK, self.number, token, cx.now, until);
            }
            Some(News::Lost { at }) => cx.judge.leases.over(LOCK, self.number, at),
            Some(News::Held { .. }) | None => {}
        }
    }
}

fn race(number: u64) -> Race {
    let pace = (100 * MS, 1_200 * MS);
    Race { namespace: "locks", key: LOCK, name: number.to_string(), ttl_ms: 5_000, renew: pace, look: pace }
}

impl Machine for Locker {
    fn start(&mut self, cx: &mut Context) {
        self.campaign = Campaign::new(self.host, &self.masters, race(self.number));
        self.campaign.rest(cx);
    }

    fn due(&mut self, what: Due, cx: &mut Context) {
        let news = match what {
            Due::Next => return self.next(cx),
            Due::Expired => self.campaign.expired(cx),
            Due::Again => return self.campaign.again(cx),
            Due::Timeout(conn) => self.campaign.timeout(conn, cx),
            _ => None,
        };
        self.learn(news, cx);
    }

    fn heard(&mut self, conn: ConnId, frame: Frame, cx: &mut Context) {
        let news = self.campaign.heard(conn, frame, cx);
        self.learn(news, cx);
    }

    fn crash(&mut self, _: Crash, cx: &mut Context) {
        cx.judge.leases.over(LOCK, self.number, cx.now);
    }

    fn unfinished(&self, _: &Context) -> Vec<String> {
        Vec::new()
    }

    fn report(&self) -> String {
        format!("took the lock {} times, renewed it {} times", self.taken, self.renewed)
    }
}
