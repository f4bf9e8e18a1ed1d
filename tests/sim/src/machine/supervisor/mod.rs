//! A supervisor of apps: what it has to itself as an [`Instance`].

mod edge;
mod glass;

use std::sync::Arc;

use marathon::driver::{Framework, scheduler};
use marathon::supervisor::Settings;
use marathon::supervisor::message::Command;
use model::task::TaskState;
use model::time::Span;
use rand::RngExt;
use sdk::engine::Engine;
use sdk::scheduler::Records;
use sdk::store::Record;
use wire::v1;

use self::edge::Edge;
use self::glass::{Glass, Shown};
use super::Due;
use super::instance::{Instance, Kind};
use crate::context::Context;
use crate::frame::{AppsCall, Ask, Frame};
use crate::net::{ConnId, Host, MS, Micros};

/// The role of all apps.
const ROLE: &str = "apps";
/// Between two looks at whether readers of events have room again.
const PUMP: Micros = 200 * MS;

/// A machine with a supervisor on it.
pub(crate) type Supervisor = Instance<Apps>;

/// What supervisors have to themselves.
#[derive(Debug, Default)]
pub(crate) struct Apps {
    published: u64,
}

/// What the one that leads shows.
#[derive(Debug)]
pub(crate) struct Api {
    /// The revision of the key it holds.
    token: u64,
    edge: Edge,
    glass: Arc<Glass>,
}

impl Supervisor {
    fn change(&mut self, conn: ConnId, command: Command, cx: &mut Context) {
        let Some(token) = self.api().map(|api| api.token) else { return };
        if let Command::Kill { selection, .. } = &command {
            cx.judge.strategy.killed_by_user(selection, cx.now);
        }
        let (asked, mut taken) = (command.clone(), None);
        self.answer(conn, cx, |framework, step| {
            match framework.command(&Default::default(), command, step) {
                Ok(reply) => {
                    taken = Some(reply.clone());
                    Frame::Done(Box::new(reply))
                }
                Err(refusal) => Frame::Refused { status: 409, text: refusal.to_string() },
            }
        });
        if let Some(reply) = taken {
            cx.judge.changes.decided(token, conn, &asked, &reply);
        }
        self.go_on(cx);
    }

    fn listen(
        &mut self,
        conn: ConnId,
        after: Option<u64>,
        kinds: &'static [&'static str],
        drainer: Option<String>,
        cx: &mut Context,
    ) {
        let Some(api) = self.api() else { return };
        if api.edge.listen(conn, after, kinds, drainer.clone(), cx)
            && let Some(name) = drainer
        {
            self.ask(cx, |framework, step| {
                framework.drainer_connected(name, step);
                Box::new(|| ())
            });
            self.go_on(cx);
        }
    }

    fn drainers_left(&mut self, names: Vec<String>, cx: &mut Context) {
        for name in names {
            self.ask(cx, |framework, step| {
                framework.drainer_disconnected(name, step);
                Box::new(|| ())
            });
        }
    }
}

impl Kind for Apps {
    type Scheduler = Framework;
    type Call = AppsCall;
    type Api = Api;

    const NAMESPACE: &'static str = "marathon";
    const NAME: &'static str = "the supervisors' leadership";
    const GOES_ON: &'static str = "supervisors go on";

    fn begin(host: Host, token: u64, _: &mut Context) -> Api {
        Api { token, edge: Edge::new(host), glass: Arc::default() }
    }

    fn end(mut api: Api, cx: &mut Context) {
        api.edge.close(cx);
    }

    fn engine(api: &Api, records: Vec<Record>, cx: &mut Context) -> (Engine<Box<Framework>>, Records) {
        let settings = Settings {
            role: ROLE.to_owned(),
            service_ports: 10_000..=10_100,
            drain_timeout: Span::from_secs(10),
        };
        let seed = [cx.random.random(), cx.random.random()];
        let framework = Box::new(Framework::new(settings, api.glass.clone(), move || seed));
        let known = sdk::engine::framework(&records);
        let engine = Engine::new(framework, known, marathon::limits::REFUSE).with_prefix("");
        (engine, Records::under_prefix("", records))
    }

    fn info(address: &str) -> v1::FrameworkInfo {
        scheduler::framework_info(ROLE, address)
    }

    fn is_open(api: &Api) -> bool {
        api.edge.is_open()
    }

    fn call(ask: Ask) -> Option<AppsCall> {
        match ask {
            Ask::Apps(call) => Some(*call),
            _ => None,
        }
    }

    fn serve(instance: &mut Supervisor, conn: ConnId, call: AppsCall, cx: &mut Context) {
        let app = match call {
            AppsCall::Command(command) => return instance.change(conn, command, cx),
            AppsCall::Events { after, kinds, drainer } => {
                return instance.listen(conn, after, kinds, drainer, cx);
            }
            AppsCall::List => None,
            AppsCall::Read(app) => Some(app),
        };
        if let Some(api) = instance.api() {
            api.edge.read(conn, app.as_deref(), cx);
        }
    }

    fn left(instance: &mut Supervisor, conn: ConnId, cx: &mut Context) -> bool {
        let Some(api) = instance.api().filter(|api| api.edge.knows(conn)) else { return false };
        let left = api.edge.gone(conn, cx);
        instance.drainers_left(left.into_iter().collect(), cx);
        instance.go_on(cx);
        true
    }

    fn show(instance: &mut Supervisor, cx: &mut Context) {
        let Some(api) = instance.api() else { return };
        let mut behind = Vec::new();
        let mut published = 0;
        for shown in api.glass.take() {
            match shown {
                Shown::Events(events) => {
                    published += events.len() as u64;
                    for event in &events {
                        cx.judge.stream.published(event.number, &event.payload);
                    }
                    behind.extend(api.edge.publish(&events, cx));
                }
                Shown::View(view) => {
                    cx.judge.changes.viewed(api.token, &view);
                    cx.judge.strategy.viewed(api.token, &view, cx.now);
                    api.edge.show(view);
                }
            }
        }
        instance.kind.published += published;
        instance.drainers_left(behind, cx);
    }

    fn answers(conn: ConnId, frame: &Frame, cx: &mut Context) {
        if matches!(frame, Frame::Done(_)) {
            cx.judge.changes.acknowledged(conn);
        }
    }

    fn updated(status: &v1::TaskStatus, cx: &mut Context) {
        if let Some(state) = TaskState::from_name(status.state().as_str_name()) {
            let uuid = status.uuid.as_deref();
            cx.judge.strategy.told(&status.task_id.value, state, status.healthy, uuid);
        }
    }

    fn started(host: Host, cx: &mut Context) {
        cx.later(host, PUMP, Due::Pump);
    }

    fn pump(instance: &mut Supervisor, cx: &mut Context) {
        cx.later(instance.host, PUMP, Due::Pump);
        if let Some(api) = instance.api() {
            let left = api.edge.pump(cx);
            instance.drainers_left(left, cx);
            instance.go_on(cx);
        }
    }

    fn unfinished(_: &Framework, api: &Api) -> Vec<String> {
        api.edge.unfinished()
    }

    fn report(&self) -> String {
        format!(", {} events", self.published)
    }
}
