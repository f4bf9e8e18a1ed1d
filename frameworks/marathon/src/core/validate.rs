//! Rules a definition has to keep. All that is broken is told at once.

use std::collections::BTreeSet;

use model::quantity::Quantity;

use super::app::{AppDefinition, HealthCheck, Protocol, Unreachable};
use super::errors::Errors;
use super::id::is_label;
use super::ratio::Ratio;

/// Checks one definition by itself; `role` is the one this supervisor is subscribed with.
pub fn validate(app: &AppDefinition, role: &str) -> Errors {
    let mut errors = Errors::default();
    command(app, &mut errors);
    environment(app, &mut errors);
    if app.cpus < Quantity::from_thousandths(1).unwrap_or(Quantity::ZERO) {
        errors.add("/cpus", "must be at least 0.001");
    }
    ports(app, &mut errors);
    fetch(app, &mut errors);
    health_checks(app, &mut errors);
    if let Unreachable::After { inactive, expunge } = app.unreachable
        && inactive > expunge
    {
        errors
            .add("/unreachableStrategy/inactiveAfterSeconds", "must not be greater than expungeAfterSeconds");
    }
    if app.role != role {
        errors.add("/role", format!("'{}' must be '{role}', the role of this supervisor", app.role));
    }
    if let Some(roles) = &app.accepted_resource_roles {
        if roles.is_empty() {
            errors.add("/acceptedResourceRoles", "must not be empty");
        }
        for other in roles.iter().filter(|other| *other != "*" && *other != role) {
            errors.add("/acceptedResourceRoles", format!("'{other}' must be '*' or '{role}'"));
        }
    }
    single_instance(app, &mut errors);
    if app.dependencies.contains(&app.id) {
        errors.add("/dependencies", "must not name the app itself");
    }
    errors
}

fn command(app: &AppDefinition, errors: &mut Errors) {
    match (&app.cmd, app.args.is_empty()) {
        (Some(_), false) => errors.add("/", "must have either cmd or args, not both"),
        (None, true) => errors.add("/", "must have one of cmd and args"),
        (Some(cmd), true) if cmd.is_empty() => errors.add("/cmd", "must not be empty"),
        _ => {}
    }
    let texts = app
        .cmd
        .iter()
        .map(|cmd| ("/cmd".to_owned(), cmd))
        .chain(app.args.iter().enumerate().map(|(at, arg)| (format!("/args({at})"), arg)));
    for (path, text) in texts {
        if text.contains('\0') {
            errors.add(path, "must not contain a zero byte");
        }
    }
    if app.user.as_ref().is_some_and(String::is_empty) {
        errors.add("/user", "must not be empty");
    }
    if !matches!(app.executor.as_str(), "" | "//cmd") {
        errors.add("/executor", "must be empty or '//cmd': custom executors are not available");
    }
}

fn environment(app: &AppDefinition, errors: &mut Errors) {
    for (name, value) in &app.env {
        if name.is_empty() || name.contains(['=', '\0']) {
            errors.add("/env", format!("name '{}' must not be empty nor contain '='", name.escape_debug()));
        } else if value.contains('\0') {
            errors.add(format!("/env/{name}"), "must not contain a zero byte");
        }
    }
    if app.labels.contains_key("") {
        errors.add("/labels", "name must not be empty");
    }
}

fn ports(app: &AppDefinition, errors: &mut Errors) {
    let (mut numbers, mut names) = (BTreeSet::new(), BTreeSet::new());
    for (at, definition) in app.ports.iter().enumerate() {
        let path = format!("/portDefinitions({at})");
        if definition.port != 0 && !numbers.insert(definition.port) {
            errors.add(format!("{path}/port"), format!("{} must not be given twice", definition.port));
        }
        if app.require_ports && definition.port == 0 {
            errors.add(format!("{path}/port"), "must not be 0 when requirePorts is true");
        }
        if !matches!(definition.protocol.as_str(), "tcp" | "udp" | "udp,tcp") {
            errors.add(format!("{path}/protocol"), "must be 'tcp', 'udp' or 'udp,tcp'");
        }
        if let Some(name) = &definition.name {
            if !is_label(name) {
                errors.add(
                    format!("{path}/name"),
                    "must be lower case letters, digits and hyphens, with a letter or digit at both ends",
                );
            }
            if !names.insert(name) {
                errors.add(format!("{path}/name"), format!("'{name}' must not be given twice"));
            }
        }
    }
}

fn fetch(app: &AppDefinition, errors: &mut Errors) {
    for (at, fetch) in app.fetch.iter().enumerate() {
        let path = format!("/fetch({at})/uri");
        if !(1..=1024).contains(&fetch.uri.len()) {
            errors.add(path, "must have 1 to 1024 characters");
        } else if !fetch.uri.starts_with('/') && url::Url::parse(&fetch.uri).is_err() {
            errors.add(path, "must be an absolute path or a URI with a scheme");
        }
        if fetch
            .dest_path
            .as_ref()
            .is_some_and(|path| path.starts_with('/') || path.split('/').any(|s| s == ".."))
        {
            errors.add(format!("/fetch({at})/destPath"), "must be relative and stay within the sandbox");
        }
    }
}

fn health_checks(app: &AppDefinition, errors: &mut Errors) {
    // An agent probes a task in one way.
    if app.health_checks.len() > 1 {
        errors.add("/healthChecks", "must not have more than one check");
    }
    for (at, check) in app.health_checks.iter().enumerate() {
        health_check(check, app, &format!("/healthChecks({at})"), errors);
    }
}

fn health_check(check: &HealthCheck, app: &AppDefinition, path: &str, errors: &mut Errors) {
    match (check.protocol, check.command.as_deref()) {
        (Protocol::Command, None | Some("")) => {
            errors.add(format!("{path}/command"), "is required by COMMAND")
        }
        (Protocol::Command, Some(_)) | (_, None) => {}
        (other, Some(_)) => {
            errors.add(format!("{path}/command"), format!("must be absent with protocol {}", other.name()));
        }
    }
    if check.path.is_some() && !check.protocol.is_http() {
        errors.add(format!("{path}/path"), format!("must be absent with protocol {}", check.protocol.name()));
    }
    if check.protocol != Protocol::Command {
        match (check.port, check.port_index) {
            (Some(_), _) => {}
            (None, Some(index)) if index < app.ports.len() => {}
            (None, Some(index)) => errors.add(
                format!("{path}/portIndex"),
                format!("{index} must be less than the number of ports, which is {}", app.ports.len()),
            ),
            (None, None) => errors.add(path, "must have a port or a portIndex, as the app has no ports"),
        }
    }
    if check.interval.is_zero() {
        errors.add(format!("{path}/intervalSeconds"), "must be greater than 0");
    }
    if check.timeout.is_zero() {
        errors.add(format!("{path}/timeoutSeconds"), "must be greater than 0");
    }
}

fn single_instance(app: &AppDefinition, errors: &mut Errors) {
    if !app.is_single_instance() {
        return;
    }
    if app.instances > 1 {
        errors.add("/instances", "must be 0 or 1 for an app labelled as single instance");
    }
    if app.upgrade.minimum_health != Ratio::ZERO || app.upgrade.maximum_over != Ratio::ZERO {
        errors.add("/upgradeStrategy", "must be 0 and 0 for an app labelled as single instance");
    }
}
