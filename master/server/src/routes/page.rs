//! `GET /`: a page for people, and the 200 that some clients probe for.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use http::{HeaderName, HeaderValue};

use crate::app::{App, Standing};
use crate::{answer, redirect, who};

pub(super) async fn page(State(app): State<Arc<App>>) -> Response {
    let standing = app.standing.borrow().clone();
    let (role, leader) = match &standing {
        Standing::Leading { .. } => ("This master leads.".to_owned(), Some(app.advertise.clone())),
        Standing::Following { leader } => ("This master follows.".to_owned(), Some(leader.clone())),
        Standing::Electing => ("No leader is known at present.".to_owned(), None),
        Standing::Forming { missing } => (format!("{}.", redirect::forming(missing)), None),
        Standing::Ending => ("This master is ending.".to_owned(), None),
    };
    let leader = leader.map_or_else(
        || "none".to_owned(),
        |leader| format!("<a href=\"http://{0}/\">{0}</a>", escape(&leader)),
    );
    let (term, applied) = app.metrics.raft();
    let members = app.group.get().map_or_else(String::new, |group| {
        let members = group.members.borrow();
        let items = members
            .iter()
            .map(|member| format!("<li>{0} <small>{1}</small></li>", escape(&member.address), member.id));
        items.collect()
    });
    let html = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>Stoa master {name}</title>\
         <style>body{{font:16px/1.5 system-ui,sans-serif;max-width:42rem;margin:3rem auto;padding:0 1rem}}\
         dt{{font-weight:600}}small{{color:#777}}</style></head><body>\
         <h1>Stoa master</h1><p>{role}</p>\
         <dl><dt>Address</dt><dd>{name}</dd><dt>Leader</dt><dd>{leader}</dd>\
         <dt>Version</dt><dd>{version} (API {api})</dd>\
         <dt>Log</dt><dd>term {term}, applied up to {applied}</dd>\
         <dt>Members</dt><dd><ul>{members}</ul></dd></dl>\
         <p><a href=\"/state\">state</a> · <a href=\"/metrics\">metrics</a> · <a href=\"/health\">health</a></p>\
         </body></html>",
        name = escape(&app.advertise),
        version = who::VERSION,
        api = who::API_VERSION,
    );
    let response = answer::typed("text/html; charset=utf-8", html);
    let response = answer::with(
        response,
        HeaderName::from_static("content-security-policy"),
        HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'"),
    );
    answer::with(
        response,
        HeaderName::from_static("x-content-type-options"),
        HeaderValue::from_static("nosniff"),
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
