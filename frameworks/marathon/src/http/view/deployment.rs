//! Deployments that are under way.

use wire::marathon::{Action, CurrentAction, Deployment as Document, Step};

use crate::core::deployment::Deployment;
use crate::core::plan;

/// The document of one deployment.
pub(in crate::http) fn deployment(deployment: &Deployment) -> Document {
    let current = deployment.current().iter().filter(|action| !deployment.finished.contains(&action.app));
    Document {
        id: deployment.id.to_string(),
        version: deployment.version.to_string(),
        affected_apps: deployment.locks().map(ToString::to_string).collect(),
        affected_pods: Vec::new(),
        steps: deployment.steps.iter().map(|step| Step { actions: step.iter().map(action).collect() }).collect(),
        current_actions: current
            .map(|action| CurrentAction {
                action: action.kind.name().to_owned(),
                app: action.app.to_string(),
                readiness_check_results: Vec::new(),
            })
            .collect(),
        // Clients count from one.
        current_step: (deployment.position + 1).min(deployment.steps.len()),
        total_steps: deployment.steps.len(),
    }
}

fn action(action: &plan::Action) -> Action {
    Action { action: action.kind.name().to_owned(), app: action.app.to_string() }
}
