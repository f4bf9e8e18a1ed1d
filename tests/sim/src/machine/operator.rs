//! An operator, who gives roles their quotas and sees to it that they are taken.

use std::collections::BTreeMap;

use wire::master::{Call, call};
use wire::quota::QuotaConfig;
use wire::v1::value::Scalar;

use super::caller::{Caller, Outcome};
use super::{Crash, Due, Machine, citizen, tenant};
use crate::context::Context;
use crate::frame::{Ask, Frame};
use crate::net::{ConnId, Host, Micros, SECOND};

/// Before a call that was refused, or may not have been taken, is made again.
const PAUSE: Micros = SECOND;
/// Processors that are promised to the role that reserves, and that those who misbehave may have.
const PROMISED: f64 = 2.0;
const ALLOWED: f64 = 4.0;

/// A machine with such a person at it.
pub struct Operator {
    host: Host,
    masters: Vec<(String, Host)>,
    caller: Caller,
    done: bool,
    refused: u64,
    unknown: u64,
}

impl Operator {
    pub(crate) fn new(host: Host, masters: &[(String, Host)]) -> Self {
        let caller = Caller::new(host, masters);
        Self { host, masters: masters.to_vec(), caller, done: false, refused: 0, unknown: 0 }
    }

    fn next(&mut self, cx: &mut Context) {
        if self.done || self.caller.is_busy() {
            return;
        }
        let cpus = |amount| BTreeMap::from([("cpus".to_owned(), Scalar { value: amount })]);
        let promise =
            QuotaConfig { role: tenant::ROLE.into(), guarantees: cpus(PROMISED), ..Default::default() };
        let bound = QuotaConfig { role: citizen::ROLE.into(), limits: cpus(ALLOWED), ..Default::default() };
        let update = call::UpdateQuota { quota_configs: vec![promise, bound], force: Some(true) };
        let call = Call {
            r#type: Some(call::Type::UpdateQuota.into()),
            update_quota: Some(update),
            ..Default::default()
        };
        self.caller.begin(Ask::Operator(Box::new(call)), cx);
    }

    fn outcome(&mut self, outcome: Option<Outcome>, cx: &mut Context) {
        match outcome {
            Some(Outcome::Answered(Frame::Taken)) => self.done = true,
            Some(Outcome::Answered(frame)) => {
                cx.judge.broken("answers fit their calls", format!("{frame:?}"));
            }
            // There may be too few agents yet to keep the promise with.
            Some(Outcome::Refused(_)) => self.refused += 1,
            Some(Outcome::Unknown) => self.unknown += 1,
            None => return,
        }
        cx.later(self.host, PAUSE, Due::Next);
    }
}

impl Machine for Operator {
    fn start(&mut self, cx: &mut Context) {
        self.caller = Caller::new(self.host, &self.masters);
        cx.later(self.host, PAUSE, Due::Next);
    }

    fn due(&mut self, what: Due, cx: &mut Context) {
        if matches!(what, Due::Next) {
            return self.next(cx);
        }
        let outcome = self.caller.due(&what, cx);
        self.outcome(outcome, cx);
    }

    fn heard(&mut self, conn: ConnId, frame: Frame, cx: &mut Context) {
        let outcome = self.caller.heard(conn, frame, cx);
        self.outcome(outcome, cx);
    }

    fn crash(&mut self, _: Crash, _: &mut Context) {}

    fn unfinished(&self, _: &Context) -> Vec<String> {
        if self.done { Vec::new() } else { vec!["has yet to set its quotas".to_owned()] }
    }

    fn report(&self) -> String {
        let standing = if self.done { "has set its quotas" } else { "has set nothing" };
        format!(
            "{standing}, was refused {} times, {} calls with an unknown outcome",
            self.refused, self.unknown
        )
    }
}
