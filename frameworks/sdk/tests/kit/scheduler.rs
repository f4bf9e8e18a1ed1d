//! A scheduler run by the kit, against masters that follow a script.

use std::collections::BTreeMap;

use sdk::offer::Offer;
use sdk::scheduler::{AskError, Handle, Records, RunError, Runner, Scheduler, Settings};
use sdk::step::Step;
use sdk::task::Task;
use sdk::update::Update;
use sdk::wire::scheduler::{Call, call};
use sdk::wire::v1::TaskState as Wire;
use sdk::{AgentId, Failure, FrameworkId, TaskId, TaskState};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::masters::{DEADLINE, Master, answer, masters};
use crate::space::Space;

/// Launches as many tasks as it is asked for, one an offer, and remembers how each stands.
struct Probe {
    wanted: usize,
    tasks: BTreeMap<String, String>,
    told: mpsc::UnboundedSender<String>,
}

impl Probe {
    fn tell(&self, what: impl Into<String>) {
        // A test that does not listen any more has seen enough.
        let _ = self.told.send(what.into());
    }
}

impl Scheduler for Probe {
    fn elected(&mut self, records: &Records, _: &mut Step) -> Result<(), Failure> {
        self.tasks = records.under("tasks/")?.into_iter().collect();
        self.tell(format!("elected with {}", self.tasks.len()));
        Ok(())
    }

    fn tasks(&self) -> Vec<(TaskId, Option<AgentId>)> {
        let alive = self.tasks.iter().filter(|(_, state)| *state != "TASK_FINISHED");
        alive.map(|(task, _)| (task.as_str().into(), Some("S1".into()))).collect()
    }

    fn wants_offers(&self) -> bool {
        self.tasks.len() < self.wanted
    }

    fn offers(&mut self, offers: Vec<Offer>, step: &mut Step) {
        for mut offer in offers {
            let need = "cpus:1;mem:128".parse().unwrap();
            if let Some(share) = offer.take(&need).filter(|_| self.wants_offers()) {
                let task = Task::command(format!("t{}", self.tasks.len() + 1), share, "true");
                self.tasks.insert(task.id().to_string(), "new".to_owned());
                step.put(format!("tasks/{}", task.id()), "new");
                step.launch(offer, vec![task]);
            }
        }
    }

    fn update(&mut self, update: &Update, step: &mut Step) {
        self.tell(format!("{} {}", update.task, update.state));
        if update.state == TaskState::Finished && update.task.as_str() == "last" {
            return step.finish();
        }
        self.tasks.insert(update.task.to_string(), update.state.to_string());
        step.put(format!("tasks/{}", update.task), &update.state.to_string());
    }

    fn subscribed(&mut self, framework: &FrameworkId, _: &str, _: &mut Step) {
        self.tell(format!("subscribed as {framework}"));
    }

    fn disconnected(&mut self, _: &mut Step) {
        self.tell("disconnected");
    }

    fn deposed(&mut self) {
        self.tell("deposed");
    }
}

/// A run, and what its scheduler tells of it.
struct Run {
    told: mpsc::UnboundedReceiver<String>,
    handle: Handle<Probe>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<Option<Probe>, RunError>>,
}

fn start(masters: &[Master], wanted: usize) -> Run {
    let addresses: Vec<String> = masters.iter().map(|master| master.address.clone()).collect();
    let (told, hear) = mpsc::unbounded_channel();
    let probe = Probe { wanted, tasks: BTreeMap::new(), told };
    let runner = Runner::new(Settings::new("probe", &addresses), probe).unwrap();
    let handle = runner.handle();
    let (stop, stopped) = oneshot::channel();
    let task = tokio::spawn(runner.run(async { stopped.await.unwrap_or_default() }));
    Run { told: hear, handle, stop, task }
}

impl Run {
    async fn hear(&mut self, expected: &str) {
        let told = tokio::time::timeout(DEADLINE, self.told.recv()).await;
        assert_eq!(told.expect("told in time").expect("it runs"), expected);
    }

    /// It is subscribed, and the master has been asked in general.
    async fn hear_first(&mut self, master: &mut Master, framework: &str) {
        self.hear("elected with 0").await;
        self.hear(&format!("subscribed as {framework}")).await;
        master.asked_in_general().await;
    }

    /// Asked to end, it does so in order.
    async fn end(self) {
        self.stop.send(()).unwrap();
        assert!(self.task.await.unwrap().unwrap().is_none());
    }
}

fn launched(call: &Call) -> Vec<String> {
    sdk::call::launched(call).iter().map(ToString::to_string).collect()
}

/// A run with one task that runs, at the first of the masters.
async fn with_one_task(space: &Space, masters: &mut [Master]) -> (Run, crate::masters::Stream) {
    let mut run = start(masters, 1);
    let (mut stream, _) = masters[0].subscribed("F").await;
    run.hear_first(&mut masters[0], "F").await;
    stream.offers(&["O1"]).await;
    masters[0].expect(call::Type::Accept).await;
    masters[0].expect(call::Type::Suppress).await;
    stream.update("t1", Wire::TaskRunning, Some(1)).await;
    run.hear("t1 TASK_RUNNING").await;
    masters[0].expect(call::Type::Acknowledge).await;
    assert_eq!(space.value("records/tasks/t1").as_deref(), Some("\"TASK_RUNNING\""));
    (run, stream)
}

#[tokio::test]
async fn a_redirect_is_followed_and_a_launch_is_recorded_before_it_is_sent() {
    let (space, mut masters) = masters::<2>().await;
    let mut run = start(&masters, 1);
    let request = masters[0].request().await;
    let location = format!("Location: //{}/api/v1/scheduler\r\n", masters[1].address);
    answer(request, "307 Temporary Redirect", &location).await;
    let (mut stream, subscribe) = masters[1].subscribed("F").await;
    assert_eq!((subscribe.framework_info.name.as_str(), subscribe.framework_info.id), ("probe", None));
    run.hear_first(&mut masters[1], "F").await;

    stream.offers(&["O1", "O2"]).await;
    let accept = masters[1].expect(call::Type::Accept).await;
    assert_eq!(launched(&accept), ["t1"]);
    assert_eq!(space.value("records/tasks/t1").as_deref(), Some("\"new\""), "stored before it is sent");
    assert_eq!(space.value("framework").as_deref(), Some("F"));
    assert_eq!(accept.framework_id.unwrap().value, "F");
    let operation = accept.accept.unwrap().operations.remove(0);
    let info = &operation.launch.as_ref().unwrap().task_infos[0];
    assert_eq!(info.agent_id.value, "S1");
    let decline = masters[1].expect(call::Type::Decline).await.decline.unwrap();
    assert_eq!(decline.offer_ids[0].value, "O2", "an offer that nothing is said of is given back");
    masters[1].expect(call::Type::Suppress).await;
    run.end().await;
    stream.closed().await;
}

#[tokio::test]
async fn after_a_lost_stream_it_is_the_same_framework_and_asks_about_its_tasks() {
    let (space, mut masters) = masters::<2>().await;
    let (mut run, stream) = with_one_task(&space, &mut masters).await;
    drop(stream);
    run.hear("disconnected").await;
    let (mut stream, subscribe) = masters[1].subscribed("F").await;
    assert_eq!(subscribe.framework_info.id.unwrap().value, "F");
    run.hear("subscribed as F").await;
    masters[1].asked_in_general().await;
    assert_eq!(masters[1].asked_about().await, ["t1"]);
    masters[1].expect(call::Type::Suppress).await;
    // The new master does not know yet: it is asked again until it has spoken of the task.
    assert_eq!(masters[1].asked_about().await, ["t1"]);
    stream.update("t1", Wire::TaskRunning, None).await;
    run.hear("t1 TASK_RUNNING").await;
    run.end().await;
    assert!(masters[1].is_quiet(), "what the master itself says is not acknowledged");
}

#[tokio::test]
async fn a_master_without_heartbeats_is_left() {
    let (_space, mut masters) = masters::<2>().await;
    let mut run = start(&masters, 1);
    let (silent, _) = masters[0].subscribed_with("F", 1.0).await;
    run.hear_first(&mut masters[0], "F").await;
    run.hear("disconnected").await;
    silent.closed().await;
    let (_stream, subscribe) = masters[1].subscribed("F").await;
    assert_eq!(subscribe.framework_info.id.unwrap().value, "F");
    run.hear("subscribed as F").await;
    run.end().await;
}

#[tokio::test]
async fn an_update_is_acknowledged_when_it_is_stored_and_not_before() {
    let (space, mut masters) = masters::<1>().await;
    let (mut run, mut stream) = with_one_task(&space, &mut masters).await;
    space.turn_away();
    stream.update("t1", Wire::TaskFinished, Some(2)).await;
    run.hear("t1 TASK_FINISHED").await;
    // Repeated meanwhile, as agents do: neither told twice nor acknowledged.
    stream.update("t1", Wire::TaskFinished, Some(2)).await;
    space.turned_one_away().await;
    assert!(masters[0].is_quiet(), "nothing is acknowledged that is not stored");
    space.take();
    for _ in 0..2 {
        let acknowledge = masters[0].expect(call::Type::Acknowledge).await.acknowledge.unwrap();
        assert_eq!((acknowledge.task_id.value.as_str(), &acknowledge.uuid[..]), ("t1", &[2; 16][..]));
        assert_eq!(space.value("records/tasks/t1").as_deref(), Some("\"TASK_FINISHED\""));
    }
    run.end().await;
}

#[tokio::test]
async fn steps_that_write_the_same_record_are_stored_together() {
    let (space, mut masters) = masters::<1>().await;
    let (mut run, mut stream) = with_one_task(&space, &mut masters).await;
    space.turn_away();
    // The first is turned away; the others gather behind it.
    for (uuid, state) in [(2, Wire::TaskStarting), (3, Wire::TaskRunning), (4, Wire::TaskFinished)] {
        stream.update("t1", state, Some(uuid)).await;
        run.hear(&format!("t1 {}", state.as_str_name())).await;
    }
    space.turned_one_away().await;
    space.take();
    for _ in 0..3 {
        masters[0].expect(call::Type::Acknowledge).await;
    }
    assert_eq!(space.value("records/tasks/t1").as_deref(), Some("\"TASK_FINISHED\""));
    run.end().await;
}

#[tokio::test]
async fn a_repeated_update_is_told_once_and_acknowledged_each_time() {
    let (space, mut masters) = masters::<1>().await;
    let (mut run, mut stream) = with_one_task(&space, &mut masters).await;
    for uuid in [1, 1, 2] {
        stream.update("t1", Wire::TaskRunning, Some(uuid)).await;
        masters[0].expect(call::Type::Acknowledge).await;
    }
    run.hear("t1 TASK_RUNNING").await;
    run.end().await;
}

#[tokio::test]
async fn an_update_that_was_not_stored_is_told_to_the_next_leader() {
    let (space, mut masters) = masters::<1>().await;
    let (mut run, mut stream) = with_one_task(&space, &mut masters).await;
    space.turn_away();
    stream.update("t1", Wire::TaskFinished, Some(2)).await;
    run.hear("t1 TASK_FINISHED").await;
    space.turned_one_away().await;
    run.task.abort();
    stream.closed().await;
    space.take();
    // Its process is gone; the lease runs out.
    space.expire();
    let mut next = start(&masters, 1);
    next.hear("elected with 1").await;
    let (mut stream, subscribe) = masters[0].subscribed("F").await;
    assert_eq!(subscribe.framework_info.id.unwrap().value, "F", "the id is among the records");
    next.hear("subscribed as F").await;
    masters[0].asked_in_general().await;
    assert_eq!(masters[0].asked_about().await, ["t1"]);
    masters[0].expect(call::Type::Suppress).await;
    stream.update("t1", Wire::TaskFinished, Some(2)).await;
    next.hear("t1 TASK_FINISHED").await;
    masters[0].expect(call::Type::Acknowledge).await;
    assert_eq!(space.value("records/tasks/t1").as_deref(), Some("\"TASK_FINISHED\""));
    next.end().await;
}

#[tokio::test]
async fn who_loses_the_lease_steps_down() {
    let (space, mut masters) = masters::<1>().await;
    let (mut run, stream) = with_one_task(&space, &mut masters).await;
    space.usurp("leader", "other:1");
    run.hear("deposed").await;
    stream.closed().await;
    let leader = sdk::leadership::Standing::Following { leader: Some("other:1".to_owned()) };
    run.handle.standing().wait_for(|standing| *standing == leader).await.unwrap();
    let asked = run.handle.ask(|probe, _| probe.tasks.len()).await;
    assert_eq!(asked, Err(AskError::NotLeading { leader: Some("other:1".to_owned()) }));
    run.end().await;
}

#[tokio::test]
async fn a_framework_that_was_removed_begins_anew() {
    let (space, mut masters) = masters::<1>().await;
    let (mut run, mut stream) = with_one_task(&space, &mut masters).await;
    stream.error("Framework has been removed").await;
    run.hear("disconnected").await;
    let (_stream, subscribe) = masters[0].subscribed("G").await;
    assert_eq!(subscribe.framework_info.id, None);
    run.hear("subscribed as G").await;
    masters[0].asked_in_general().await;
    assert_eq!(masters[0].asked_about().await, ["t1"], "what became of the tasks is asked all the same");
    assert_eq!(space.value("framework").as_deref(), Some("G"));
    run.end().await;
}

/// A request of an earlier leader was long on its way, and the master has ended ours for it.
#[tokio::test]
async fn a_leader_whose_subscription_was_taken_subscribes_again() {
    let (space, mut masters) = masters::<1>().await;
    let (mut run, mut stream) = with_one_task(&space, &mut masters).await;
    stream.error("Framework failed over").await;
    run.hear("disconnected").await;
    let (_stream, subscribe) = masters[0].subscribed("F").await;
    assert_eq!(subscribe.framework_info.id.unwrap().value, "F");
    run.hear("subscribed as F").await;
    masters[0].asked_in_general().await;
    assert_eq!(masters[0].asked_about().await, ["t1"]);
    run.end().await;
}

#[tokio::test]
async fn who_gives_leadership_up_leaves_it_to_others_for_a_while() {
    let (space, mut masters) = masters::<1>().await;
    let (mut run, stream) = with_one_task(&space, &mut masters).await;
    run.handle.abdicate();
    run.hear("deposed").await;
    stream.closed().await;
    let mut next = start(&masters, 1);
    next.hear("elected with 1").await;
    let _stream = masters[0].subscribed("F").await;
    next.hear("subscribed as F").await;
    next.end().await;
    run.task.abort();
}

#[tokio::test]
async fn a_launch_in_doubt_is_asked_about() {
    let (_space, mut masters) = masters::<1>().await;
    let mut run = start(&masters, 1);
    let (mut stream, _) = masters[0].subscribed("F").await;
    run.hear_first(&mut masters[0], "F").await;
    stream.offers(&["O1"]).await;
    // The connection breaks before the answer. Should the launch not have been taken, its offer is free for others.
    drop(masters[0].request().await);
    masters[0].expect(call::Type::Decline).await;
    masters[0].expect(call::Type::Suppress).await;
    assert_eq!(masters[0].asked_about().await, ["t1"]);
    run.end().await;
}

#[tokio::test]
async fn an_answer_to_the_process_comes_when_the_step_is_stored() {
    let (space, mut masters) = masters::<1>().await;
    let mut run = start(&masters, 0);
    let (_stream, _) = masters[0].subscribed("F").await;
    run.hear_first(&mut masters[0], "F").await;
    let asked = run.handle.ask(|probe, step| {
        step.put("tasks/t9", "made up");
        probe.wanted = 1;
        7
    });
    assert_eq!(asked.await, Ok(7));
    assert_eq!(space.value("records/tasks/t9").as_deref(), Some("\"made up\""));
    masters[0].expect(call::Type::Suppress).await;
    masters[0].expect(call::Type::Revive).await;

    space.turn_away();
    let handle = run.handle.clone();
    let unanswered = tokio::spawn(async move { handle.ask(|_, step| step.delete("tasks/t9")).await });
    space.turned_one_away().await;
    space.usurp("leader", "other:1");
    assert_eq!(unanswered.await.unwrap(), Err(AskError::Unknown));
    run.end().await;
}

#[tokio::test]
async fn who_has_finished_leaves_the_cluster() {
    let (space, mut masters) = masters::<1>().await;
    let mut run = start(&masters, 1);
    let (mut stream, _) = masters[0].subscribed("F").await;
    run.hear_first(&mut masters[0], "F").await;
    stream.update("last", Wire::TaskFinished, Some(1)).await;
    // An acknowledgement may be overtaken; to a framework that has left it means nothing any more.
    let mut calls = [masters[0].call().await.r#type(), masters[0].call().await.r#type()];
    calls.sort();
    assert_eq!(calls, [call::Type::Teardown, call::Type::Acknowledge]);
    let probe = run.task.await.unwrap().unwrap().expect("the scheduler comes back");
    assert_eq!(probe.wanted, 1);
    assert_eq!(space.value("framework"), None, "the next run is another framework");
    assert_eq!(space.value("leader"), None, "and need not wait for the lease to run out");
}

#[tokio::test]
async fn a_subscription_that_is_refused_ends_the_run() {
    let (_space, mut masters) = masters::<1>().await;
    let run = start(&masters, 1);
    let (mut stream, _) = masters[0].subscribe().await;
    stream.error("role 'x y' has a space").await;
    let Err(error) = run.task.await.unwrap() else { panic!("it goes on") };
    assert_eq!(error.to_string(), "the master refuses the subscription: role 'x y' has a space");
}

#[tokio::test]
async fn too_large_a_record_ends_the_run_by_name() {
    let (space, mut masters) = masters::<1>().await;
    let mut run = start(&masters, 1);
    let (_stream, _) = masters[0].subscribed("F").await;
    run.hear_first(&mut masters[0], "F").await;
    let large = "x".repeat(sdk::limits::RECORD_BYTES);
    let asked = run.handle.ask(move |_, step| step.put("large", &large)).await;
    assert_eq!(asked, Err(AskError::Unknown));
    let Err(error) = run.task.await.unwrap() else { panic!("it goes on") };
    let expected = "record `large`: it has 1048578 bytes, at most 1048576 are allowed";
    assert_eq!((error.to_string().as_str(), space.value("records/large")), (expected, None));
}

#[tokio::test]
async fn too_long_a_key_ends_the_run_by_name() {
    let (_space, mut masters) = masters::<1>().await;
    let mut run = start(&masters, 1);
    let (_stream, _) = masters[0].subscribed("F").await;
    run.hear_first(&mut masters[0], "F").await;
    let asked = run.handle.ask(|_, step| step.put("k".repeat(1017), "")).await;
    assert_eq!(asked, Err(AskError::Unknown));
    let Err(error) = run.task.await.unwrap() else { panic!("it goes on") };
    assert!(error.to_string().ends_with("`: its key has 1017 bytes, at most 1016 are allowed"), "{error}");
}

#[test]
fn settings_that_make_no_sense_are_named() {
    let refused = |change: fn(&mut Settings)| {
        let mut settings = Settings::new("probe", &[]);
        change(&mut settings);
        let (told, _) = mpsc::unbounded_channel();
        let probe = Probe { wanted: 0, tasks: BTreeMap::new(), told };
        Runner::new(settings, probe).err().expect("a refusal").to_string()
    };
    assert_eq!(refused(|settings| settings.namespace.clear()), "namespace must not be empty");
    assert_eq!(refused(|settings| settings.info.name.clear()), "info.name must not be empty");
    assert!(refused(|settings| settings.info.roles = vec!["a b".to_owned()]).starts_with("role 'a b': "));
}
