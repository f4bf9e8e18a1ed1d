//! `POST /api/v1`: the calls of operators (spec mesos-v1, 6.3).

use agent_core::{Task, View};
use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{Method, Response, header};
use front::packed;
use http_body_util::{BodyExt, Limited};
use wire::agent::call::Type as CallType;
use wire::agent::response::{self, Type};
use wire::agent::{Call, Response as Answer};
use wire::media::Codec;
use wire::v1;

use super::reply::{self, Refusal};
use super::{Site, files, logs, metrics, monitor, tasks};
use crate::limits;
use crate::settings;

pub(super) async fn handle(site: &Site, parts: &Parts, body: Body) -> Result<Response<Body>, Refusal> {
    site.summary().await?;
    if parts.method != Method::POST {
        return Err(Refusal::method(&parts.method, "POST"));
    }
    let text = |name| parts.headers.get(name).and_then(|value| value.to_str().ok());
    let codec =
        Codec::of_request(text(header::CONTENT_TYPE)).map_err(|e| Refusal::new(e.status(), e.to_string()))?;
    let accept: Vec<String> = parts
        .headers
        .get_all(header::ACCEPT)
        .iter()
        .map(|value| value.to_str().unwrap_or_default().to_owned())
        .collect();
    let body = whole(parts, body).await?;
    let call: Call = codec.decode(&body).map_err(|e| Refusal::new(400, e.to_string()))?;
    let answers = Codec::of_response(accept.iter().map(String::as_str))
        .map_err(|e| Refusal::new(e.status(), e.to_string()));
    if call.r#type == Some(CallType::SetLoggingLevel as i32) {
        answers?;
        return logs::set(site, call.set_logging_level);
    }
    // Only then the type: calls that are not here ask for others, and are to be told that they are not here.
    let answer = answer(site, call).await?;
    let answers = answers?;
    Ok(reply::body(200, answers.content_type(), answers.encode(&answer)))
}

/// The whole body, unpacked.
pub(super) async fn whole(parts: &Parts, body: Body) -> Result<axum::body::Bytes, Refusal> {
    let limit = model::limits::BODY_BYTES;
    let read = Limited::new(body, limit).collect();
    let body = match tokio::time::timeout(limits::BODY, read).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => {
            return Err(Refusal::new(413, format!("The body must not be longer than {limit} bytes")));
        }
        Ok(Err(error)) => return Err(Refusal::new(400, format!("The body cannot be read: {error}"))),
        Err(_) => return Err(Refusal::new(408, "The body did not arrive in time")),
    };
    let unpacked = packed::unpack(&parts.headers, body, limit).await;
    unpacked.map_err(|fault| Refusal::new(fault.status().as_u16(), fault.to_string()))
}

async fn answer(site: &Site, call: Call) -> Result<Answer, Refusal> {
    let kind = call.r#type.ok_or_else(|| expects("type"))?;
    let Ok(kind) = CallType::try_from(kind) else {
        return Err(Refusal::new(501, "This agent does not know this call"));
    };
    let empty = Answer::default();
    Ok(match kind {
        CallType::GetHealth => Answer {
            r#type: Some(Type::GetHealth as i32),
            get_health: Some(response::GetHealth { healthy: true }),
            ..empty
        },
        CallType::GetVersion => Answer {
            r#type: Some(Type::GetVersion as i32),
            get_version: Some(response::GetVersion { version_info: version() }),
            ..empty
        },
        CallType::GetFlags => {
            let flag = |(name, value): &(&str, String)| v1::Flag {
                name: (*name).into(),
                value: Some(value.clone()),
            };
            let flags = site.flags.iter().map(flag).collect();
            let get_flags = Some(response::GetFlags { flags });
            Answer { r#type: Some(Type::GetFlags as i32), get_flags, ..empty }
        }
        CallType::GetLoggingLevel => Answer {
            r#type: Some(Type::GetLoggingLevel as i32),
            get_logging_level: Some(response::GetLoggingLevel { level: site.logging.level() }),
            ..empty
        },
        CallType::GetMetrics => {
            let all = metrics::all(site).await?;
            let metrics =
                all.into_iter().map(|(name, value)| v1::Metric { name, value: Some(value) }).collect();
            let get_metrics = Some(response::GetMetrics { metrics });
            Answer { r#type: Some(Type::GetMetrics as i32), get_metrics, ..empty }
        }
        CallType::GetState => {
            let view = site.view().await?;
            let get_state = Some(response::GetState {
                get_tasks: Some(get_tasks(&view)),
                get_executors: Some(get_executors(&view)),
                get_frameworks: Some(get_frameworks(&view)),
            });
            Answer { r#type: Some(Type::GetState as i32), get_state, ..empty }
        }
        CallType::GetTasks => {
            let get_tasks = Some(get_tasks(&site.view().await?));
            Answer { r#type: Some(Type::GetTasks as i32), get_tasks, ..empty }
        }
        CallType::GetExecutors => {
            let get_executors = Some(get_executors(&site.view().await?));
            Answer { r#type: Some(Type::GetExecutors as i32), get_executors, ..empty }
        }
        CallType::GetFrameworks => {
            let get_frameworks = Some(get_frameworks(&site.view().await?));
            Answer { r#type: Some(Type::GetFrameworks as i32), get_frameworks, ..empty }
        }
        CallType::GetContainers => {
            let nested = call.get_containers.is_some_and(|asked| asked.show_nested());
            let containers = monitor::wire(site, nested).await?;
            let get_containers = Some(response::GetContainers { containers });
            Answer { r#type: Some(Type::GetContainers as i32), get_containers, ..empty }
        }
        CallType::GetOperations => {
            let get_operations = Some(get_operations(&site.view().await?));
            Answer { r#type: Some(Type::GetOperations as i32), get_operations, ..empty }
        }
        CallType::GetAgent => {
            let view = site.view().await?;
            let id = view.agent.map(|id| v1::AgentId { value: id.to_string() });
            let agent_info = Some(v1::AgentInfo { id, ..(*site.info).clone() });
            let get_agent = Some(response::GetAgent {
                agent_info,
                estimated_drain_start_time: view.drain.as_ref().map(|drain| v1::TimeInfo {
                    // Whole seconds, as masters have it.
                    nanoseconds: drain.since.as_nanos() / 1_000_000_000 * 1_000_000_000,
                }),
                drain_config: view.drain.map(|drain| drain.config),
            });
            Answer { r#type: Some(Type::GetAgent as i32), get_agent, ..empty }
        }
        // There is nothing that would provide any.
        CallType::GetResourceProviders => {
            let get_resource_providers = Some(response::GetResourceProviders::default());
            Answer { r#type: Some(Type::GetResourceProviders as i32), get_resource_providers, ..empty }
        }
        CallType::ListFiles => {
            let path = call.list_files.ok_or_else(|| expects("list_files"))?.path;
            let file_infos = files::list(site, path).await?;
            let list_files = Some(response::ListFiles { file_infos });
            Answer { r#type: Some(Type::ListFiles as i32), list_files, ..empty }
        }
        CallType::ReadFile => {
            let asked = call.read_file.ok_or_else(|| expects("read_file"))?;
            let (data, size) = files::part(site, asked.path, Some(asked.offset), asked.length).await?;
            let read_file = Some(response::ReadFile { size, data });
            Answer { r#type: Some(Type::ReadFile as i32), read_file, ..empty }
        }
        other => {
            let text = format!("This agent does not answer {}", other.as_str_name());
            return Err(Refusal::new(501, text));
        }
    })
}

pub(super) fn expects(field: &str) -> Refusal {
    Refusal::new(400, format!("Failed to validate agent::Call: Expecting '{field}' to be present"))
}

fn version() -> v1::VersionInfo {
    v1::VersionInfo {
        version: settings::API_VERSION.into(),
        build_date: Some(String::new()),
        build_time: Some(0.0),
        build_user: Some("stoa".to_owned()),
        ..Default::default()
    }
}

fn get_tasks(view: &View) -> response::GetTasks {
    let (live, ended): (Vec<&Task>, Vec<&Task>) = view.tasks.iter().partition(|task| tasks::is_live(task));
    let show = |tasks: Vec<&Task>| tasks.into_iter().map(|task| tasks::task(view, task)).collect();
    let (queued, launched) = live.into_iter().partition(|task| task.statuses.is_empty());
    response::GetTasks {
        pending_tasks: Vec::new(),
        queued_tasks: show(queued),
        launched_tasks: show(launched),
        terminated_tasks: show(ended),
        completed_tasks: view.completed.iter().map(|task| tasks::task(view, task)).collect(),
    }
}

/// Those whose end is not acknowledged: the others are done and forgotten.
fn get_operations(view: &View) -> response::GetOperations {
    let show = |operation: &agent_core::Operation| v1::Operation {
        framework_id: operation.framework.as_ref().map(Into::into),
        agent_id: view.agent.as_ref().map(Into::into),
        info: (*operation.asked).clone(),
        latest_status: (*operation.status).clone(),
        statuses: vec![(*operation.status).clone()],
        uuid: v1::Uuid { value: operation.uuid.0.to_vec().into() },
    };
    response::GetOperations { operations: view.operations.iter().map(show).collect() }
}

fn get_executors(view: &View) -> response::GetExecutors {
    use response::get_executors::Executor;
    let show = |task: &Task| Executor { executor_info: tasks::executor(task) };
    // A command task is its own executor, played by the agent.
    let own = |task: &&Task| task.executor.is_none();
    let custom = |info: &v1::ExecutorInfo| Executor { executor_info: info.clone() };
    let running = view.tasks.iter().filter(|task| tasks::is_live(task)).filter(own).map(show);
    let ended = view.completed.iter().map(|task| &**task).filter(own).map(show);
    response::GetExecutors {
        executors: view.executors.iter().map(|executor| custom(&executor.info)).chain(running).collect(),
        completed_executors: view
            .completed_executors
            .iter()
            .map(|executor| custom(&executor.info))
            .chain(ended)
            .collect(),
    }
}

fn get_frameworks(view: &View) -> response::GetFrameworks {
    use response::get_frameworks::Framework;
    let show = |framework: &agent_core::Framework| Framework { framework_info: (*framework.info).clone() };
    response::GetFrameworks {
        frameworks: view.frameworks.iter().map(show).collect(),
        completed_frameworks: view.completed_frameworks.iter().map(show).collect(),
    }
}
