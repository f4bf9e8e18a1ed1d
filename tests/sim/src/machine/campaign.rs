//! Running for a key under a lease, as the development kit does it: whoever holds the key leads.

use rand::RngExt;
use wire::state::{
    Answer, Base64, Call, Compare, Get, LeaseGrant, LeaseName, Operation, Put, Txn, TxnAnswer,
};

use super::Due;
use super::caller::{Caller, Outcome};
use crate::context::Context;
use crate::frame::Frame;
use crate::net::{ConnId, Host, MS, Micros, SECOND};

/// What is run for, and how.
#[derive(Debug, Clone)]
pub(crate) struct Race {
    pub(crate) namespace: &'static str,
    pub(crate) key: &'static str,
    /// What is written into the key: who holds it.
    pub(crate) name: String,
    /// Time to live of the lease, in milliseconds.
    pub(crate) ttl_ms: u64,
    /// Least and most time between two renewals, and between two looks at who holds the key.
    pub(crate) renew: (Micros, Micros),
    pub(crate) look: (Micros, Micros),
}

impl Race {
    /// How the kit for schedulers runs for leadership; `name` is what standbys are told of the one that leads.
    pub(crate) fn of_the_kit(namespace: &'static str, key: &'static str, name: &str) -> Self {
        let ttl = u64::try_from(sdk::limits::LEADERSHIP.as_micros()).unwrap_or(u64::MAX);
        let renew = ttl / u64::from(sdk::limits::KEEPALIVES);
        Self {
            namespace,
            key,
            name: name.to_owned(),
            ttl_ms: ttl / MS,
            renew: (renew, renew),
            look: (200 * MS, SECOND),
        }
    }
}

/// What has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum News {
    /// It holds the key since this revision, and trusts its lease until then.
    Holds { token: u64, until: Micros },
    /// The lease was renewed.
    Renewed { token: u64, until: Micros },
    /// It holds the key no more.
    Lost { at: Micros },
    /// Another holds it.
    Held { by: String },
}

/// The runner.
#[derive(Debug)]
pub(crate) struct Campaign {
    host: Host,
    race: Race,
    caller: Caller,
    step: Step,
}

#[derive(Debug)]
enum Step {
    Idle,
    Looking,
    Granting {
        lease: String,
        asked: Micros,
    },
    Taking {
        lease: String,
        asked: Micros,
    },
    /// Holds the key until its own clock says that the lease may be over.
    Holding {
        lease: String,
        token: u64,
        until: Micros,
        renewing: Option<Micros>,
    },
    Releasing,
}

impl Campaign {
    pub(crate) fn new(host: Host, masters: &[(String, Host)], race: Race) -> Self {
        Self { host, race, caller: Caller::new(host, masters), step: Step::Idle }
    }

    /// The revision of the key it holds and until when, by its own clock.
    pub(crate) fn holds(&self) -> Option<(u64, Micros)> {
        match self.step {
            Step::Holding { token, until, .. } => Some((token, until)),
            _ => None,
        }
    }

    /// The true time until which it trusts a lease that was asked for at `asked`, by its own clock.
    fn trusted(&self, asked: Micros, cx: &Context) -> Micros {
        let rate = cx.of(self.host).clock.rate;
        let ttl = u128::from(self.race.ttl_ms * MS) * 1_000_000;
        asked + u64::try_from(ttl / u128::from(rate)).unwrap_or(0)
    }

    /// Does what is next: renews what it holds, or looks whether there is something to take.
    pub(crate) fn next(&mut self, cx: &mut Context) -> Option<News> {
        if let Some(lost) = self.expired(cx) {
            return Some(lost);
        }
        if self.caller.is_busy() {
            return None;
        }
        if let Step::Holding { lease, renewing, .. } = &mut self.step {
            *renewing = Some(cx.now);
            let call = LeaseName { namespace: self.race.namespace.into(), lease: lease.clone() };
            self.caller.state(Call::LeaseKeepalive(call), cx);
            return None;
        }
        self.step = Step::Looking;
        let get = Get { namespace: self.race.namespace.into(), key: self.race.key.into() };
        self.caller.state(Call::Get(get), cx);
        None
    }

    /// Whether the lease it holds may be over.
    pub(crate) fn expired(&mut self, cx: &mut Context) -> Option<News> {
        let (_, until) = self.holds().filter(|(_, until)| cx.now >= *until)?;
        self.caller.forget();
        self.step = Step::Idle;
        self.rest(cx);
        Some(News::Lost { at: until })
    }

    /// Hands the key back.
    pub(crate) fn release(&mut self, cx: &mut Context) -> Option<News> {
        let Step::Holding { lease, .. } = &self.step else { return None };
        let lease = lease.clone();
        self.revoke(lease, cx);
        Some(News::Lost { at: cx.now })
    }

    fn revoke(&mut self, lease: String, cx: &mut Context) {
        self.caller.forget();
        self.step = Step::Releasing;
        let call = LeaseName { namespace: self.race.namespace.into(), lease };
        self.caller.state(Call::LeaseRevoke(call), cx);
    }

    /// Whether a connection is its own.
    pub(crate) fn is_mine(&self, conn: ConnId) -> bool {
        self.caller.is_mine(conn)
    }

    pub(crate) fn again(&mut self, cx: &mut Context) {
        self.caller.again(cx);
    }

    pub(crate) fn heard(&mut self, conn: ConnId, frame: Frame, cx: &mut Context) -> Option<News> {
        let outcome = self.caller.heard(conn, frame, cx)?;
        self.outcome(outcome, cx)
    }

    pub(crate) fn timeout(&mut self, conn: ConnId, cx: &mut Context) -> Option<News> {
        self.heard(conn, Frame::End, cx)
    }

    fn outcome(&mut self, outcome: Outcome, cx: &mut Context) -> Option<News> {
        let answer = match outcome {
            Outcome::Answered(Frame::State(answer)) => Some(*answer),
            Outcome::Answered(_) | Outcome::Refused(_) | Outcome::Unknown => None,
        };
        let step = std::mem::replace(&mut self.step, Step::Idle);
        let mut news = None;
        match (step, answer) {
            (Step::Looking, Some(Answer::Get(get))) => match get.entry {
                Some(entry) => {
                    let by = String::from_utf8_lossy(&entry.value.0).into_owned();
                    news = Some(News::Held { by });
                }
                None => {
                    self.grant(cx);
                    return None;
                }
            },
            (Step::Granting { lease, asked }, Some(Answer::LeaseGrant(_))) => {
                self.take(lease, asked, cx);
                return None;
            }
            (
                Step::Taking { asked, lease },
                Some(Answer::Txn(TxnAnswer { succeeded: true, revision, .. })),
            ) => {
                let until = self.trusted(asked, cx);
                self.step = Step::Holding { lease, token: revision, until, renewing: None };
                self.watch_end(until, cx);
                news = Some(News::Holds { token: revision, until });
            }
            // It may have been done: without the revocation it would wait for itself to run out.
            (Step::Taking { lease, .. }, _) => {
                self.revoke(lease, cx);
                return None;
            }
            (Step::Holding { lease, token, until, renewing }, answer) => {
                let renewed = matches!(answer, Some(Answer::LeaseKeepalive(_)));
                match renewing.filter(|_| renewed) {
                    Some(asked) if cx.now < until => {
                        let until = self.trusted(asked, cx).max(until);
                        self.step = Step::Holding { lease, token, until, renewing: None };
                        self.watch_end(until, cx);
                        news = Some(News::Renewed { token, until });
                    }
                    _ => news = Some(News::Lost { at: cx.now.min(until) }),
                }
            }
            _ => {}
        }
        self.rest(cx);
        news
    }

    fn watch_end(&self, until: Micros, cx: &mut Context) {
        cx.later(self.host, until.saturating_sub(cx.now), Due::Expired);
    }

    fn grant(&mut self, cx: &mut Context) {
        let lease = format!("{:032x}", cx.random.random::<u128>());
        self.step = Step::Granting { lease: lease.clone(), asked: cx.now };
        let grant = LeaseGrant { namespace: self.race.namespace.into(), lease, ttl_millis: self.race.ttl_ms };
        self.caller.state(Call::LeaseGrant(grant), cx);
    }

    fn take(&mut self, lease: String, asked: Micros, cx: &mut Context) {
        let key: String = self.race.key.into();
        let put = Put {
            key: key.clone(),
            value: Base64(self.race.name.clone().into_bytes().into()),
            lease: Some(lease.clone()),
        };
        let txn = Txn {
            namespace: self.race.namespace.into(),
            request: Some(format!("{:032x}", cx.random.random::<u128>())),
            compare: vec![Compare { key, exists: Some(false), ..Compare::default() }],
            then: vec![Operation::Put(put)],
            otherwise: Vec::new(),
        };
        self.step = Step::Taking { lease, asked };
        self.caller.state(Call::Txn(txn), cx);
    }

    /// A pause before the next thing.
    pub(crate) fn rest(&self, cx: &mut Context) {
        let pace = if self.holds().is_some() { self.race.renew } else { self.race.look };
        let pause = cx.between(pace);
        cx.later(self.host, pause, Due::Next);
    }
}
