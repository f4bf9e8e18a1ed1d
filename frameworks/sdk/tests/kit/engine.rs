//! The kit's engine without IO: what may overtake what.

use sdk::engine::{Effect, Engine, framework_of};
use sdk::offer::Offer;
use sdk::scheduler::{Records, Scheduler};
use sdk::step::Step;
use sdk::store::Write;
use sdk::subscription::Heard;
use sdk::task::Task;
use sdk::update::Update;
use sdk::wire::scheduler::{Call, call::Type};
use sdk::wire::v1;
use sdk::{AgentId, Failure, Span, TaskId, Time};

/// Launches a task on every offer, while it wants any; each time it is asked for one it makes a record.
#[derive(Default)]
struct Probe {
    wanted: usize,
    launched: Vec<TaskId>,
    told: Vec<&'static str>,
}

impl Scheduler for Probe {
    fn elected(&mut self, _: &Records, _: &mut Step) -> Result<(), Failure> {
        Ok(())
    }

    fn tasks(&self) -> Vec<(TaskId, Option<AgentId>)> {
        self.launched.iter().map(|task| (task.clone(), None)).collect()
    }

    fn wants_offers(&self) -> bool {
        self.launched.len() < self.wanted
    }

    fn offers(&mut self, offers: Vec<Offer>, step: &mut Step) {
        for mut offer in offers {
            if !self.wants_offers() {
                return;
            }
            let share = offer.take(&"cpus:1".parse().unwrap()).unwrap();
            let task = Task::command(format!("t{}", self.launched.len()), share, "true");
            self.launched.push(task.id());
            step.put(format!("tasks/{}", task.id()), "new");
            step.launch(offer, vec![task]);
        }
    }

    fn update(&mut self, _: &Update, _: &mut Step) {}

    fn disconnected(&mut self, _: &mut Step) {
        self.told.push("disconnected");
    }

    fn removed(&mut self, _: &mut Step) {
        self.told.push("removed");
    }
}

const NOW: Time = Time::from_secs(100);

/// A scheduler that is subscribed, and has nothing to do.
fn subscribed() -> Engine<Box<Probe>> {
    let mut engine = Engine::new(Box::new(Probe::default()), Some("F".into()), Span::from_secs(5));
    engine.elected(NOW, &Records::default()).unwrap();
    subscribe(&mut engine);
    assert_eq!(kinds(engine.release()), [Type::Reconcile, Type::Suppress]);
    assert_eq!(engine.next_batch(), None);
    engine
}

fn subscribe(engine: &mut Engine<Box<Probe>>) {
    engine.heard(NOW, Heard::Subscribed { framework: "F".into(), master: "m".to_owned() }).unwrap();
}

/// Wants one task more, and stores that.
fn want(engine: &mut Engine<Box<Probe>>) {
    let wanted = |probe: &mut Probe, step: &mut Step| -> sdk::engine::Reply {
        probe.wanted += 1;
        step.put("wanted", &probe.wanted);
        Box::new(|| ())
    };
    engine.ask(NOW, wanted).unwrap();
}

fn offer(engine: &mut Engine<Box<Probe>>) {
    let scalar = v1::value::Scalar { value: 1.0 };
    let cpus = v1::Resource {
        name: "cpus".to_owned(),
        r#type: v1::value::Type::Scalar.into(),
        scalar: Some(scalar),
        ..Default::default()
    };
    let offer =
        v1::Offer { id: v1::OfferId { value: "O".to_owned() }, resources: vec![cpus], ..Default::default() };
    engine.heard(NOW, Heard::Offers(vec![Offer::from_wire(offer).unwrap()])).unwrap();
}

/// The calls among these, in order.
fn kinds(effects: Vec<Effect>) -> Vec<Type> {
    let call = |effect: Effect| match effect {
        Effect::Call(call) => Some(Call::r#type(&call)),
        Effect::Reply(_) | Effect::Finish => None,
    };
    effects.into_iter().filter_map(call).collect()
}

#[test]
fn offers_are_asked_for_while_what_they_are_for_is_being_stored() {
    let mut engine = subscribed();
    want(&mut engine);
    assert_eq!(kinds(engine.release()), [Type::Revive]);
    assert!(engine.next_batch().is_some());
    // An offer may come before the record is stored. Then the launch waits for both records.
    offer(&mut engine);
    assert_eq!(kinds(engine.release()), []);
    assert_eq!(kinds(engine.stored()), []);
    assert!(engine.next_batch().is_some());
    assert_eq!(kinds(engine.stored()), [Type::Accept, Type::Suppress]);
}

/// A refusal comes with the launch; a REVIVE that overtook it would leave what is over of the offer refused.
#[test]
fn nothing_overtakes_a_launch_that_waits() {
    let mut engine = subscribed();
    want(&mut engine);
    offer(&mut engine);
    assert!(engine.next_batch().is_some());
    want(&mut engine);
    assert_eq!(kinds(engine.release()), [Type::Revive], "that of the first, before there was a launch");
    assert_eq!(kinds(engine.stored()), [Type::Accept, Type::Suppress]);
    assert!(engine.next_batch().is_some());
    assert_eq!(kinds(engine.stored()), [Type::Revive]);
    want(&mut engine);
    assert_eq!(kinds(engine.release()), [], "it is known that offers are wanted");
}

/// Asked about it the master would say that there is no such task, and then launch it.
#[test]
fn nobody_asks_about_a_launch_that_is_not_sent_yet() {
    let mut engine = subscribed();
    want(&mut engine);
    offer(&mut engine);
    engine.release();
    assert!(engine.next_batch().is_some());
    engine.heard(NOW, Heard::Lost { reason: String::new() }).unwrap();
    subscribe(&mut engine);
    assert_eq!(kinds(engine.release()), []);
    let sent = kinds(engine.stored());
    assert_eq!(sent[0], Type::Accept);
    assert!(sent[1..].contains(&Type::Reconcile), "{sent:?}");
}

#[test]
fn a_step_is_divided_where_it_says() {
    let mut engine = subscribed();
    let many = |_: &mut Probe, step: &mut Step| -> sdk::engine::Reply {
        for part in ["a", "b"] {
            for n in 0..100 {
                step.put(format!("{part}{n}"), &n);
            }
            step.part();
        }
        Box::new(|| ())
    };
    engine.ask(NOW, many).unwrap();
    let mut sizes = Vec::new();
    while let Some(batch) = engine.next_batch() {
        assert!(
            batch.iter().all(|write| matches!(write, Write::Put { key, .. } if key.starts_with("records/")))
        );
        sizes.push((batch.len(), engine.stored().len()));
    }
    assert_eq!(sizes, [(100, 0), (100, 1)]);
}

#[test]
fn a_framework_that_was_removed_is_told_so() {
    let mut engine = subscribed();
    engine.heard(NOW, Heard::Ended { removed: true, message: String::new() }).unwrap();
    assert_eq!(engine.scheduler().told, ["removed"]);
    assert_eq!(engine.framework(), None);
    assert_eq!(engine.next_batch(), Some(vec![Write::Delete { key: "framework".to_owned() }]));
}

#[test]
fn the_id_is_read_by_itself_and_out_of_a_document() {
    assert_eq!(framework_of(b"abc-0000").as_str(), "abc-0000");
    assert_eq!(framework_of(br#"{"id":"abc-0000"}"#).as_str(), "abc-0000");
}
