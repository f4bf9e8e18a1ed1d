//! A client that competes for a lock: a key under a lease, as instances of a framework compete for leadership.

use rand::RngExt;
use wire::state::{Answer, Base64, Call, Compare, Get, LeaseGrant, LeaseName, Operation, Put, Txn};

use super::kv::{Caller, Outcome};
use super::{Crash, Due, Machine};
use crate::context::Context;
use crate::frame::Frame;
use crate::net::{ConnId, Host, MS, Micros};

const NAMESPACE: &str = "locks";
const KEY: &str = "lock";
/// Time to live of the lease.
const TTL_MS: u64 = 5_000;

/// A machine with such a client on it.
pub struct Locker {
    host: Host,
    number: u64,
    caller: Caller,
    step: Step,
    taken: u64,
    renewed: u64,
}

/// Where it stands.
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
        granted: Micros,
    },
    /// Holds the lock until its own clock says that the lease may be over.
    Holding {
        lease: String,
        token: u64,
        until: Micros,
        renewing: Option<Micros>,
        rounds: u32,
    },
    Releasing,
}

impl Locker {
    pub(crate) fn new(host: Host, number: u64, masters: &[(String, Host)]) -> Self {
        Self { host, number, caller: Caller::new(host, masters), step: Step::Idle, taken: 0, renewed: 0 }
    }

    /// The true time until which it trusts a lease that was asked for at `asked`, by its own clock.
    fn trusted(&self, asked: Micros, cx: &Context) -> Micros {
        let rate = cx.of(self.host).clock.rate;
        asked + u64::try_from(u128::from(TTL_MS * MS) * 1_000_000 / u128::from(rate)).unwrap_or(0)
    }

    fn next(&mut self, cx: &mut Context) {
        if self.caller.is_busy() {
            return;
        }
        match &mut self.step {
            Step::Holding { lease, until, renewing, rounds, token } => {
                if cx.now >= *until {
                    cx.judge.leases.over(self.number, *until);
                    self.step = Step::Idle;
                    return self.rest(cx);
                }
                if *rounds == 0 {
                    let lease = lease.clone();
                    cx.judge.leases.over(self.number, cx.now);
                    self.step = Step::Releasing;
                    let call = LeaseName { namespace: NAMESPACE.into(), lease };
                    return self.caller.begin(Call::LeaseRevoke(call), cx);
                }
                *rounds -= 1;
                *renewing = Some(cx.now);
                let lease = lease.clone();
                cx.judge.leases.holds(self.number, *token, cx.now, *until);
                let call = LeaseName { namespace: NAMESPACE.into(), lease };
                self.caller.begin(Call::LeaseKeepalive(call), cx);
            }
            _ => {
                self.step = Step::Looking;
                let get = Get { namespace: NAMESPACE.into(), key: KEY.into() };
                self.caller.begin(Call::Get(get), cx);
            }
        }
    }

    fn outcome(&mut self, outcome: Option<Outcome>, cx: &mut Context) {
        let Some(outcome) = outcome else { return };
        let answer = match outcome {
            Outcome::Answered(answer) => Some(*answer),
            Outcome::Refused(_) | Outcome::Unknown => None,
        };
        let step = std::mem::replace(&mut self.step, Step::Idle);
        match (step, answer) {
            (Step::Looking, Some(Answer::Get(get))) if get.entry.is_none() => {
                let lease = format!("{:032x}", cx.random.random::<u128>());
                self.step = Step::Granting { lease: lease.clone(), asked: cx.now };
                let grant = LeaseGrant { namespace: NAMESPACE.into(), lease, ttl_millis: TTL_MS };
                return self.caller.begin(Call::LeaseGrant(grant), cx);
            }
            (Step::Granting { lease, asked }, Some(Answer::LeaseGrant(_))) => {
                let put = Put {
                    key: KEY.into(),
                    value: Base64(self.number.to_string().into_bytes().into()),
                    lease: Some(lease.clone()),
                };
                let absent = Compare { key: KEY.into(), exists: Some(false), ..Compare::default() };
                let txn = Txn {
                    namespace: NAMESPACE.into(),
                    request: Some(format!("{:032x}", cx.random.random::<u128>())),
                    compare: vec![absent],
                    then: vec![Operation::Put(put)],
                    otherwise: Vec::new(),
                };
                self.step = Step::Taking { lease, granted: asked };
                return self.caller.begin(Call::Txn(txn), cx);
            }
            (Step::Taking { lease, granted }, Some(Answer::Txn(txn))) if txn.succeeded => {
                self.taken += 1;
                let until = self.trusted(granted, cx);
                let rounds = cx.random.random_range(0..8);
                if cx.now < until {
                    cx.judge.leases.holds(self.number, txn.revision, cx.now, until);
                }
                self.step = Step::Holding { lease, token: txn.revision, until, renewing: None, rounds };
            }
            (Step::Holding { lease, token, until, renewing, rounds }, answer) => {
                let renewed = matches!(answer, Some(Answer::LeaseKeepalive(_)));
                match renewing.filter(|_| renewed) {
                    Some(asked) if cx.now < until => {
                        self.renewed += 1;
                        let until = self.trusted(asked, cx).max(until);
                        cx.judge.leases.holds(self.number, token, cx.now, until);
                        self.step = Step::Holding { lease, token, until, renewing: None, rounds };
                    }
                    _ => cx.judge.leases.over(self.number, cx.now.min(until)),
                }
            }
            _ => {}
        }
        self.rest(cx);
    }

    fn rest(&self, cx: &mut Context) {
        let pause = cx.between((100 * MS, 1_200 * MS));
        cx.later(self.host, pause, Due::Next);
    }
}

impl Machine for Locker {
    fn start(&mut self, cx: &mut Context) {
        self.step = Step::Idle;
        self.rest(cx);
    }

    fn due(&mut self, what: Due, cx: &mut Context) {
        match what {
            Due::Next => self.next(cx),
            Due::Again => self.caller.again(cx),
            Due::Timeout(conn) => {
                let outcome = self.caller.timeout(conn, cx);
                self.outcome(outcome, cx);
            }
            _ => {}
        }
    }

    fn heard(&mut self, conn: ConnId, frame: Frame, cx: &mut Context) {
        let outcome = self.caller.heard(conn, frame, cx);
        self.outcome(outcome, cx);
    }

    fn crash(&mut self, _: Crash, cx: &mut Context) {
        self.caller.forget();
        cx.judge.leases.over(self.number, cx.now);
        self.step = Step::Idle;
    }

    fn unfinished(&self, _: &Context) -> Vec<String> {
        Vec::new()
    }

    fn report(&self) -> String {
        format!("took the lock {} times, renewed it {} times", self.taken, self.renewed)
    }
}
