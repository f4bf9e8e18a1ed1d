//! A scheduler of jobs: what it has to itself as an [`Instance`].

use std::sync::Arc;

use agent_core::TaskKey;
use chronos::core::run::Run;
use chronos::core::scheduler::Settings;
use chronos::{Batch as Core, Channels};
use model::time::Span;
use sdk::engine::Engine;
use sdk::scheduler::{Records, Scheduler as _};
use sdk::store::Record;
use wire::v1;

use super::instance::{Instance, Kind};
use crate::context::Context;
use crate::frame::{Ask, Frame, JobsCall};
use crate::net::{ConnId, Host};

/// The namespace of the records.
pub(crate) const NAMESPACE: &str = "chronos";
/// The role of all jobs.
const ROLE: &str = "jobs";

/// A machine with a batch scheduler on it.
pub(crate) type Batch = Instance<Jobs>;

/// What batch schedulers have to themselves.
#[derive(Debug, Default)]
pub(crate) struct Jobs;

impl Batch {
    /// Whether it knows that a task may run. `None` of what is no task of a run, or while it does not lead.
    pub(crate) fn knows(&self, key: &TaskKey) -> Option<bool> {
        let core = self.scheduler()?;
        chronos::core::run::of_task(key.task.as_str())?;
        Some(core.tasks().iter().any(|(task, _)| *task == key.task))
    }
}

impl Kind for Jobs {
    type Scheduler = Core;
    type Call = JobsCall;
    type Api = ();

    const NAMESPACE: &'static str = NAMESPACE;
    const NAME: &'static str = "the batch schedulers' leadership";
    const GOES_ON: &'static str = "schedulers of jobs go on";

    /// A term goes by the clock as the machine has it now.
    fn begin(host: Host, _: u64, cx: &mut Context) {
        let standing = cx.of_mut(host);
        standing.clock = standing.wall;
        let clock = standing.clock;
        cx.judge.punctual.leads(clock);
    }

    fn engine((): &(), records: Vec<Record>, _: &mut Context) -> (Engine<Box<Core>>, Records) {
        let framework = sdk::engine::framework(&records);
        let settings = Settings { failure_retry: Span::from_secs(2), disable_after_failures: 0 };
        let core = Box::new(Core::new(settings, "", Channels::default()));
        (Engine::new(core, framework, model::limits::REFUSE_DEFAULT), Records::new(records))
    }

    fn info(_: &str) -> v1::FrameworkInfo {
        let info = sdk::scheduler::Settings::new("chronos", &[]).info;
        v1::FrameworkInfo { roles: vec![ROLE.to_owned()], ..info }
    }

    fn call(ask: Ask) -> Option<JobsCall> {
        match ask {
            Ask::Jobs(call) => Some(*call),
            _ => None,
        }
    }

    fn serve(instance: &mut Batch, conn: ConnId, call: JobsCall, cx: &mut Context) {
        instance.answer(conn, cx, |core, step| match call {
            JobsCall::Command(command) => match core.command(command, step) {
                Ok(reply) => Frame::JobDone(reply),
                Err(refusal) => Frame::Refused { status: 400, text: refusal.to_string() },
            },
            JobsCall::List => {
                Frame::Jobs(core.book().jobs.values().map(|job| Arc::clone(&job.definition)).collect())
            }
        });
        instance.go_on(cx);
    }

    /// A term keeps its time: when that is not the machine's any more, the term ends.
    fn clock_set(instance: &mut Batch, cx: &mut Context) {
        let standing = cx.of(instance.host);
        if standing.wall.ahead_ms.abs_diff(standing.clock.ahead_ms) > sdk::limits::CLOCK_STEP.as_millis() {
            instance.resign(cx);
        }
    }

    fn unfinished(core: &Core, (): &()) -> Vec<String> {
        let book = core.book();
        let runs = book.active.keys().flat_map(|job| book.active_of(job));
        let told = |run: Arc<Run>| {
            let task = run.task.as_ref().map_or("no task", |task| task.id.as_str());
            format!("has yet to finish {} ({}, {task})", run.id(), run.state.name())
        };
        runs.map(told).collect()
    }
}
