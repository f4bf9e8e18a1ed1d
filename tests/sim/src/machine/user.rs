//! A user of apps: creates, scales, upgrades, restarts and deletes them, and says in the end what is to be there.

use marathon::core::id::AppId;
use marathon::supervisor::message::{Command, Selection, UpdateOptions};
use rand::RngExt;
use serde_json::{Value, json};

use super::caller::{Caller, Outcome};
use super::{Crash, Due, Machine};
use crate::context::Context;
use crate::frame::{AppsCall, Ask, Frame};
use crate::net::{ConnId, Host, MS, SECOND};

/// A machine with such a user at it.
pub struct User {
    host: Host,
    supervisors: Vec<(String, Host)>,
    caller: Caller,
    apps: Vec<Wish>,
    /// The app whose last word is being said.
    settling: Option<usize>,
    made: u64,
    refused: u64,
    unknown: u64,
}

/// What is wanted of one app.
struct Wish {
    id: AppId,
    there: bool,
    instances: u32,
    release: u32,
    /// The last word was said, and taken.
    settled: bool,
}

impl Wish {
    /// What an instance of it executes.
    fn command(&self) -> String {
        format!("serve {}", self.release)
    }
}

impl User {
    pub(crate) fn new(host: Host, supervisors: &[(String, Host)], apps: u32) -> Self {
        let wish = |number: u32| Wish {
            id: AppId::parse(&format!("/app{number}"), &AppId::root()).expect("a lawful id"),
            there: true,
            instances: 1 + number,
            release: 0,
            settled: false,
        };
        Self {
            host,
            supervisors: supervisors.to_vec(),
            caller: Caller::new(host, supervisors),
            apps: (0..apps).map(wish).collect(),
            settling: None,
            made: 0,
            refused: 0,
            unknown: 0,
        }
    }

    fn next(&mut self, cx: &mut Context) {
        if self.caller.is_busy() {
            return;
        }
        let command = if cx.judge.healed {
            let Some(at) = self.apps.iter().position(|wish| !wish.settled) else { return };
            self.settling = Some(at);
            self.last_word(at)
        } else {
            let at = cx.random.random_range(0..self.apps.len());
            self.whim(at, cx)
        };
        self.made += 1;
        self.caller.begin(Ask::Apps(Box::new(AppsCall::Command(command))), cx);
    }

    /// Any change that a user may come up with.
    fn whim(&mut self, at: usize, cx: &mut Context) -> Command {
        let force = cx.chance(5_000);
        let wish = &mut self.apps[at];
        match cx.random.random_range(0..20) {
            0..6 => wish.instances = cx.random.random_range(1..=4),
            6..12 => wish.release += 1,
            12..14 if wish.there => {
                wish.there = false;
                return Command::Delete { app: wish.id.clone(), force: true };
            }
            14..16 => return Command::Restart { app: wish.id.clone(), force },
            16..17 => {
                let selection = Selection::App { app: wish.id.clone(), host: None };
                return Command::Kill { selection, scale: false, wipe: false, force };
            }
            _ => {}
        }
        wish.there = true;
        put(at, wish, force)
    }

    /// What is to be there when all has come to rest.
    fn last_word(&self, at: usize) -> Command {
        let wish = &self.apps[at];
        if wish.there { put(at, wish, true) } else { Command::Delete { app: wish.id.clone(), force: true } }
    }

    fn outcome(&mut self, outcome: Option<Outcome>, cx: &mut Context) {
        let Some(outcome) = outcome else { return };
        let settling = self.settling.take();
        let known = match outcome {
            Outcome::Answered(Frame::Done(_)) => true,
            Outcome::Answered(frame) => {
                return cx.judge.broken("answers fit their calls", format!("{frame:?}"));
            }
            Outcome::Refused(why) => {
                self.refused += 1;
                let gone = settling.is_some_and(|at| !self.apps[at].there);
                if settling.is_some() && !gone {
                    cx.judge.broken("lawful changes of apps are taken", why);
                }
                gone
            }
            Outcome::Unknown => {
                self.unknown += 1;
                false
            }
        };
        if let (Some(at), true) = (settling, known) {
            let wish = &mut self.apps[at];
            wish.settled = true;
            let instances = if wish.there { wish.instances } else { 0 };
            cx.judge.apps.wanted(&wish.id, instances as usize, wish.command());
        }
        self.rest(cx);
    }

    fn rest(&self, cx: &mut Context) {
        let pause = if cx.judge.healed { (10 * MS, 50 * MS) } else { (300 * MS, 6 * SECOND) };
        let pause = cx.between(pause);
        cx.later(self.host, pause, Due::Next);
    }
}

/// The definition of the app at this place. Each has a strategy of its own.
fn put(at: usize, wish: &Wish, force: bool) -> Command {
    let (minimum, over) = [(1.0, 1.0), (0.5, 0.0), (1.0, 0.0)][at % 3];
    let checks: Value = match at % 3 {
        0 => json!([]),
        // With 0 failures an ill instance is not ended: it is for balancers to lead around it.
        kind => {
            json!([{"protocol": "MESOS_TCP", "portIndex": 0, "gracePeriodSeconds": 4, "intervalSeconds": 2,
                        "timeoutSeconds": 1, "maxConsecutiveFailures": if kind == 1 { 2 } else { 0 }}])
        }
    };
    let document = json!({
        "cmd": wish.command(), "instances": wish.instances, "cpus": 0.1, "mem": 32,
        "portDefinitions": [{"port": 10_050 + at, "name": "web"}], "healthChecks": checks,
        "upgradeStrategy": {"minimumHealthCapacity": minimum, "maximumOverCapacity": over},
        "backoffSeconds": 0.5, "maxLaunchDelaySeconds": 5, "taskKillGracePeriodSeconds": 2,
        "labels": {"HAPROXY_GROUP": "external"},
    });
    let document = serde_json::from_value(document).expect("a lawful definition");
    let options = UpdateOptions { force, partial: true, create: true };
    Command::Update { app: wish.id.clone(), document: Box::new(document), options }
}

impl Machine for User {
    fn start(&mut self, cx: &mut Context) {
        self.caller = Caller::new(self.host, &self.supervisors);
        self.settling = None;
        self.rest(cx);
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
        let unsettled = self.apps.iter().filter(|wish| !wish.settled);
        unsettled.map(|wish| format!("has yet to say its last word on {}", wish.id)).collect()
    }

    fn report(&self) -> String {
        let (made, refused, unknown) = (self.made, self.refused, self.unknown);
        format!(
            "{made} changes of {} apps, {refused} refused, {unknown} with an unknown outcome",
            self.apps.len()
        )
    }
}
