//! `/v2/deployments`.

use http::Method;

use super::{apps, now, unknown_route, wrong_method};
use crate::core::id::DeploymentId;
use crate::http::present;
use crate::http::respond::{Answered, ok};
use crate::http::{Api, Call};
use crate::supervisor::message::Command;

pub(super) async fn route(api: &Api, call: &Call, rest: &[&str]) -> Answered {
    match (call.method(), rest) {
        (&Method::GET, []) => {
            let state = api.view().await?;
            let waits = call.query.all("embed").any(|embed| embed == "waits");
            ok(&present::deployments(&state, waits.then(now)))
        }
        (&Method::DELETE, [id]) => {
            let force = call.query.flag("force", false);
            let command = Command::CancelDeployment { deployment: DeploymentId::from(*id), force };
            Ok(apps::changed(&api.command(call, command).await?))
        }
        (_, [] | [_]) => Err(wrong_method()),
        _ => Err(unknown_route()),
    }
}
