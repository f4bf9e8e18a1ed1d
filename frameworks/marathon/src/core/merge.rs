//! From the wire's optional-everything document to a definition: the one place where the two meet on the way in.

use model::quantity::Quantity;
use model::time::Span;
use wire::marathon as wire;

use super::app::{AppDefinition, Fetch, HealthCheck, KillSelection, PortDefinition, Protocol, Unreachable};
use super::constraint::Constraint;
use super::errors::Errors;
use super::id::AppId;
use super::ratio::Ratio;
use crate::limits;

/// Lays the fields that `document` gives over `base`: each given one replaces the whole value, maps and lists too;
/// absent and `null` ones leave it. The id is that of `base`.
///
/// # Errors
/// Everything that cannot be a value of its field, by path. Rules between fields are those of `validate`.
pub fn merge(base: &AppDefinition, document: &wire::App) -> Result<AppDefinition, Errors> {
    let mut errors = Errors::default();
    let mut app = base.clone();
    command(&mut app, document, &mut errors);
    resources(&mut app, document, &mut errors);
    fetch(&mut app, document, &mut errors);
    ports(&mut app, document, &mut errors);
    launching(&mut app, document, &mut errors);
    killing(&mut app, document, &mut errors);
    placement(&mut app, document, &mut errors);
    if let Some(checks) = &document.health_checks {
        app.health_checks = checks
            .iter()
            .enumerate()
            .map(|(at, check)| health_check(check, &app, &format!("/healthChecks({at})"), &mut errors))
            .collect();
    }
    if let Some(labels) = &document.labels {
        app.labels.clone_from(labels);
    }
    not_available(document, &mut errors);
    errors.or(app)
}

fn command(app: &mut AppDefinition, document: &wire::App, errors: &mut Errors) {
    if let Some(cmd) = &document.cmd {
        app.cmd = Some(cmd.clone());
    }
    if let Some(args) = &document.args {
        app.args.clone_from(args);
    }
    if let Some(user) = &document.user {
        app.user = Some(user.clone());
    }
    if let Some(executor) = &document.executor {
        app.executor.clone_from(executor);
    }
    if let Some(env) = &document.env {
        app.env.clear();
        for (name, value) in env {
            match value {
                wire::EnvValue::Text(text) => {
                    app.env.insert(name.clone(), text.clone());
                }
                wire::EnvValue::Secret { .. } => {
                    errors.add(
                        format!("/env/{name}"),
                        "must be a string: the secrets feature is not available",
                    );
                }
            }
        }
    }
}

fn resources(app: &mut AppDefinition, document: &wire::App, errors: &mut Errors) {
    if let Some(instances) = document.instances {
        match u32::try_from(instances) {
            Ok(count) if count <= limits::INSTANCES_PER_APP => app.instances = count,
            _ => errors.add("/instances", format!("must be between 0 and {}", limits::INSTANCES_PER_APP)),
        }
    }
    let mut amount = |path: &str, given: Option<wire::Number>, field: &mut Quantity| {
        if let Some(number) = given {
            match Quantity::from_f64(number.0) {
                Ok(quantity) => *field = quantity,
                Err(error) => errors.add(path, error.to_string()),
            }
        }
    };
    amount("/cpus", document.cpus, &mut app.cpus);
    amount("/mem", document.mem, &mut app.mem);
    amount("/disk", document.disk, &mut app.disk);
}

/// Endings of files that `uris`, which cannot say so, had unpacked.
const ARCHIVES: [&str; 9] =
    [".tar", ".tar.gz", ".tar.bz2", ".tar.xz", ".gz", ".tgz", ".tbz2", ".txz", ".zip"];

fn fetch(app: &mut AppDefinition, document: &wire::App, errors: &mut Errors) {
    let given = document.fetch.as_ref().map(|list| {
        list.iter()
            .enumerate()
            .map(|(at, fetch)| Fetch {
                uri: fetch.uri.clone().unwrap_or_else(|| {
                    errors.add(format!("/fetch({at})/uri"), "is required");
                    String::new()
                }),
                extract: fetch.extract.unwrap_or(true),
                executable: fetch.executable.unwrap_or(false),
                cache: fetch.cache.unwrap_or(false),
                dest_path: fetch.dest_path.clone(),
            })
            .collect::<Vec<_>>()
    });
    let legacy = document.uris.as_ref().filter(|uris| !uris.is_empty());
    match (given, legacy) {
        (Some(fetch), Some(uris)) if !fetch.is_empty() => {
            // Clients that read, change and write whole documents send both, saying the same.
            if !fetch.iter().map(|fetch| &fetch.uri).eq(uris) {
                errors.add("/uris", "must not be combined with fetch unless both name the same");
            }
            app.fetch = fetch;
        }
        (_, Some(uris)) => app.fetch = uris.iter().map(|uri| from_uri(uri)).collect(),
        (Some(fetch), None) => app.fetch = fetch,
        (None, None) => {
            if document.uris.is_some() {
                app.fetch.clear();
            }
        }
    }
}

fn from_uri(uri: &str) -> Fetch {
    let path = uri.split(['?', '#']).next().unwrap_or(uri);
    Fetch {
        uri: uri.to_owned(),
        extract: ARCHIVES.iter().any(|ending| path.ends_with(ending)),
        executable: false,
        cache: false,
        dest_path: None,
    }
}

fn ports(app: &mut AppDefinition, document: &wire::App, errors: &mut Errors) {
    if let Some(require) = document.require_ports {
        app.require_ports = require;
    }
    let mut number = |path: String, port: Option<i64>| {
        u16::try_from(port.unwrap_or(0)).unwrap_or_else(|_| {
            errors.add(path, "must be between 0 and 65535");
            0
        })
    };
    let given = document.port_definitions.as_ref().map(|definitions| {
        definitions
            .iter()
            .enumerate()
            .map(|(at, definition)| PortDefinition {
                port: number(format!("/portDefinitions({at})/port"), definition.port),
                protocol: definition.protocol.clone().unwrap_or_else(|| "tcp".to_owned()),
                name: definition.name.clone(),
                labels: definition.labels.clone().unwrap_or_default(),
            })
            .collect::<Vec<_>>()
    });
    let legacy = document.ports.as_ref().map(|ports| {
        let port = |(at, port): (usize, &i64)| number(format!("/ports({at})"), Some(*port));
        ports.iter().enumerate().map(port).collect::<Vec<_>>()
    });
    match (given, legacy) {
        (Some(definitions), legacy) => {
            if legacy.is_some_and(|ports| !ports.iter().copied().eq(definitions.iter().map(|d| d.port))) {
                errors.add(
                    "/ports",
                    "must not be combined with portDefinitions unless the numbers are the same",
                );
            }
            app.ports = definitions;
        }
        // The numbers it has already: nothing new is said, and names and labels stay.
        (None, Some(ports))
            if ports.iter().copied().eq(app.ports.iter().map(|d| d.port)) && !ports.contains(&0) => {}
        (None, Some(ports)) => {
            app.ports = ports
                .into_iter()
                .map(|port| PortDefinition {
                    port,
                    protocol: "tcp".to_owned(),
                    name: None,
                    labels: Default::default(),
                })
                .collect();
        }
        (None, None) => {}
    }
}

/// Seconds as a span, or an error at `path`.
fn seconds(given: Option<wire::Number>, field: &mut Span, path: &str, errors: &mut Errors) {
    if let Some(number) = given {
        match Span::from_secs_f64(number.0) {
            Ok(span) => *field = span,
            Err(error) => errors.add(path, error.to_string()),
        }
    }
}

fn launching(app: &mut AppDefinition, document: &wire::App, errors: &mut Errors) {
    seconds(document.backoff_seconds, &mut app.backoff.initial, "/backoffSeconds", errors);
    seconds(document.max_launch_delay_seconds, &mut app.backoff.maximum, "/maxLaunchDelaySeconds", errors);
    if let Some(number) = document.backoff_factor {
        match Ratio::from_f64(number.0) {
            Some(factor) if factor >= Ratio::ONE => app.backoff.factor = factor,
            _ => errors.add("/backoffFactor", "must be between 1 and 4294"),
        }
    }
    if let Some(strategy) = &document.upgrade_strategy {
        let mut share =
            |given: Option<wire::Number>, name: &str| match given.map(|number| Ratio::from_f64(number.0)) {
                None => Ratio::ONE,
                Some(Some(ratio)) if ratio <= Ratio::ONE => ratio,
                Some(_) => {
                    errors.add(format!("/upgradeStrategy/{name}"), "must be between 0 and 1");
                    Ratio::ONE
                }
            };
        app.upgrade.minimum_health = share(strategy.minimum_health_capacity, "minimumHealthCapacity");
        app.upgrade.maximum_over = share(strategy.maximum_over_capacity, "maximumOverCapacity");
    }
}

fn killing(app: &mut AppDefinition, document: &wire::App, errors: &mut Errors) {
    if document.task_kill_grace_period_seconds.is_some() {
        let mut grace = Span::ZERO;
        let path = "/taskKillGracePeriodSeconds";
        seconds(document.task_kill_grace_period_seconds, &mut grace, path, errors);
        app.kill_grace = Some(grace);
    }
    match document.kill_selection.as_deref() {
        None => {}
        Some("YOUNGEST_FIRST") => app.kill_selection = KillSelection::YoungestFirst,
        Some("OLDEST_FIRST") => app.kill_selection = KillSelection::OldestFirst,
        Some(other) => {
            errors.add("/killSelection", format!("'{other}' must be YOUNGEST_FIRST or OLDEST_FIRST"));
        }
    }
    match &document.unreachable_strategy {
        None => {}
        Some(wire::UnreachableStrategy::Disabled) => app.unreachable = Unreachable::Disabled,
        Some(wire::UnreachableStrategy::Enabled { inactive_after_seconds, expunge_after_seconds }) => {
            let mut span = |given: Option<i64>, name: &str| {
                u64::try_from(given.unwrap_or(0)).map_or_else(
                    |_| {
                        errors.add(format!("/unreachableStrategy/{name}"), "must not be negative");
                        Span::ZERO
                    },
                    Span::from_secs,
                )
            };
            let inactive = span(*inactive_after_seconds, "inactiveAfterSeconds");
            let expunge = span(*expunge_after_seconds, "expungeAfterSeconds");
            app.unreachable = Unreachable::After { inactive, expunge };
        }
    }
}

fn placement(app: &mut AppDefinition, document: &wire::App, errors: &mut Errors) {
    if let Some(constraints) = &document.constraints {
        app.constraints.clear();
        for (at, constraint) in constraints.iter().enumerate() {
            match Constraint::parse(&constraint.0) {
                Ok(constraint) => app.constraints.push(constraint),
                Err(error) => errors.add(format!("/constraints({at})"), error),
            }
        }
    }
    if let Some(dependencies) = &document.dependencies {
        let group = app.id.parent();
        app.dependencies.clear();
        for (at, dependency) in dependencies.iter().enumerate() {
            match AppId::parse_group(dependency, &group) {
                Ok(id) => app.dependencies.push(id),
                Err(error) => errors.add(format!("/dependencies({at})"), error.to_string()),
            }
        }
    }
    if let Some(role) = &document.role {
        app.role.clone_from(role);
    }
    if let Some(roles) = &document.accepted_resource_roles {
        app.accepted_resource_roles = Some(roles.clone());
    }
}

fn health_check(
    check: &wire::HealthCheck,
    app: &AppDefinition,
    path: &str,
    errors: &mut Errors,
) -> HealthCheck {
    let name = check.protocol.as_deref().unwrap_or("HTTP");
    let protocol = Protocol::parse(name).unwrap_or_else(|| {
        let names = Protocol::NAMES.map(|(name, _)| name).join(", ");
        errors.add(format!("{path}/protocol"), format!("'{name}' must be one of {names}"));
        Protocol::Http
    });
    let mut span = |given: Option<wire::Number>, default: u64, name: &str| {
        let mut span = Span::from_secs(default);
        seconds(given, &mut span, &format!("{path}/{name}"), errors);
        span
    };
    let grace = span(check.grace_period_seconds, 300, "gracePeriodSeconds");
    let interval = span(check.interval_seconds, 60, "intervalSeconds");
    let timeout = span(check.timeout_seconds, 20, "timeoutSeconds");
    let delay = span(check.delay_seconds, 15, "delaySeconds");
    let port = check.port.and_then(|port| {
        let number = u16::try_from(port).ok().filter(|port| *port > 0);
        if number.is_none() {
            errors.add(format!("{path}/port"), "must be between 1 and 65535");
        }
        number
    });
    let port_index = match check.port_index {
        Some(index) => usize::try_from(index).ok().or_else(|| {
            errors.add(format!("{path}/portIndex"), "must not be negative");
            None
        }),
        None => (check.port.is_none() && protocol != Protocol::Command && !app.ports.is_empty()).then_some(0),
    };
    let max_failures = u32::try_from(check.max_consecutive_failures.unwrap_or(3)).unwrap_or_else(|_| {
        errors.add(format!("{path}/maxConsecutiveFailures"), "must not be negative");
        0
    });
    HealthCheck {
        protocol,
        path: check
            .path
            .as_ref()
            .filter(|path| !path.is_empty())
            .map(|path| if path.starts_with('/') { path.clone() } else { format!("/{path}") }),
        port,
        port_index,
        command: check.command.as_ref().map(|command| command.value.clone()),
        grace,
        interval,
        timeout,
        max_failures,
        delay,
        ignore_1xx: check.ignore_http_1xx.unwrap_or(false),
    }
}

/// Parts of the API that this version does not serve are refused by name: an app that is accepted does all it says.
fn not_available(document: &wire::App, errors: &mut Errors) {
    if document.container.is_some() {
        errors.add("/container", "must be absent: containers are not available, only commands");
    }
    if document.ip_address.is_some() {
        errors.add("/ipAddress", "must be absent: tasks have the address of their agent");
    }
    for (at, network) in document.networks.iter().flatten().enumerate() {
        if network.mode.as_deref() != Some("host") {
            errors
                .add(format!("/networks({at})/mode"), "must be 'host': container networks are not available");
        } else if network.name.is_some() || network.labels.as_ref().is_some_and(|labels| !labels.is_empty()) {
            errors.add(format!("/networks({at})"), "must have neither name nor labels in host mode");
        }
    }
    if document.networks.as_ref().is_some_and(|networks| networks.len() > 1) {
        errors.add("/networks", "must not name the host network more than once");
    }
    if document.gpus.is_some_and(|gpus| gpus != 0) {
        errors.add("/gpus", "must be 0: the gpu_resources feature is not available");
    }
    if document.secrets.as_ref().is_some_and(|secrets| !secrets.is_empty()) {
        errors.add("/secrets", "must be empty: the secrets feature is not available");
    }
    if document.readiness_checks.as_ref().is_some_and(|checks| !checks.is_empty()) {
        errors
            .add("/readinessChecks", "must be empty: readiness checks are not available, use health checks");
    }
    if document.tty == Some(true) {
        errors.add("/tty", "must be false: terminals are not available");
    }
    for (path, given) in [
        ("/check", &document.check),
        ("/executorResources", &document.executor_resources),
        ("/resourceLimits", &document.resource_limits),
    ] {
        if given.is_some() {
            errors.add(path, "must be absent: not available");
        }
    }
    for (at, check) in document.health_checks.iter().flatten().enumerate() {
        if check.ip_protocol.as_deref().is_some_and(|protocol| protocol != "IPv4") {
            errors.add(format!("/healthChecks({at})/ipProtocol"), "must be 'IPv4'");
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::render::render;
    use super::*;

    fn base() -> AppDefinition {
        let mut app = AppDefinition::with_defaults(AppId::parse("/g/a", &AppId::root()).unwrap(), "*");
        app.ports[0].port = 10_000;
        app
    }

    fn merged(document: Value) -> Result<AppDefinition, String> {
        merge(&base(), &serde_json::from_value(document).unwrap()).map_err(|errors| errors.to_string())
    }

    /// The field `name` of what a document makes of the base.
    fn field(document: Value, name: &str) -> Value {
        serde_json::to_value(render(&merged(document).unwrap())).unwrap()[name].clone()
    }

    #[test]
    fn old_forms_are_read_and_new_ones_written() {
        for (document, name, expected) in [
            (
                json!({}),
                "portDefinitions",
                json!([{"port": 10000, "protocol": "tcp", "name": "default", "labels": {}}]),
            ),
            (
                json!({"ports": [10000]}),
                "portDefinitions",
                json!([{"port": 10000, "protocol": "tcp", "name": "default", "labels": {}}]),
            ),
            (
                json!({"ports": [80, 0]}),
                "portDefinitions",
                json!([{"port": 80, "protocol": "tcp", "labels": {}}, {"port": 0, "protocol": "tcp", "labels": {}}]),
            ),
            (json!({"ports": []}), "ports", json!([])),
            (json!({"ports": [7], "portDefinitions": [{"port": 7, "name": "a"}]}), "ports", json!([7])),
            (
                json!({"uris": ["http://h/x.zip?v=1", "http://h/x"]}),
                "fetch",
                json!([
                {"uri": "http://h/x.zip?v=1", "extract": true, "executable": false, "cache": false},
                {"uri": "http://h/x", "extract": false, "executable": false, "cache": false}]),
            ),
            (
                json!({"uris": ["http://h/x"], "fetch": [{"uri": "http://h/x"}]}),
                "uris",
                json!(["http://h/x"]),
            ),
            (
                json!({"constraints": [["hostname", "unique"], ["rack", "MAX_PER", 2]]}),
                "constraints",
                json!([["hostname", "UNIQUE"], ["rack", "MAX_PER", "2"]]),
            ),
            (json!({"dependencies": ["b", "/c"]}), "dependencies", json!(["/g/b", "/c"])),
            (
                json!({"upgradeStrategy": {}}),
                "upgradeStrategy",
                json!({"minimumHealthCapacity": 1, "maximumOverCapacity": 1}),
            ),
            (
                json!({"unreachableStrategy": {"unreachableInactiveAfterSeconds": 1, "unreachableExpungeAfterSeconds": 2}}),
                "unreachableStrategy",
                json!({"inactiveAfterSeconds": 1, "expungeAfterSeconds": 2}),
            ),
            (json!({"cpus": 0.25, "backoffFactor": 1.3, "backoffSeconds": 0.5}), "backoffFactor", json!(1.3)),
            (
                json!({"residency": {"taskLostBehavior": "WAIT_FOREVER"}, "storeUrls": ["x"]}),
                "residency",
                Value::Null,
            ),
        ] {
            assert_eq!(field(document.clone(), name), expected, "{document}");
        }
    }

    #[test]
    fn what_is_written_is_read_back_as_it_was() {
        let app = merged(json!({
            "cmd": "x", "env": {"A": "b"}, "labels": {"c": "d"}, "ports": [80, 0], "user": "nobody", "disk": 0.5,
            "fetch": [{"uri": "/x", "destPath": "y"}], "constraints": [["rack", "LIKE", "a.*"]], "killSelection": "OLDEST_FIRST",
            "healthChecks": [{"protocol": "COMMAND", "command": "true", "intervalSeconds": 0.5}], "dependencies": ["/z"],
            "unreachableStrategy": "disabled", "taskKillGracePeriodSeconds": 7, "acceptedResourceRoles": ["*"],
        }))
        .unwrap();
        let defaults = AppDefinition::with_defaults(app.id.clone(), "*");
        assert_eq!(merge(&defaults, &render(&app)).unwrap(), app);
    }

    #[test]
    fn what_is_no_value_is_named() {
        for (document, error) in [
            (json!({"instances": -1}), "/instances: must be between 0 and 100000"),
            (json!({"cpus": 1e300}), "/cpus: must not exceed"),
            (json!({"ports": [70000]}), "/ports(0): must be between 0 and 65535"),
            (
                json!({"ports": [1], "portDefinitions": [{"port": 2}]}),
                "/ports: must not be combined with portDefinitions",
            ),
            (json!({"uris": ["a"], "fetch": [{"uri": "b"}]}), "/uris: must not be combined with fetch"),
            (json!({"fetch": [{}]}), "/fetch(0)/uri: is required"),
            (json!({"backoffSeconds": -1}), "/backoffSeconds: must not be negative"),
            (json!({"backoffFactor": 0.5}), "/backoffFactor: must be between 1"),
            (json!({"killSelection": "RANDOM"}), "/killSelection: 'RANDOM' must be"),
            (
                json!({"unreachableStrategy": {"expungeAfterSeconds": -1}}),
                "/unreachableStrategy/expungeAfterSeconds: must not be negative",
            ),
            (json!({"dependencies": ["/A"]}), "/dependencies(0): 'A' is not a segment"),
            (json!({"env": {"A": {"secret": "s"}}}), "/env/A: must be a string"),
            (
                json!({"healthChecks": [{"protocol": "ICMP", "port": 0, "intervalSeconds": -2}]}),
                "/healthChecks(0)/protocol: 'ICMP' must be one of",
            ),
            (json!({"container": {}}), "/container: must be absent"),
            (json!({"networks": [{"name": "x"}]}), "/networks(0)/mode: must be 'host'"),
            (json!({"gpus": 1}), "/gpus: must be 0"),
            (json!({"readinessChecks": [{}]}), "/readinessChecks: must be empty"),
            (json!({"tty": true, "check": {}}), "/tty: must be false"),
        ] {
            let got = merged(document.clone()).unwrap_err();
            assert!(got.contains(error), "{document}: {got}");
        }
    }
}
