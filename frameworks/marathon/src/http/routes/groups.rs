//! `/v2/groups`, for reading: groups are the paths of apps.

use http::{Method, StatusCode};

use super::{app_id, now, wrong_method};
use crate::http::present::{self, Embed};
use crate::http::respond::{Answered, Problem, ok};
use crate::http::{Api, Call};

pub(super) async fn route(api: &Api, call: &Call, rest: &[&str]) -> Answered {
    if call.method() != Method::GET {
        return Err(match *call.method() {
            Method::POST | Method::PUT | Method::DELETE | Method::PATCH => {
                Problem::Status(StatusCode::NOT_IMPLEMENTED)
            }
            _ => wrong_method(),
        });
    }
    let state = api.view().await?;
    let embed = Embed::read(&call.query, Embed::default());
    let unknown = |id: &[&str]| Problem::NotFound(format!("Group '/{}' does not exist", id.join("/")));
    let (id, apps_only) = match rest {
        [id @ .., "apps"] => (id, true),
        id => (id, false),
    };
    let group = present::group(&state, &app_id(id)?, embed, now()).ok_or_else(|| unknown(id))?;
    if apps_only { ok(&group.apps) } else { ok(&group) }
}
