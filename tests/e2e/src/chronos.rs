//! Batch schedulers on a cluster, each a process, on ports of their own.

use serde_json::Value;

use crate::cluster::{Cluster, START};
use crate::ports;
use crate::process::Process;
use crate::wait::until;

/// Instances of one scheduler; dropping it ends them.
pub struct Schedulers {
    pub processes: Vec<Process>,
    pub addresses: Vec<String>,
}

impl Schedulers {
    /// Starts so many, with these flags besides.
    pub fn start(cluster: &Cluster, count: usize, flags: &[String]) -> Self {
        let addresses: Vec<String> = (0..count).map(|_| format!("127.0.0.1:{}", ports::free())).collect();
        let masters = cluster.master_addresses.join(",");
        let start = |(i, address): (usize, &String)| {
            let mut arguments =
                vec!["chronos".to_owned(), format!("--listen={address}"), format!("--master={masters}")];
            arguments.extend_from_slice(flags);
            Process::start(cluster.folder(), &format!("chronos-{i}"), arguments)
        };
        Self { processes: addresses.iter().enumerate().map(start).collect(), addresses }
    }

    /// An answer of whichever instance gives one.
    ///
    /// # Errors
    /// What the last of them said.
    pub async fn get(&self, cluster: &Cluster, path: &str) -> Result<Value, String> {
        let mut why = String::new();
        for address in &self.addresses {
            match cluster.http.get(format!("http://{address}{path}")).send().await {
                Ok(answer) if answer.status().is_success() => {
                    return answer.json().await.map_err(|error| error.to_string());
                }
                Ok(answer) => why = format!("{address}: {}", answer.status()),
                Err(error) => why = format!("{address}: {error}"),
            }
        }
        Err(why)
    }

    /// Waits until one leads, and says which.
    pub async fn leader(&self, cluster: &Cluster) -> usize {
        until("a scheduler leads", START, async || {
            let answer = self.get(cluster, "/v1/scheduler/leader").await?;
            let leader = answer["leader"].as_str().unwrap_or_default();
            self.addresses.iter().position(|address| address == leader).ok_or_else(|| answer.to_string())
        })
        .await
    }
}
