//! Where a load balancer leads to.

use std::collections::{BTreeMap, BTreeSet};

use marathon::core::id::of_task;
use wire::marathon::AppInfo;

use super::Findings;
use crate::net::{Micros, SECOND};

/// What is promised.
pub const PROMISE: &str = "two seconds after the feed has told of an instance's end or illness nothing leads to it, nothing ever \
                           leads to one with checks that was not said to be well, and at rest a balancer leads to what \
                           serves and to nothing else";

/// How long a balancer may take to do what follows from an event.
const DELAY: Micros = 2 * SECOND;

/// What the feed has told of an instance that is fit no longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unfit {
    /// Its checks fail. It may be well again.
    Ill,
    /// It has ended, for good.
    Ended,
}

/// An instance to which nothing should lead.
#[derive(Debug)]
struct Told {
    what: Unfit,
    /// When it was told last.
    at: Micros,
    /// From when on the balancer has its time to do it.
    since: Micros,
}

/// What was told, and what is done.
#[derive(Debug, Default)]
pub struct Routes {
    unfit: BTreeMap<String, Told>,
    leads_to: BTreeSet<String>,
    /// Apps that are said to have checks.
    checked: BTreeSet<String>,
    /// Instances that were said to be well at any time.
    well: BTreeSet<String>,
    /// What was seen.
    pub findings: Findings,
}

impl Routes {
    /// The feed has told that an instance passes its checks.
    pub fn told_well(&mut self, task: &str) {
        self.well.insert(task.to_owned());
        self.unfit.retain(|ill, told| ill != task || told.what == Unfit::Ended);
    }

    /// The feed has told that an instance is fit no longer.
    pub fn told_unfit(&mut self, task: &str, what: Unfit, now: Micros) {
        let told = self.unfit.entry(task.to_owned()).or_insert(Told { what, at: now, since: now });
        told.at = now;
        if what == Unfit::Ended {
            told.what = what;
        }
    }

    /// The sidecar was told of apps and their instances, for which it asked then. What it asked for after the feed told of an
    /// illness is the newer word of the two: an instance that it says to be well has recovered, and may be led to. What was
    /// asked for before may be the older word: the time until nothing leads there begins anew. Nobody comes back from an end.
    pub fn listed(&mut self, apps: &[AppInfo], asked: Micros, now: Micros) {
        for info in apps {
            if info.app.health_checks.as_ref().is_some_and(|checks| !checks.is_empty()) {
                self.checked.extend(info.app.id.clone());
            }
            for task in info.tasks.iter().flatten() {
                let results = &task.health_check_results;
                if !results.is_empty() && results.iter().all(|result| result.alive) {
                    self.listed_well(&task.id, asked, now);
                }
            }
        }
    }

    fn listed_well(&mut self, task: &str, asked: Micros, now: Micros) {
        self.well.insert(task.to_owned());
        let Some(told) = self.unfit.get_mut(task) else { return };
        if asked <= told.at {
            told.since = now;
        } else if told.what == Unfit::Ill {
            self.unfit.remove(task);
        }
    }

    /// The sidecar was started anew, and knows what it has stored.
    pub fn forget(&mut self) {
        self.unfit.clear();
    }

    /// From now on new connections are led to these.
    pub fn leads_to(&mut self, tasks: BTreeSet<String>, now: Micros) {
        for task in &tasks {
            let app = of_task(task).and_then(|(instance, _)| instance.app());
            let checked = app.is_some_and(|app| self.checked.contains(app.as_str()));
            self.findings.look(!checked || self.well.contains(task), || {
                format!("connections are led to {task} from {now} µs on, which nobody has said to be well")
            });
        }
        self.leads_to = tasks;
    }

    /// Nothing that has been unfit for long is led to.
    pub fn look(&mut self, now: Micros) {
        for task in &self.leads_to {
            let told = self.unfit.get(task);
            self.findings.look(told.is_none_or(|told| now < told.since + DELAY), || {
                format!("connections are led to {task} at {now} µs, of which was told: {told:?}")
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use marathon::core::id::{AppId, InstanceId};
    use serde_json::json;

    use super::*;
    use crate::net::MS;

    /// The only instance of an app with these checks, which is said to be as these results say.
    fn shop(checks: &serde_json::Value, results: &serde_json::Value) -> (String, AppInfo) {
        let app = AppId::parse("/shop", &AppId::root()).expect("lawful");
        let task = InstanceId::new(&app, "00000000-0000-0000-0000-000000000001").task(1).to_string();
        let info = json!({"id": "/shop", "healthChecks": checks, "tasks": [
            {"id": task, "appId": "/shop", "healthCheckResults": results}
        ]});
        (task, serde_json::from_value(info).expect("lawful"))
    }

    /// Leads to it.
    fn lawful(checks: &serde_json::Value, results: &serde_json::Value) -> bool {
        let (task, info) = shop(checks, results);
        let mut routes = Routes::default();
        routes.listed(&[info], 0, 0);
        routes.leads_to(BTreeSet::from([task]), 0);
        routes.findings.wrong.is_empty()
    }

    #[test]
    fn whoever_has_checks_is_led_to_when_it_was_said_to_be_well() {
        let result = |alive: bool| json!([{"alive": alive}]);
        assert!(lawful(&json!([]), &json!([])));
        assert!(lawful(&json!([{}]), &result(true)));
        assert!(!lawful(&json!([{}]), &json!([])));
        assert!(!lawful(&json!([{}]), &result(false)));
    }

    #[test]
    fn who_was_told_to_be_ill_is_led_to_no_longer_than_two_seconds() {
        let mut routes = Routes::default();
        routes.leads_to(BTreeSet::from(["t".to_owned()]), 0);
        routes.told_unfit("t", Unfit::Ill, 0);
        routes.look(DELAY - 1);
        assert!(routes.findings.wrong.is_empty());
        routes.look(DELAY);
        assert!(!routes.findings.wrong.is_empty());
    }

    /// Whether the only instance may be led to at a time, of which this was told at ten seconds, and which a list, asked for
    /// then and there a second later, says to be well.
    fn may_lead(what: Unfit, asked: Micros, at: Micros) -> bool {
        let (task, info) = shop(&json!([{}]), &json!([{"alive": true}]));
        let mut routes = Routes::default();
        routes.told_unfit(&task, what, 10 * SECOND);
        routes.listed(&[info], asked, asked + SECOND);
        routes.leads_to(BTreeSet::from([task]), asked + SECOND);
        routes.look(at);
        routes.findings.wrong.is_empty()
    }

    #[test]
    fn a_list_asked_for_before_the_illness_was_told_gives_two_seconds_more() {
        let asked = 10 * SECOND - MS;
        assert!(may_lead(Unfit::Ill, asked, asked + SECOND + DELAY - 1));
        assert!(!may_lead(Unfit::Ill, asked, asked + SECOND + DELAY));
    }

    #[test]
    fn a_list_asked_for_after_the_illness_was_told_says_that_it_is_over() {
        assert!(may_lead(Unfit::Ill, 11 * SECOND, 100 * SECOND));
    }

    #[test]
    fn no_list_brings_back_what_has_ended() {
        assert!(may_lead(Unfit::Ended, 10 * SECOND + MS, 12 * SECOND - 1));
        assert!(!may_lead(Unfit::Ended, 10 * SECOND + MS, 12 * SECOND));
    }
}
