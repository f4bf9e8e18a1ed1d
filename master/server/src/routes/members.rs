//! `/members`: who belongs to the group of masters, and how that changes.
//!
//! | request | what it does |
//! |---|---|
//! | `GET /members` | what this master knows, whether it leads or not, and the fingerprint of its registry |
//! | `POST /members` | on the leader: admits a master, first without a vote; it gets its vote once it has caught up |
//! | `DELETE /members/{id}` | on the leader: removes a member for ever |

use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::response::Response;
use http::{Method, StatusCode};
use replica::{Change, Fingerprint, NodeId, NotNow, Standing as MemberStanding};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::app::{App, Group, Standing};
use crate::membership::NotMade;
use crate::{answer, body, config, redirect, who};

/// `/members`
pub(super) async fn group(State(app): State<Arc<App>>, request: Request) -> Response {
    match *request.method() {
        Method::GET | Method::HEAD => answer::json(show(&app).to_string()),
        Method::POST => admit(&app, request).await.unwrap_or_else(|refusal| refusal),
        _ => answer::method_not_allowed("GET, HEAD, POST", request.method()),
    }
}

/// `/members/{id}`
pub(super) async fn member(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    request: Request,
) -> Response {
    if *request.method() != Method::DELETE {
        return answer::method_not_allowed("DELETE", request.method());
    }
    if let Err(elsewhere) = redirect::unless_leading(&app, &request) {
        return elsewhere;
    }
    remove(&app, &id).await.unwrap_or_else(|refusal| refusal)
}

fn show(app: &App) -> Value {
    let (newest, applied) = app.metrics.raft();
    let newest = u64::try_from(newest).unwrap_or_default();
    let (leader, term) = leader_and_term(&app.standing.borrow(), &app.advertise, newest);
    let group = app.group.get();
    let newest_fingerprint = group.and_then(|group| group.status.borrow().as_ref()?.fingerprint);
    json!({
        "address": *app.advertise,
        "version": who::VERSION,
        "group": app.with_forming(|forming| forming.founding().map(|founding| founding.cluster.to_string())),
        "leading": leader.as_deref() == Some(&*app.advertise),
        "leader": leader,
        "term": term,
        "applied": applied,
        "fingerprint": newest_fingerprint.map(fingerprint),
        "members": group.map(members).unwrap_or_default(),
    })
}

/// Who leads as far as a master at `own` knows, and in which term; `newest` is the newest term it has heard of. One that
/// leads says so of the term it leads in: in a newer one it may have lost to another already.
fn leader_and_term(standing: &Standing, own: &str, newest: u64) -> (Option<String>, u64) {
    match standing {
        Standing::Leading { term } => (Some(own.to_owned()), *term),
        Standing::Following { leader } => (Some(leader.to_string()), newest),
        _ => (None, newest),
    }
}

/// What members are compared by: equal at an equal index, or one of them has gone wrong. The digest as text, since a
/// number of 64 bits does not survive every reader of JSON.
fn fingerprint(fingerprint: Fingerprint) -> Value {
    json!({ "index": fingerprint.index, "digest": format!("{:016x}", fingerprint.digest) })
}

fn members(group: &Group) -> Vec<Value> {
    let status = group.status.borrow();
    // Only the leader knows how far the others are.
    let held = |id: NodeId| status.as_ref().and_then(|status| status.matched.get(&id).copied());
    let standing = |standing| match standing {
        MemberStanding::Voter => "VOTER",
        MemberStanding::Learner => "LEARNER",
    };
    let show = |member: replica::Member| {
        json!({
            "id": member.id.to_string(),
            "address": member.address,
            "standing": standing(member.standing),
            "held": held(member.id),
        })
    };
    group.members.borrow().iter().map(show).collect()
}

/// Who wants to join.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Newcomer {
    /// Sixteen hexadecimal digits, as its data directory says.
    id: String,
    /// `HOST:PORT` at which members and clients reach it.
    address: String,
}

async fn admit(app: &App, request: Request) -> Result<Response, Response> {
    redirect::unless_leading(app, &request)?;
    let (parts, content) = request.into_parts();
    let bytes = body::read(app, &parts.headers, content).await?;
    let newcomer: Newcomer = serde_json::from_slice(&bytes)
        .map_err(|error| answer::bad(format!("Expecting {{\"id\", \"address\"}}: {error}")))?;
    let node = node(&newcomer.id)?;
    config::check_address(&newcomer.address)
        .map_err(|error| answer::bad(format!("The member's address: {error}")))?;
    let group = running(app)?;
    let known = group.members.borrow().address(node).map(str::to_owned);
    match known {
        // Asked again after an answer that got lost.
        Some(address) if address == newcomer.address => {}
        Some(address) => {
            let text = format!("Member {node} is known as {address}, not as {}", newcomer.address);
            return Err(answer::text(StatusCode::CONFLICT, text));
        }
        None => {
            let change = Change::Join { node, address: newcomer.address.clone() };
            group.changes.make(change).await.map_err(|error| not_made(&error))?;
            tracing::info!(%node, address = newcomer.address, "a new member was admitted");
        }
    }
    let founding = app.with_forming(|forming| forming.founding().cloned());
    let Some(founding) = founding else { return Err(answer::unavailable("The group is not founded yet")) };
    let first: Vec<Value> = founding
        .members
        .iter()
        .map(|(id, address)| json!({ "id": id.to_string(), "address": address }))
        .collect();
    let body = json!({ "group": founding.cluster.to_string(), "founders": first, "members": members(group) });
    Ok(answer::json(body.to_string()))
}

async fn remove(app: &App, id: &str) -> Result<Response, Response> {
    let node = node(id)?;
    let group = running(app)?;
    if !group.members.borrow().contains(node) {
        return Err(answer::text(StatusCode::NOT_FOUND, format!("There is no member {node}")));
    }
    if node == group.node {
        if !has_another_voter(group) {
            let text = "This is the last member with a vote: without it there is no group";
            return Err(answer::text(StatusCode::CONFLICT, text));
        }
        // It would have to go on leading until the others hold its own removal.
        group.changes.hand_over();
        return Err(answer::unavailable(
            "This member leads and passes leadership on first: ask again in a moment",
        ));
    }
    group.changes.make(Change::Remove { node }).await.map_err(|error| not_made(&error))?;
    tracing::info!(%node, "a member was removed");
    Ok(answer::empty(StatusCode::OK))
}

/// Whether leadership can be passed on at all.
fn has_another_voter(group: &Group) -> bool {
    let members = group.members.borrow();
    members.iter().any(|member| member.id != group.node && member.standing == MemberStanding::Voter)
}

fn node(text: &str) -> Result<NodeId, Response> {
    text.parse().map_err(|error| answer::bad(format!("The member's id: {error}")))
}

fn running(app: &App) -> Result<&Group, Response> {
    app.group.get().ok_or_else(|| answer::unavailable("The replica does not run yet"))
}

fn not_made(error: &NotMade) -> Response {
    match error {
        NotMade::Refused(NotNow::Membership(_)) => answer::text(StatusCode::CONFLICT, error.to_string()),
        _ => answer::unavailable(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leader_that_has_heard_of_a_newer_term_does_not_claim_to_lead_in_it() {
        let shown = |standing| leader_and_term(&standing, "m1:5050", 3);
        assert_eq!(shown(Standing::Leading { term: 2 }), (Some("m1:5050".to_owned()), 2));
        assert_eq!(shown(Standing::Following { leader: "m2:5050".into() }), (Some("m2:5050".to_owned()), 3));
        assert_eq!(shown(Standing::Electing), (None, 3));
    }
}
