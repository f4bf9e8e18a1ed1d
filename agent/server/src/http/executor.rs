//! `POST /api/v1/executor`: frameworks' own executors (spec mesos-v1, 1.6 and section 5).
//!
//! SUBSCRIBE is answered by a stream of events, one record in one HTTP chunk; the other calls by 202 once they are
//! found good. What was taken is acknowledged on the stream when it is on disk.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use agent_core::{Call, CallRefusal, Event, ExecutorKey, Input, StreamId};
use axum::body::{Body, Bytes};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, Response, StatusCode, header};
use hyper::body::Frame;
use model::limits::EXECUTOR_DATA_BYTES;
use prost::Message as _;
use tokio::sync::mpsc::{Receiver, UnboundedSender, channel};
use tokio::time::{Instant, Interval, interval_at};
use wire::executor::call::Type as CallType;
use wire::executor::event::Type as EventType;
use wire::executor::{self, event};
use wire::media::Codec;
use wire::v1;

use super::reply::Refusal;
use super::{Site, api};
use crate::driver::Question;
use crate::limits;

pub(super) async fn handle(site: &Site, parts: &Parts, body: Body) -> Result<Response<Body>, Refusal> {
    if parts.method != Method::POST {
        return Err(Refusal::method(&parts.method, "POST"));
    }
    let text = |name| parts.headers.get(name).and_then(|value| value.to_str().ok());
    let codec =
        Codec::of_request(text(header::CONTENT_TYPE)).map_err(|e| Refusal::new(e.status(), e.to_string()))?;
    let body = api::whole(parts, body).await?;
    let call: executor::Call = codec.decode(&body).map_err(|e| Refusal::new(400, e.to_string()))?;
    let kind = validate(&call)?;
    let key = ExecutorKey {
        framework: call.framework_id.value.as_str().into(),
        executor: call.executor_id.value.as_str().into(),
    };
    match kind {
        CallType::Subscribe => {
            let accept = parts.headers.get_all(header::ACCEPT).iter();
            let accept: Vec<&str> = accept.map(|value| value.to_str().unwrap_or_default()).collect();
            let codec = Codec::of_response(accept).map_err(|e| Refusal::new(e.status(), e.to_string()))?;
            subscribe(site, key, call.subscribe.unwrap_or_default(), codec).await
        }
        CallType::Heartbeat => Ok(accepted()),
        CallType::Update => {
            let status = call.update.map(|update| update.status).ok_or_else(|| expects("update"))?;
            say(site, key, Call::Update(Box::new(status))).await
        }
        CallType::Message => {
            let message = call.message.ok_or_else(|| expects("message"))?;
            bounded("message.data", message.data.len())?;
            say(site, key, Call::Message(message.data.to_vec())).await
        }
        CallType::Unknown => Err(Refusal::new(501, "This agent does not know this call")),
    }
}

fn expects(field: &str) -> Refusal {
    invalid(&format!("Expecting '{field}' to be present"))
}

fn invalid(problem: &str) -> Refusal {
    Refusal::new(400, format!("Failed to validate Executor::Call: {problem}"))
}

/// What can be said of a call without knowing the agent's state.
fn validate(call: &executor::Call) -> Result<CallType, Refusal> {
    let kind = call.r#type.ok_or_else(|| expects("type"))?;
    let Ok(kind) = CallType::try_from(kind) else {
        return Err(Refusal::new(501, "This agent does not know this call"));
    };
    match kind {
        CallType::Subscribe => {
            let updates = call.subscribe.iter().flat_map(|subscribe| &subscribe.unacknowledged_updates);
            for update in updates {
                validate_status(call, &update.status)?;
            }
        }
        CallType::Update => {
            let update = call.update.as_ref().ok_or_else(|| expects("update"))?;
            validate_status(call, &update.status)?;
        }
        CallType::Message if call.message.is_none() => return Err(expects("message")),
        CallType::Message | CallType::Heartbeat | CallType::Unknown => {}
    }
    Ok(kind)
}

fn validate_status(call: &executor::Call, status: &v1::TaskStatus) -> Result<(), Refusal> {
    let (executor, framework) = (&call.executor_id.value, &call.framework_id.value);
    // As a whole: its message and labels travel with its data.
    bounded("status", status.encoded_len())?;
    match &status.uuid {
        None => return Err(expects("uuid")),
        Some(uuid) if uuid.len() != 16 => {
            let length = uuid.len();
            return Err(invalid(&format!("Not a valid UUID: expecting 16 bytes, received {length}")));
        }
        Some(_) => {}
    }
    if status.executor_id.as_ref().is_some_and(|id| id.value != *executor) {
        return Err(invalid(&format!(
            "ExecutorID in Call: {executor} does not match ExecutorID in TaskStatus: {}",
            status.executor_id.as_ref().map_or("", |id| id.value.as_str())
        )));
    }
    if status.source() != v1::task_status::Source::Executor {
        return Err(invalid(&format!(
            "Received Call from executor {executor} of framework {framework} with invalid source, expecting 'SOURCE_EXECUTOR'"
        )));
    }
    if status.state() == v1::TaskState::TaskStaging {
        return Err(invalid(&format!(
            "Received TASK_STAGING from executor {executor} of framework {framework} which is not allowed"
        )));
    }
    Ok(())
}

/// Refuses what would end the stream of a scheduler that reads it. It is said here, where the executor can hear of it.
fn bounded(field: &str, bytes: usize) -> Result<(), Refusal> {
    if bytes > EXECUTOR_DATA_BYTES {
        let rule = format!("'{field}' has {bytes} bytes, at most {EXECUTOR_DATA_BYTES} are allowed");
        return Err(Refusal::new(413, format!("Failed to validate Executor::Call: {rule}")));
    }
    Ok(())
}

fn accepted() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::ACCEPTED;
    response
}

fn refuse(refusal: CallRefusal) -> Refusal {
    let status = match refusal {
        CallRefusal::Recovering => 503,
        CallRefusal::UnknownFramework | CallRefusal::UnknownExecutor => 400,
        CallRefusal::NotSubscribed => 403,
    };
    Refusal::new(status, refusal.to_string())
}

async fn say(site: &Site, executor: ExecutorKey, call: Call) -> Result<Response<Body>, Refusal> {
    let verdict = site.ask(|reply| Question::Call { executor, call, events: None, reply }).await?;
    verdict.map(|()| accepted()).map_err(refuse)
}

async fn subscribe(
    site: &Site,
    executor: ExecutorKey,
    asked: executor::call::Subscribe,
    codec: Codec,
) -> Result<Response<Body>, Refusal> {
    let stream = StreamId(site.next_stream.fetch_add(1, Ordering::Relaxed));
    let (events, reader) = channel(limits::EVENTS);
    // From here on: an executor that hangs up before its answer is there must be noticed as well.
    let body = EventBody {
        reader,
        codec,
        heartbeat: interval_at(Instant::now() + limits::HEARTBEAT, limits::HEARTBEAT),
        _goodbye: Goodbye { stream, inputs: site.inputs.clone() },
    };
    let call = Call::Subscribe {
        stream,
        unacknowledged_tasks: asked
            .unacknowledged_tasks
            .into_iter()
            .map(|task| task.task_id.value.into())
            .collect(),
        unacknowledged_updates: asked
            .unacknowledged_updates
            .into_iter()
            .map(|update| update.status)
            .collect(),
    };
    let verdict = site.ask(|reply| Question::Call { executor, call, events: Some(events), reply }).await?;
    verdict.map_err(refuse)?;
    let mut response = Response::new(Body::new(body));
    let content_type = HeaderValue::from_static(codec.content_type());
    response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    Ok(response)
}

/// The events of one stream as the body of its answer.
struct EventBody {
    reader: Receiver<Event>,
    codec: Codec,
    heartbeat: Interval,
    /// Said when the body is dropped, whether it was read to its end or not.
    _goodbye: Goodbye,
}

/// Says that a stream is over, however it ended.
struct Goodbye {
    stream: StreamId,
    inputs: UnboundedSender<Input>,
}

impl Drop for Goodbye {
    fn drop(&mut self) {
        // The driver may be gone.
        let _ = self.inputs.send(Input::StreamGone(self.stream));
    }
}

impl hyper::body::Body for EventBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let event = match self.reader.poll_recv(cx) {
            Poll::Ready(None) => return Poll::Ready(None),
            Poll::Ready(Some(event)) => render(event),
            Poll::Pending => {
                std::task::ready!(self.heartbeat.poll_tick(cx));
                executor::Event { r#type: Some(EventType::Heartbeat as i32), ..Default::default() }
            }
        };
        Poll::Ready(Some(Ok(Frame::data(self.codec.encode_record(&event)))))
    }
}

/// An event as executors read it.
fn render(event: Event) -> executor::Event {
    let empty = executor::Event::default();
    match event {
        Event::Subscribed { executor, framework, agent, container } => executor::Event {
            r#type: Some(EventType::Subscribed as i32),
            subscribed: Some(event::Subscribed {
                executor_info: (*executor).clone(),
                framework_info: (*framework).clone(),
                agent_info: *agent,
                container_id: Some(v1::ContainerId { value: container.to_string(), parent: None }),
            }),
            ..empty
        },
        Event::Launch(task) => executor::Event {
            r#type: Some(EventType::Launch as i32),
            launch: Some(event::Launch { task: (*task).clone() }),
            ..empty
        },
        Event::LaunchGroup(tasks) => executor::Event {
            r#type: Some(EventType::LaunchGroup as i32),
            launch_group: Some(event::LaunchGroup {
                task_group: v1::TaskGroupInfo { tasks: tasks.iter().map(|task| (**task).clone()).collect() },
            }),
            ..empty
        },
        Event::Kill { task, grace } => executor::Event {
            r#type: Some(EventType::Kill as i32),
            kill: Some(event::Kill {
                task_id: v1::TaskId { value: task.to_string() },
                kill_policy: grace.map(|grace| v1::KillPolicy {
                    grace_period: Some(v1::DurationInfo {
                        nanoseconds: i64::try_from(grace.as_millis())
                            .unwrap_or(i64::MAX)
                            .saturating_mul(1_000_000),
                    }),
                }),
            }),
            ..empty
        },
        Event::Acknowledged { task, uuid } => executor::Event {
            r#type: Some(EventType::Acknowledged as i32),
            acknowledged: Some(event::Acknowledged {
                task_id: v1::TaskId { value: task.to_string() },
                uuid: uuid.0.to_vec().into(),
            }),
            ..empty
        },
        Event::Message(data) => executor::Event {
            r#type: Some(EventType::Message as i32),
            message: Some(event::Message { data: data.into() }),
            ..empty
        },
        Event::Shutdown => executor::Event { r#type: Some(EventType::Shutdown as i32), ..empty },
    }
}
