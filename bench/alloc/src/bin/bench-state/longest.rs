//! The longest turn of the master for each kind of input, in processor time of its own.

use std::collections::BTreeMap;
use std::time::Duration;

use master_core::input::Input;
use master_core::report::AgentReport;

#[derive(Default)]
pub(crate) struct Longest(BTreeMap<&'static str, (u64, Duration)>);

impl Longest {
    pub(crate) fn kind(input: &Input) -> &'static str {
        match input {
            Input::Wake => "wake",
            Input::Agent { report: AgentReport::Hello(_), .. } => "registration",
            Input::Agent { .. } => "report",
            Input::Scheduler { .. } | Input::Subscribe { .. } => "call",
            Input::Applied { .. } => "applied",
            Input::Role(_) => "role",
            _ => "other",
        }
    }

    pub(crate) fn note(&mut self, kind: &'static str, took: Duration) {
        let (count, longest) = self.0.entry(kind).or_default();
        *count += 1;
        *longest = took.max(*longest);
    }

    pub(crate) fn report(self, phase: &str) {
        let each = self.0.iter().map(|(kind, (count, longest))| {
            format!(r#""{kind}":{{"count":{count},"ms_max":{:.3}}}"#, longest.as_secs_f64() * 1000.0)
        });
        println!(r#"{{"bench":"state/longest","phase":"{phase}",{}}}"#, each.collect::<Vec<_>>().join(","));
    }
}
