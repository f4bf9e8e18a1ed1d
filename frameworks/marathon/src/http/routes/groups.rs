//! `/v2/groups`, read only: the tree that the apps form.

use axum::Json;
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;

use crate::core::id::AppId;
use crate::driver::now;
use crate::http::Api;
use crate::http::query::Query;
use crate::http::reply::{Answer, Failure};
use crate::http::view::app::Embed;
use crate::http::view::group;

pub(super) async fn root(State(api): State<Api>, RawQuery(query): RawQuery) -> Answer {
    read_group(&api, "", query.as_deref()).await
}

pub(super) async fn read(State(api): State<Api>, Path(rest): Path<String>, RawQuery(query): RawQuery) -> Answer {
    read_group(&api, &rest, query.as_deref()).await
}

async fn read_group(api: &Api, text: &str, query: Option<&str>) -> Answer {
    let unknown = || Failure::new(StatusCode::NOT_FOUND, format!("Group '/{text}' does not exist"));
    let id = AppId::parse_group(text, &AppId::root()).map_err(|_| unknown())?;
    let state = api.view().await?;
    let embed = Embed::default().with(&Query::parse(query));
    let group = group::group(&state, &id, embed, now()).ok_or_else(unknown)?;
    Ok(Json(group).into_response())
}
