//! Runs the commands of a file over the cluster, each as a task, as many at once as there is room for. What fails is
//! tried again; at the end there is a table. It may be killed and started again at any time: it goes on where it was.

use std::{io::Write, path::PathBuf, process::ExitCode};

use clap::Parser;
use sdk::offer::{Need, Offer};
use sdk::scheduler::{Records, Scheduler, Settings, run};
use sdk::{AgentId, Failure, TaskId, TaskState, step::Step, task::Task, update::Update};
use serde::{Deserialize, Serialize};

#[derive(Parser)]
struct Arguments {
    /// HOST:PORT of masters; any will do.
    #[arg(long, value_delimiter = ',', default_value = "127.0.0.1:5050")]
    master: Vec<String>,
    /// What each command needs.
    #[arg(long, default_value = "cpus:0.1;mem:32")]
    need: Need,
    /// How often a command is tried before it has failed.
    #[arg(long, default_value_t = 3)]
    attempts: u32,
    /// The name of the batch. Started again under the same name, it goes on.
    #[arg(long, default_value = "batch")]
    name: String,
    /// One shell command a line.
    file: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
enum State {
    Waiting,
    Running,
    Done,
    Failed,
}

#[derive(Serialize, Deserialize)]
struct Job {
    command: String,
    state: State,
    attempt: u32,
    host: String,
    why: String,
}

struct Batch {
    arguments: Arguments,
    jobs: Vec<Job>,
}

impl Batch {
    fn put(&self, number: usize, step: &mut Step) {
        step.put(format!("jobs/{number:06}"), &self.jobs[number]);
    }

    fn finish_if_over(&self, step: &mut Step) {
        if self.jobs.iter().all(|job| matches!(job.state, State::Done | State::Failed)) {
            step.finish();
        }
    }
}

fn id(number: usize, attempt: u32) -> TaskId {
    format!("job-{number}.{attempt}").into()
}

impl Scheduler for Batch {
    fn elected(&mut self, records: &Records, step: &mut Step) -> Result<(), Failure> {
        self.jobs = records.under::<Job>("jobs/")?.into_iter().map(|(_, job)| job).collect();
        if self.jobs.is_empty() {
            let file = &self.arguments.file;
            let text =
                std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
            let waiting = |line: &str| Job {
                command: line.to_owned(),
                state: State::Waiting,
                attempt: 0,
                host: String::new(),
                why: String::new(),
            };
            self.jobs = text.lines().filter(|line| !line.trim().is_empty()).map(waiting).collect();
        }
        (0..self.jobs.len()).for_each(|number| self.put(number, step));
        self.finish_if_over(step);
        Ok(())
    }

    fn tasks(&self) -> Vec<(TaskId, Option<AgentId>)> {
        let running = self.jobs.iter().enumerate().filter(|(_, job)| job.state == State::Running);
        running.map(|(number, job)| (id(number, job.attempt), None)).collect()
    }

    fn wants_offers(&self) -> bool {
        self.jobs.iter().any(|job| job.state == State::Waiting)
    }

    fn offers(&mut self, offers: Vec<Offer>, step: &mut Step) {
        for mut offer in offers {
            let mut tasks = Vec::new();
            for number in 0..self.jobs.len() {
                if self.jobs[number].state != State::Waiting {
                    continue;
                }
                let Some(share) = offer.take(&self.arguments.need) else { break };
                let job = &mut self.jobs[number];
                (job.state, job.attempt, job.host) =
                    (State::Running, job.attempt + 1, offer.hostname.clone());
                tasks.push(Task::command(id(number, job.attempt), share, job.command.as_str()));
                self.put(number, step);
            }
            step.launch(offer, tasks);
        }
    }

    fn update(&mut self, update: &Update, step: &mut Step) {
        let ours = |(number, job): (usize, &Job)| id(number, job.attempt) == update.task;
        let Some(number) = self.jobs.iter().enumerate().position(ours) else { return };
        let job = &mut self.jobs[number];
        if update.is_over() && job.state == State::Running {
            job.state = match update.state {
                TaskState::Finished => State::Done,
                _ if job.attempt < self.arguments.attempts => State::Waiting,
                _ => State::Failed,
            };
            job.why = format!("{} {}", update.state, update.message);
            self.put(number, step);
            self.finish_if_over(step);
        }
    }
}

#[tokio::main]
async fn main() -> Result<ExitCode, Failure> {
    // A line of the log that cannot be written is lost, and nothing else is.
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(false).log_internal_errors(false).init();
    let arguments = Arguments::parse();
    let settings = Settings::new(&arguments.name, &arguments.master);
    let interrupted = async { tokio::signal::ctrl_c().await.unwrap_or_default() };
    let batch = run(settings, Batch { arguments, jobs: Vec::new() }, interrupted).await?;
    let mut out = std::io::stdout();
    let Some(batch) = batch else {
        writeln!(out, "interrupted: what runs goes on, and the next start under this name takes it over")?;
        return Ok(ExitCode::FAILURE);
    };
    writeln!(out, "{:7} {:8} {:20} {:30} WHY", "STATE", "ATTEMPTS", "HOST", "COMMAND")?;
    for Job { command, state, attempt, host, why } in &batch.jobs {
        writeln!(out, "{:7} {attempt:<8} {host:20} {command:30} {why}", format!("{state:?}"))?;
    }
    let failed = batch.jobs.iter().any(|job| job.state == State::Failed);
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
