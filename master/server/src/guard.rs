//! Who may ask this master for what (spec mesos-v1, sections 1.5 and 1.13): before anything else, also before the question
//! who leads.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use front::guard::{self, Bounds, Guard, Principal, Role};
use http::{Extensions, HeaderValue, Method, StatusCode};
use master_core::authority::{Authority, RoleScope, Scope};
use wire::master::call::Type;

use crate::answer;
use crate::app::App;

/// What the core holds frameworks to, as the list has it.
///
/// # Errors
/// Names the principal and the role of the cluster that is none.
pub(crate) fn authority(guard: Option<&Guard>) -> Result<Authority, String> {
    let scope = |(principal, bounds): (&str, &Bounds)| {
        let read = |role: &String| {
            let read = role.parse::<RoleScope>();
            read.map_err(|fault| format!("--credentials: in={role} of '{principal}': {fault}"))
        };
        let roles = bounds.roles.as_ref().map(|roles| roles.iter().map(read).collect()).transpose()?;
        let users = bounds.users.as_ref().map(|users| users.iter().cloned().collect());
        Ok((principal.to_owned(), Scope { roles, users }))
    };
    guard.into_iter().flat_map(Guard::bounds).map(scope).collect()
}

/// What a route asks of who comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Need {
    Nothing,
    /// To be somebody.
    Name,
    Role(Role),
}

fn need(method: &Method, path: &str) -> Need {
    let reads = matches!(*method, Method::GET | Method::HEAD);
    match path {
        "/health" | "/version" | "/redirect" => Need::Nothing,
        "/api/v1/scheduler" => Need::Role(Role::Framework),
        "/internal/link" => Need::Role(Role::Agent),
        path if path.starts_with("/internal/") => Need::Role(Role::Master),
        "/members" if *method == Method::POST => Need::Role(Role::Master),
        // The log of the process, whose lines name what others do.
        path if path.starts_with("/files/") => Need::Role(Role::Operator),
        "/logging/toggle" | "/teardown" => Need::Role(Role::Operator),
        // Calls say themselves what they are, records whose they are.
        "/api/v1" | "/api/v1/state" => Need::Name,
        _ if reads => Need::Name,
        _ => Need::Role(Role::Operator),
    }
}

/// As the reference names them.
fn realm(path: &str) -> &'static str {
    match path {
        "/api/v1/scheduler" => "mesos-master-scheduler",
        "/api/v1" | "/api/v1/state" | "/internal/link" => "mesos-master-readwrite",
        _ => "mesos-master-readonly",
    }
}

/// Lets nobody pass who is not on the list, if there is one, and notes who it is.
pub(crate) async fn admit(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    let Some(guard) = &app.guard else { return next.run(request).await };
    let path = request.uri().path();
    let need = need(request.method(), path);
    if need == Need::Nothing {
        return next.run(request).await;
    }
    let Some(principal) = guard.authenticate(request.headers()) else {
        return guard::unauthorized(realm(path), "text/plain; charset=utf-8", "401 Unauthorized.");
    };
    if let Need::Role(role) = need
        && !principal.is(role)
    {
        return forbidden(&principal, role);
    }
    request.extensions_mut().insert(principal);
    next.run(request).await
}

/// Whom a request comes from; `None` without a list.
pub(crate) fn principal(extensions: &Extensions) -> Option<&Principal> {
    extensions.get()
}

/// The name by which the core knows them.
pub(crate) fn name(extensions: &Extensions) -> Option<Arc<str>> {
    principal(extensions).map(|principal| Arc::clone(&principal.name))
}

/// Whether an operator's call may be made: to read, everybody on the list may.
///
/// # Errors
/// 403.
pub(crate) fn may_call(extensions: &Extensions, kind: Type) -> Result<(), Response> {
    let reads = kind == Type::Subscribe || kind == Type::Unknown || kind.as_str_name().starts_with("GET_");
    match principal(extensions) {
        Some(principal) if !reads && !principal.is(Role::Operator) => {
            Err(forbidden(principal, Role::Operator))
        }
        _ => Ok(()),
    }
}

fn forbidden(principal: &Principal, role: Role) -> Response {
    let text = format!("Principal '{}' needs the role '{role}' for this", principal.name);
    answer::text(StatusCode::FORBIDDEN, text)
}

/// What this master says of itself to the others.
pub(crate) fn own(guard: Option<&Guard>) -> Option<HeaderValue> {
    guard.and_then(|guard| guard.first(Role::Master)).map(guard::authorization)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_asks_for_what_it_does() {
        let operator = Need::Role(Role::Operator);
        for (method, path, needed) in [
            (Method::GET, "/health", Need::Nothing),
            (Method::GET, "/state", Need::Name),
            (Method::GET, "/", Need::Name),
            (Method::GET, "/quota", Need::Name),
            (Method::POST, "/quota", operator),
            (Method::DELETE, "/quota", operator),
            (Method::PUT, "/weights", operator),
            (Method::POST, "/teardown", operator),
            (Method::GET, "/logging/toggle", operator),
            (Method::GET, "/files/read", operator),
            (Method::POST, "/machine/down", operator),
            (Method::DELETE, "/members/7", operator),
            (Method::POST, "/members", Need::Role(Role::Master)),
            (Method::GET, "/members", Need::Name),
            (Method::GET, "/internal/link", Need::Role(Role::Agent)),
            (Method::GET, "/internal/raft", Need::Role(Role::Master)),
            (Method::POST, "/internal/raft/hello", Need::Role(Role::Master)),
            (Method::POST, "/api/v1/scheduler", Need::Role(Role::Framework)),
            (Method::POST, "/api/v1", Need::Name),
            (Method::POST, "/nosuch", operator),
        ] {
            assert_eq!(need(&method, path), needed, "{method} {path}");
        }
    }
}
