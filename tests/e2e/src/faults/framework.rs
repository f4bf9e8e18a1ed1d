//! A plain framework, driven over the public API while things break: it fills every slot it is offered with short tasks,
//! kills some of them, acknowledges what it is told once it is written down, and goes on at whichever master leads.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use reqwest::Response;
use serde_json::{Value, json};

use super::clients::{Asker, Seen};
use crate::records::Records;
use crate::scheduler;

const PATH: &str = "/api/v1/scheduler";
const NAME: &str = "plain";
/// A master that lives says something every fifteen seconds.
const SILENCE: Duration = Duration::from_secs(31);
/// A call that has no answer for so long is taken for lost.
const CALL: Duration = Duration::from_secs(5);
/// Between two looks at what is to be asked about.
const LOOK: Duration = Duration::from_secs(1);
/// A task that is not over and of which nothing was heard for so long is asked about.
const QUIET: Duration = Duration::from_secs(8);
const PAUSE: Duration = Duration::from_millis(200);
/// When nothing breaks any more, all is over in so long.
const REST: Duration = Duration::from_secs(90);
/// For so many seconds it wants no offer like the one it has declined.
const REFUSE: f64 = 2.0;
/// Of so many tasks it kills one.
const KILLED: usize = 4;

struct Framework {
    asker: Asker,
    seen: Arc<Seen>,
    runs: String,
    /// Who it is, once a master has said so.
    id: Option<String>,
    /// Tasks that were told to run, so far.
    running: usize,
}

/// What calls need to know of a subscription.
struct Link {
    at: usize,
    stream: String,
}

/// A master that does not take calls: another one is asked.
struct Elsewhere;

/// Launches until it is stopped; then waits for the end of its tasks.
pub(super) async fn run(asker: Asker, runs: String, seen: Arc<Seen>) {
    let mut framework = Framework { asker, seen, runs, id: None, running: 0 };
    let mut since = None;
    for at in 0.. {
        let rest = framework.asker.stopped().then(|| *since.get_or_insert_with(Instant::now));
        if rest.is_some_and(|since: Instant| since.elapsed() > REST) {
            return;
        }
        if let Some((link, mut records)) = framework.subscribe(at).await
            && framework.follow(&link, &mut records, &mut since).await.is_ok()
        {
            // At rest and torn down; if the last call got lost, its tasks are over nevertheless.
            return;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

impl Framework {
    async fn subscribe(&self, at: usize) -> Option<(Link, Records)> {
        let mut info = scheduler::info(NAME);
        info["failover_timeout"] = json!(86_400.0);
        info["capabilities"] = json!([{ "type": "MULTI_ROLE" }, { "type": "PARTITION_AWARE" }]);
        let mut call = json!({ "type": "SUBSCRIBE", "subscribe": { "framework_info": info } });
        if let Some(id) = &self.id {
            call["framework_id"] = json!({ "value": id });
            call["subscribe"]["framework_info"]["id"] = json!({ "value": id });
        }
        let sent = self.asker.post(at, PATH).json(&call).send();
        let answer: Response = tokio::time::timeout(CALL, sent).await.ok()?.ok()?;
        self.asker.note(&json!({ "subscribe": self.id, "to": self.asker.address(at), "answer": answer.status().as_u16() }));
        let stream = answer.headers().get("Mesos-Stream-Id")?.to_str().ok()?.to_owned();
        (answer.status() == 200).then(|| (Link { at, stream }, Records::of(answer)))
    }

    /// Takes what comes until all is over, or until this master is not the one any more.
    async fn follow(
        &mut self,
        link: &Link,
        records: &mut Records,
        since: &mut Option<Instant>,
    ) -> Result<(), Elsewhere> {
        let (mut heard, mut looked) = (Instant::now(), Instant::now());
        loop {
            match tokio::time::timeout(LOOK, records.next()).await {
                Ok(Some(event)) => {
                    heard = Instant::now();
                    self.take(link, &event).await?;
                }
                Ok(None) => return Err(Elsewhere),
                Err(_) if heard.elapsed() > SILENCE => return Err(Elsewhere),
                Err(_) => {}
            }
            if self.id.is_some() && looked.elapsed() > LOOK {
                looked = Instant::now();
                let open = self.seen.launches.book().open(QUIET, SystemTime::now());
                self.ask_about(link, &open).await?;
            }
            if self.asker.stopped() {
                let at_rest = self.seen.launches.book().at_rest();
                if at_rest || since.get_or_insert_with(Instant::now).elapsed() > REST {
                    return self.call(link, json!({ "type": "TEARDOWN" })).await;
                }
            }
        }
    }

    async fn take(&mut self, link: &Link, event: &Value) -> Result<(), Elsewhere> {
        match event["type"].as_str() {
            Some("SUBSCRIBED") => {
                let id = event["subscribed"]["framework_id"]["value"].as_str().unwrap_or_default();
                self.id = Some(id.to_owned());
                let open = self.seen.launches.book().open(Duration::ZERO, SystemTime::now());
                self.ask_about(link, &open).await
            }
            Some("OFFERS") => {
                for offer in event["offers"]["offers"].as_array().into_iter().flatten() {
                    self.use_offer(link, offer).await?;
                }
                Ok(())
            }
            Some("UPDATE") => self.take_status(link, &event["update"]["status"]).await,
            Some("ERROR") => {
                self.asker.note(&json!({ "told": event }));
                let why = event["error"]["message"].to_string();
                if why.contains("removed") || why.contains("torn down") {
                    self.seen.launches.book().is_wrong(format!("the framework was turned away: {why}"));
                }
                Err(Elsewhere)
            }
            _ => Ok(()),
        }
    }

    async fn use_offer(&mut self, link: &Link, offer: &Value) -> Result<(), Elsewhere> {
        let filters = json!({ "refuse_seconds": REFUSE });
        let ids = json!([offer["id"]]);
        let wanted = if self.asker.stopped() { 0 } else { slots(offer) };
        if wanted == 0 {
            let decline = json!({ "offer_ids": ids, "filters": filters });
            return self.call(link, json!({ "type": "DECLINE", "decline": decline })).await;
        }
        let agent = offer["agent_id"]["value"].as_str().unwrap_or_default();
        let lasting = offer["attributes"].as_array().into_iter().flatten();
        let lasting = lasting.clone().any(|own| own["name"] == "lasting" && own["text"]["value"] == "yes");
        let launch = |_| self.seen.launches.book().launch(agent, lasting, SystemTime::now());
        let launched: Vec<String> = (0..wanted).map(launch).collect();
        let tasks: Vec<Value> = launched.iter().map(|id| self.task(offer, id)).collect();
        let operations = json!([{ "type": "LAUNCH", "launch": { "task_infos": tasks } }]);
        let accept = json!({ "offer_ids": ids, "operations": operations, "filters": filters });
        self.asker.note(&json!({ "launch": launched, "agent": agent }));
        self.call(link, json!({ "type": "ACCEPT", "accept": accept })).await
    }

    /// A task that notes its start and lasts some seconds, of one slot.
    fn task(&self, offer: &Value, id: &str) -> Value {
        let seconds = 2 + 3 * (id.bytes().last().unwrap_or_default() % 3);
        let command = format!("echo $$ >> $RUNS/$MESOS_TASK_ID; exec sleep {seconds}");
        let mut task = scheduler::Scheduler::task(offer, id, &command);
        task["command"]["environment"] = json!({ "variables": [{ "name": "RUNS", "value": self.runs }] });
        if let Some(resources) = task["resources"].as_array_mut() {
            resources.push(json!({ "name": "slots", "type": "SCALAR", "scalar": { "value": 1.0 } }));
        }
        task
    }

    async fn take_status(&mut self, link: &Link, status: &Value) -> Result<(), Elsewhere> {
        let runs = self.seen.launches.book().told(status, SystemTime::now());
        self.asker.note(&json!({ "told": status, "by": self.asker.address(link.at) }));
        if status["uuid"].is_string() {
            let acknowledge = json!({ "agent_id": status["agent_id"], "task_id": status["task_id"], "uuid": status["uuid"] });
            self.call(link, json!({ "type": "ACKNOWLEDGE", "acknowledge": acknowledge })).await?;
        }
        self.running += usize::from(runs);
        if runs && self.running.is_multiple_of(KILLED) {
            let kill = json!({ "task_id": status["task_id"], "agent_id": status["agent_id"] });
            self.call(link, json!({ "type": "KILL", "kill": kill })).await?;
        }
        Ok(())
    }

    async fn ask_about(&self, link: &Link, open: &[(String, String)]) -> Result<(), Elsewhere> {
        if open.is_empty() {
            // Without names it would be asked about all there are.
            return Ok(());
        }
        let name = |(task, agent): &(String, String)| json!({ "task_id": { "value": task }, "agent_id": { "value": agent } });
        let tasks: Vec<Value> = open.iter().map(name).collect();
        self.call(link, json!({ "type": "RECONCILE", "reconcile": { "tasks": tasks } })).await
    }

    async fn call(&self, link: &Link, mut call: Value) -> Result<(), Elsewhere> {
        call["framework_id"] = json!({ "value": self.id });
        let request = self.asker.post(link.at, PATH).header("Mesos-Stream-Id", &link.stream).timeout(CALL);
        match request.json(&call).send().await {
            Ok(answer) if answer.status() == 202 => Ok(()),
            other => {
                let said = other.map(|answer| answer.status().as_u16()).map_err(|error| error.to_string());
                self.asker.note(
                    &json!({ "call": call["type"], "to": self.asker.address(link.at), "answer": said }),
                );
                Err(Elsewhere)
            }
        }
    }
}

/// How many tasks of one slot an offer has room for.
fn slots(offer: &Value) -> usize {
    let resources = offer["resources"].as_array().into_iter().flatten();
    let slots = resources.filter(|resource| resource["name"] == "slots");
    let amount: f64 = slots.filter_map(|resource| resource["scalar"]["value"].as_f64()).sum();
    (0..).take_while(|count| f64::from(*count) + 1.0 <= amount + 1e-6).count()
}
