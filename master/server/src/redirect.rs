//! Where to go instead.

use axum::extract::Request;
use axum::response::Response;
use http::{HeaderValue, StatusCode, header};

use crate::answer;
use crate::app::{App, Standing};
use crate::path::Original;

/// Lets a request pass on the leader; elsewhere gives the answer that leads there.
pub(crate) fn unless_leading(app: &App, request: &Request) -> Result<(), Response> {
    let standing = app.standing.borrow();
    match &*standing {
        Standing::Leading { .. } => Ok(()),
        other => Err(elsewhere(other, request.extensions().get())),
    }
}

/// The answer of a master that turned out not to lead (any more).
pub(crate) fn away(app: &App, original: Option<&Original>) -> Response {
    elsewhere(&app.standing.borrow(), original)
}

/// Scheme-relative, with an explicit port and the target as it was sent: clients take it apart by hand.
fn elsewhere(standing: &Standing, original: Option<&Original>) -> Response {
    match standing {
        Standing::Following { leader } => {
            let target = original.map_or("", |original| original.0.as_str());
            // A target with doubled slashes would be read as another authority.
            let target = format!("/{}", target.trim_start_matches('/'));
            to(&format!("//{leader}{target}"))
        }
        Standing::Leading { .. } | Standing::Electing => {
            answer::unavailable("No leading master is known at present")
        }
        Standing::Forming { missing } => answer::unavailable(forming(missing)),
        Standing::Ending => answer::unavailable("This master is ending"),
    }
}

/// `/redirect`: the leader without a path, also on the leader itself.
pub(crate) fn leader(app: &App) -> Response {
    let standing = app.standing.borrow().clone();
    match standing {
        Standing::Leading { .. } => to(&format!("//{}", app.advertise)),
        Standing::Following { leader } => to(&format!("//{leader}")),
        other => elsewhere(&other, None),
    }
}

/// Where a redirect of ours leads: its `HOST:PORT`.
pub(crate) fn host(location: &HeaderValue) -> Option<&str> {
    location.to_str().ok()?.strip_prefix("//")?.split('/').next().filter(|host| !host.is_empty())
}

pub(crate) fn forming(missing: &[String]) -> String {
    if missing.is_empty() {
        return "The group of masters is being founded".to_owned();
    }
    format!("The group of masters is not founded yet: waiting for {}", missing.join(", "))
}

fn to(location: &str) -> Response {
    let response = answer::empty(StatusCode::TEMPORARY_REDIRECT);
    match HeaderValue::from_str(location) {
        Ok(location) => answer::with(response, header::LOCATION, location),
        // Addresses are checked when they are given; the rest came through a parsed request line.
        Err(_) => answer::unavailable("The leader's address cannot be put into a header"),
    }
}
