//! `/v2/groups`, for reading: groups are the paths of apps.

use http::Method;

use super::{app_id, now};
use crate::http::present::{self, Embed};
use crate::http::respond::{Answered, Problem, ok};
use crate::http::{Api, Call};

pub(super) async fn route(api: &Api, call: &Call, rest: &[&str]) -> Answered {
    if call.method() != Method::GET {
        // Not 501: one client library takes any 5xx for a dead host.
        return Err(Problem::NotAllowed("groups can only be read here: change their apps".to_owned()));
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
