//! When nothing leads to a draining task any more.

use std::collections::BTreeMap;

use tokio::sync::mpsc;

use super::Applier;
use crate::core::Input;
use crate::limits::HARD_STOP;
use crate::plan::State;
use crate::runtime::servers_conn;
use crate::socket::ask;

/// Draining servers have to be found without connections so many times in a row: between the choice of a server and
/// the connection to it is a moment in which it has neither.
pub(super) const QUIET_LOOKS: u32 = 2;

impl Applier {
    /// Tells the core which draining tasks have no connection left.
    pub(super) async fn report_drained(&mut self, reports: &mpsc::Sender<Input>) {
        let draining = self.tally.draining().clone();
        self.quiet.retain(|name, _| draining.contains_key(name));
        if draining.is_empty() || !self.haproxy.is_running() {
            return;
        }
        let Some(used) = self.used().await else { return };
        let mut quiet: BTreeMap<&str, bool> = BTreeMap::new();
        for (name, task) in &draining {
            let (backend, server) = name;
            let ready = self.actual.backends.get(backend).and_then(|servers| servers.get(server));
            let ready = ready.is_some_and(|standing| standing.state == State::Ready);
            let connections = used.get(&format!("{backend}/{server}")).copied().unwrap_or(0);
            let looks = self.quiet.entry(name.clone()).or_default();
            *looks = if ready || connections > 0 { 0 } else { looks.saturating_add(1) };
            *quiet.entry(&**task).or_insert(true) &= *looks >= QUIET_LOOKS;
        }
        let tasks: Vec<String> =
            quiet.into_iter().filter(|(_, quiet)| *quiet).map(|(task, _)| task.to_owned()).collect();
        if !tasks.is_empty() {
            // The core ends after this task; while it lives it takes reports.
            let _ = reports.send(Input::Drained(tasks)).await;
        }
    }

    /// The connections of each server, those of workers that finish an older configuration included.
    async fn used(&self) -> Option<BTreeMap<String, u64>> {
        let answer = ask(&self.loader.files.stats_socket(), "show servers conn").await.ok()?;
        let mut used = servers_conn(&answer).ok()?;
        let recent = self.last_reload.is_some_and(|at| self.clock.now().since(at) <= HARD_STOP);
        if recent {
            for worker in self.haproxy.processes().await.ok()?.old_workers {
                // One that ended since the list was made has no connections.
                let Ok(answer) = self.haproxy.ask_worker(worker, "show servers conn").await else { continue };
                for (name, count) in servers_conn(&answer).unwrap_or_default() {
                    *used.entry(name).or_default() += count;
                }
            }
        }
        Some(used)
    }
}
