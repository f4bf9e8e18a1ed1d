//! Three masters as real processes: durable writes a second, and what a `kill -9` of the leader costs.
//!
//! `bench-masters [commits|failover] [--stoa PATH] [--seconds N] [--clients N] [--kills N]`; without a name both run. Each
//! measurement prints one line of JSON with the floor of the disk, measured right before it.

mod client;
mod commits;
mod failover;
mod floor;
mod group;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// What to measure, and with what.
struct Options {
    stoa: PathBuf,
    only: Option<String>,
    duration: Duration,
    clients: usize,
    kills: usize,
}

fn options() -> Result<Options, String> {
    let beside = std::env::current_exe().ok().and_then(|exe| Some(exe.parent()?.join("stoa")));
    let mut options = Options {
        stoa: beside.unwrap_or_else(|| "stoa".into()),
        only: None,
        duration: Duration::from_secs(10),
        clients: 256,
        kills: 20,
    };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or_else(|| format!("{word} needs a value"));
        let number = |text: String| text.parse().map_err(|_| format!("`{text}` is not a number"));
        match word.as_str() {
            "--stoa" => options.stoa = value()?.into(),
            "--seconds" => options.duration = Duration::from_secs(number(value()?)?),
            "--clients" => options.clients = number(value()?)? as usize,
            "--kills" => options.kills = number(value()?)? as usize,
            "commits" | "failover" => options.only = Some(word),
            other => return Err(format!("`{other}` is not known: see the head of this program")),
        }
    }
    Ok(options)
}

fn main() -> ExitCode {
    let options = match options() {
        Ok(options) => options,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(2);
        }
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let wanted = |name: &str| options.only.as_deref().is_none_or(|only| only == name);
    let result = runtime.block_on(async {
        if wanted("commits") {
            commits::measure(&options).await?;
        }
        if wanted("failover") {
            failover::measure(&options).await?;
        }
        Ok::<_, String>(())
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// The value below which so many percent of the (sorted) samples lie, in milliseconds.
fn percentile(sorted: &[Duration], percent: usize) -> f64 {
    let index = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
    sorted.get(index).map_or(0.0, |sample| (sample.as_secs_f64() * 1e6).round() / 1e3)
}
