//! `GET /allocation`: what each framework was offered, what it declined, and why it is not offered more.
//!
//! Without a query all frameworks are told of, with what was counted. With `framework_id` that one is looked at in
//! every role (or in `role`), and with `agent_id` the answer says how that agent looks to it.

use std::sync::Arc;

use axum::extract::{Query, Request, State};
use axum::response::Response;
use http::{Method, StatusCode};
use master_core::alloc::{Account, Refused, Standing, Tally, View, Why, WhyAgent};
use master_core::call::{Explain, OperatorCall};
use master_core::effect::{Explanation, FrameworkAccount, Reply};
use master_core::input::Input;
use master_core::refusal::Refusal;
use model::resources::Quantities;
use model::role::Role;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::snapshot_json::amounts;
use super::{ask, refused};
use crate::app::App;
use crate::path::Original;
use crate::{answer, redirect};

#[derive(Deserialize)]
pub(super) struct Wanted {
    framework_id: Option<String>,
    role: Option<String>,
    agent_id: Option<String>,
}

pub(super) async fn allocation(
    State(app): State<Arc<App>>,
    Query(wanted): Query<Wanted>,
    request: Request,
) -> Response {
    // The request itself is not kept: its body is of no interest, and cannot be shared between threads.
    let allowed = redirect::unless_leading(&app, &request).and_then(|()| match *request.method() {
        Method::GET | Method::HEAD => Ok(()),
        _ => Err(answer::method_not_allowed("GET, HEAD", request.method())),
    });
    let original = request.extensions().get::<Original>().cloned();
    drop(request);
    match allowed {
        Ok(()) => respond(&app, wanted, original.as_ref()).await.unwrap_or_else(|refusal| refusal),
        Err(refusal) => refusal,
    }
}

async fn respond(app: &App, wanted: Wanted, original: Option<&Original>) -> Result<Response, Response> {
    let explain = read(wanted).map_err(answer::bad)?;
    let role = explain.role.clone();
    let call = OperatorCall::Explain(explain);
    let asked = ask(app, |request| Input::Operator { request, call }).await;
    match asked.answer().await {
        Ok(Reply::Explanation(explanation)) => match (&explanation.one, role) {
            (Some(one), Some(role)) if one.accounts.is_empty() => {
                let fault = format!("Framework '{}' is not in role '{role}'", one.id);
                Err(answer::text(StatusCode::NOT_FOUND, fault))
            }
            _ => Ok(answer::json(shape(&explanation).to_string())),
        },
        Ok(_) => Err(answer::text(StatusCode::INTERNAL_SERVER_ERROR, "The master answered something else")),
        Err(refusal @ Refusal::FrameworkUnknown) => {
            Err(answer::text(StatusCode::NOT_FOUND, refusal.to_string()))
        }
        Err(refusal) => Err(refused(app, &refusal, original)),
    }
}

fn read(wanted: Wanted) -> Result<Explain, String> {
    if wanted.framework_id.is_none() && (wanted.role.is_some() || wanted.agent_id.is_some()) {
        return Err("'role' and 'agent_id' need a 'framework_id'".to_owned());
    }
    let role = wanted.role.map(|role| role.parse::<Role>()).transpose();
    Ok(Explain {
        framework: wanted.framework_id.map(Into::into),
        role: role.map_err(|error| format!("'role' is invalid: {error}"))?,
        agent: wanted.agent_id.map(Into::into),
    })
}

fn shape(explanation: &Explanation) -> Value {
    let frameworks: Vec<Value> = match &explanation.one {
        Some(one) => vec![in_full(one)],
        None => summary(explanation),
    };
    json!({
        "time": explanation.at.as_secs_f64(),
        "agents": explanation.agents,
        "frameworks": frameworks,
    })
}

/// The counts of all frameworks: the list is sorted by framework.
fn summary(explanation: &Explanation) -> Vec<Value> {
    let of_one = explanation.all.chunk_by(|a, b| a.0 == b.0);
    of_one
        .map(|roles| {
            let each = |(_, role, counted): &(_, Role, Tally)| json!({"role": role.as_str(), "offers": tally(counted)});
            json!({
                "framework_id": roles[0].0.as_str(),
                "roles": roles.iter().map(each).collect::<Vec<_>>(),
            })
        })
        .collect()
}

fn in_full(one: &FrameworkAccount) -> Value {
    json!({
        "framework_id": one.id.as_str(),
        "name": one.name,
        "connected": one.connected,
        "roles": one.accounts.iter().map(account).collect::<Vec<_>>(),
    })
}

fn account(account: &Account) -> Value {
    let mut out = json!({
        "role": account.role.as_str(),
        "weight": account.weight as f64 / 1000.0,
        "share": account.share as f64 / 1_000_000.0,
        "offers": tally(&account.tally),
        "standing": account.standing.word(),
    });
    if let Standing::Behind { until } = account.standing {
        out["behind_until"] = json!(until.as_secs_f64());
    }
    if let Some(kind) = &account.dominant {
        out["dominant_resource"] = json!(kind.as_str());
    }
    if let Some(ahead) = account.ahead {
        out["ahead"] = json!(ahead);
    }
    if let Some(quota) = &account.quota {
        out["quota"] = json!({
            "role": account.role.top().as_str(),
            "guarantee": named(&quota.guarantees),
            "limit": named(&quota.limits),
        });
    }
    match &account.view {
        Some(view) => put_view(&mut out, view),
        None => {
            out["why"] =
                json!("not looked at: there are too many agents and roles for one answer, name this role");
        }
    }
    if let Some(agent) = account.agent {
        out["agent"] = one_agent(agent);
    }
    out
}

fn put_view(out: &mut Value, view: &View) {
    let Why { subscribed, suppressed, .. } = view.why;
    out["subscribed"] = json!(subscribed);
    out["suppressed"] = json!(suppressed);
    out["used"] = amounts(&view.used);
    out["offered"] = amounts(&view.offered);
    out["why"] = json!(view.why.sentence());
    out["agents"] = agents(&view.why);
    if let Some(until) = view.why.refused_until {
        out["refused_until"] = json!(until.as_secs_f64());
    }
}

fn agents(why: &Why) -> Value {
    json!({
        "free": why.free,
        "offered": why.offered,
        "refused": why.refused,
        "too_little": why.too_little,
        "quota_limit": why.quota_limit,
        "kept_for_guarantees": why.kept_for_guarantees,
        "incapable": why.incapable,
        "constrained": why.constrained,
        "inactive": why.inactive,
    })
}

fn one_agent(why: WhyAgent) -> Value {
    let mut out = json!({"why": why.word()});
    if let WhyAgent::Refused { until } = why {
        out["refused_until"] = json!(until.as_secs_f64());
    }
    out
}

fn tally(tally: &Tally) -> Value {
    let mut out = json!({
        "made": tally.offered,
        "used": tally.used,
        "refused": tally.refused,
        "lapsed": tally.lapsed,
        "withdrawn": tally.withdrawn,
    });
    if let Some(at) = tally.last_offered {
        out["last_made"] = json!(at.as_secs_f64());
    }
    if let Some(Refused { agent, resources, until }) = &tally.last_refusal {
        out["last_refusal"] = json!({
            "agent_id": agent.as_str(),
            "resources": resources.to_string(),
            "until": until.as_secs_f64(),
        });
    }
    out
}

fn named(amounts: &Quantities) -> Value {
    let all = amounts.iter().map(|(name, amount)| (name.to_string(), json!(amount.as_f64())));
    Value::Object(all.collect::<Map<_, _>>())
}
