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

/// What was told, and what is done.
#[derive(Debug, Default)]
pub struct Routes {
    unfit: BTreeMap<String, Micros>,
    leads_to: BTreeSet<String>,
    /// Apps that are said to have checks.
    checked: BTreeSet<String>,
    /// Instances that were said to be well at any time.
    well: BTreeSet<String>,
    /// What was seen.
    pub findings: Findings,
}

impl Routes {
    /// The feed has told whether an instance is fit to serve.
    pub fn told(&mut self, task: &str, fit: bool, now: Micros) {
        if fit {
            self.well.insert(task.to_owned());
            self.unfit.remove(task);
        } else {
            self.unfit.entry(task.to_owned()).or_insert(now);
        }
    }

    /// The sidecar was told of apps and their instances. One that a list says to be well may be led to, though it was told to
    /// be ill before. The list may be the older word of the two: the time until nothing leads there begins anew.
    pub fn listed(&mut self, apps: &[AppInfo], now: Micros) {
        for info in apps {
            if info.app.health_checks.as_ref().is_some_and(|checks| !checks.is_empty()) {
                self.checked.extend(info.app.id.clone());
            }
            for task in info.tasks.iter().flatten() {
                let results = &task.health_check_results;
                if !results.is_empty() && results.iter().all(|result| result.alive) {
                    self.well.insert(task.id.clone());
                    self.unfit.entry(task.id.clone()).and_modify(|since| *since = now);
                }
            }
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
            let since = self.unfit.get(task);
            self.findings.look(since.is_none_or(|since| now < since + DELAY), || {
                format!("connections are led to {task} at {now} µs, of whose end was told at {since:?}")
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use marathon::core::id::{AppId, InstanceId};
    use serde_json::json;

    use super::*;

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
        routes.listed(&[info], 0);
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
        routes.told("t", false, 0);
        routes.look(DELAY - 1);
        assert!(routes.findings.wrong.is_empty());
        routes.look(DELAY);
        assert!(!routes.findings.wrong.is_empty());
    }

    #[test]
    fn who_is_listed_as_well_may_be_led_to_until_two_seconds_later() {
        let (task, info) = shop(&json!([{}]), &json!([{"alive": true}]));
        let mut routes = Routes::default();
        routes.told(&task, false, 0);
        routes.listed(&[info], 10 * DELAY);
        routes.leads_to(BTreeSet::from([task]), 10 * DELAY);
        routes.look(11 * DELAY - 1);
        assert!(routes.findings.wrong.is_empty(), "{:?}", routes.findings);
        routes.look(11 * DELAY);
        assert!(!routes.findings.wrong.is_empty());
    }
}
