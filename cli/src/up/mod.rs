//! `stoa up`: every role on this machine, in the foreground.
//!
//! Each role is a process of its own, so that one can be killed and looked at like in a real cluster. `up` starts them in
//! order, starts again the ones that die, and on Ctrl-C ends them in the reverse order; the agents kill their tasks.

mod app;
mod child;
mod plan;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use crate::roles::haproxy::find_program;
use crate::roles::{Common, Ending, failed};
use crate::{logs, signals, usage};
use app::App;
use child::Children;
use plan::{Plan, Shape};

/// How long the first start of a role may take until it serves.
const START_DEADLINE: Duration = Duration::from_secs(60);

/// A whole cluster on this machine, in the foreground
#[derive(Args, Clone, Debug)]
pub(crate) struct UpArgs {
    #[command(flatten)]
    common: Common,
    /// How many masters: 1, 3 or 5
    #[arg(long, env = "STOA_UP_MASTERS", value_name = "N", default_value_t = 1)]
    masters: u16,
    /// How many agents
    #[arg(long, env = "STOA_UP_AGENTS", value_name = "N", default_value_t = 1)]
    agents: u16,
    /// How many supervisors; one leads, the others stand by
    #[arg(long, env = "STOA_UP_MARATHONS", value_name = "N", default_value_t = 1)]
    marathons: u16,
    /// How many batch schedulers; one leads, the others stand by
    #[arg(long, env = "STOA_UP_CHRONOSES", value_name = "N", default_value_t = 1)]
    chronoses: u16,
    /// Where all roles keep their data, a folder each
    #[arg(long, env = "STOA_UP_DATA_DIR", value_name = "DIR", default_value = "stoa-data")]
    data_dir: PathBuf,
    /// What each agent offers; absent: an equal part of the machine
    #[arg(long, env = "STOA_UP_AGENT_RESOURCES", value_name = "RESOURCES")]
    agent_resources: Option<String>,
    /// Start no HAProxy: apps are reached on their agents' ports only
    #[arg(long, env = "STOA_UP_NO_HAPROXY")]
    no_haproxy: bool,
    /// The HAProxy program
    #[arg(long, env = "STOA_UP_HAPROXY", value_name = "PATH", default_value = "haproxy")]
    haproxy: PathBuf,
    /// Added to every port, so that a second cluster fits on the machine
    #[arg(long, env = "STOA_UP_PORT_SHIFT", value_name = "N", default_value_t = 0)]
    port_shift: u16,
    /// An app to submit once everything serves; `up` then says where to find it
    #[arg(long, env = "STOA_UP_APP", value_name = "FILE")]
    app: Option<PathBuf>,
}

pub(crate) fn main(args: UpArgs) -> ExitCode {
    if let Err(problem) = logs::start(args.common.log_format, args.common.log_file.as_deref()) {
        return usage(&problem);
    }
    let plan = match plan(&args) {
        Ok(plan) => plan,
        Err(problem) => return usage(&problem),
    };
    let app = match args.app.as_deref().map(App::read).transpose() {
        Ok(app) => app,
        Err(problem) => return usage(&problem),
    };
    // One thread: children ask the kernel to end with the thread that started them, and a pool's threads come and go.
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&format!("cannot start the runtime: {error}")),
    };
    match runtime.block_on(run(plan, app)) {
        Ending::Done => ExitCode::SUCCESS,
        Ending::Refused(problem) => usage(&problem),
        Ending::Failed(problem) => failed(&problem),
    }
}

/// What to start, checked against this machine.
fn plan(args: &UpArgs) -> Result<Plan, String> {
    let program = std::env::current_exe().map_err(|error| format!("cannot find my own program: {error}"))?;
    let data_dir = std::path::absolute(&args.data_dir)
        .map_err(|error| format!("--data-dir {}: {error}", args.data_dir.display()))?;
    let haproxy = if args.no_haproxy { None } else { find_program(&args.haproxy) };
    if haproxy.is_none() && !args.no_haproxy {
        tracing::warn!(
            "HAProxy ({}) is not installed: routing is off, apps are reached on their agents' ports only",
            args.haproxy.display()
        );
    }
    let shape = Shape {
        masters: args.masters,
        agents: args.agents,
        marathons: args.marathons,
        chronoses: args.chronoses,
        agent_resources: args.agent_resources.clone(),
        haproxy,
        port_shift: args.port_shift,
    };
    Plan::new(program, data_dir, &shape)
}

async fn run(plan: Plan, app: Option<App>) -> Ending {
    if let Some(taken) = plan.taken_port() {
        return Ending::Refused(taken);
    }
    let mut children = Children::default();
    let ending = tokio::select! {
        ending = serve(&plan, app, &mut children) => ending,
        () = signals::shutdown() => Ending::Done,
    };
    logs::say(format_args!("stoa up: ending what was started ..."));
    children.end().await;
    ending
}

async fn serve(plan: &Plan, app: Option<App>, children: &mut Children) -> Ending {
    let http = reqwest::Client::new();
    for role in &plan.roles {
        if let Err(problem) = children.start(role) {
            return Ending::Failed(problem);
        }
    }
    let wait = async {
        for role in &plan.roles {
            let url = format!("http://{}/health", role.address);
            let deadline = tokio::time::Instant::now() + START_DEADLINE;
            while !http.get(&url).send().await.is_ok_and(|answer| answer.status().is_success()) {
                if tokio::time::Instant::now() > deadline {
                    return Err(format!("{} does not serve {url} after {START_DEADLINE:?}", role.name));
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        Ok(())
    };
    let ready = tokio::select! {
        ready = wait => ready,
        dead = children.first_failure() => Err(dead),
    };
    if let Err(problem) = ready {
        return Ending::Failed(problem);
    }
    show(&plan.table());
    let watch = children.keep_alive();
    let submit = async {
        if let Some(app) = app {
            match app::submit(&http, plan, &app).await {
                Ok(text) => show(&text),
                Err(problem) => logs::say(format_args!("stoa up: {problem}")),
            }
        }
        show("Ctrl-C stops everything that was started here.");
        std::future::pending::<()>().await;
    };
    tokio::select! {
        problem = watch => Ending::Failed(problem),
        () = submit => Ending::Done,
    }
}

/// Prints to standard output. When nobody reads it the cluster goes on, where `println!` would panic.
fn show(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}
