//! From a definition to the wire's document: the one place where the two meet on the way out.

use model::time::Span;
use wire::marathon as wire;

use super::app::{AppDefinition, HealthCheck, KillSelection, Protocol, Unreachable};
use super::version::Version;

/// The document of a definition, every field of the wire profile filled in.
pub fn render(app: &AppDefinition) -> wire::App {
    wire::App {
        id: Some(app.id.to_string()),
        cmd: app.cmd.clone(),
        args: (!app.args.is_empty()).then(|| app.args.clone()),
        user: app.user.clone(),
        env: Some(
            app.env.iter().map(|(name, value)| (name.clone(), wire::EnvValue::Text(value.clone()))).collect(),
        ),
        instances: Some(app.instances.into()),
        cpus: Some(wire::Number(app.cpus.as_f64())),
        mem: Some(wire::Number(app.mem.as_f64())),
        disk: Some(wire::Number(app.disk.as_f64())),
        gpus: Some(0),
        executor: Some(app.executor.clone()),
        constraints: Some(
            app.constraints.iter().map(|constraint| wire::Constraint(constraint.words())).collect(),
        ),
        uris: Some(app.fetch.iter().map(|fetch| fetch.uri.clone()).collect()),
        fetch: Some(app.fetch.iter().map(fetch).collect()),
        store_urls: Some(Vec::new()),
        backoff_seconds: seconds(app.backoff.initial),
        backoff_factor: Some(wire::Number(app.backoff.factor.as_f64())),
        max_launch_delay_seconds: seconds(app.backoff.maximum),
        container: None,
        health_checks: Some(app.health_checks.iter().map(health_check).collect()),
        readiness_checks: Some(Vec::new()),
        dependencies: Some(app.dependencies.iter().map(ToString::to_string).collect()),
        upgrade_strategy: Some(wire::UpgradeStrategy {
            minimum_health_capacity: Some(wire::Number(app.upgrade.minimum_health.as_f64())),
            maximum_over_capacity: Some(wire::Number(app.upgrade.maximum_over.as_f64())),
        }),
        labels: Some(app.labels.clone()),
        version: (app.version != Version::default()).then(|| app.version.to_string()),
        version_info: (app.version != Version::default()).then(|| wire::VersionInfo {
            last_scaling_at: Some(app.last_scaling.to_string()),
            last_config_change_at: Some(app.last_config_change.to_string()),
        }),
        networks: Some(vec![wire::Network { mode: Some("host".to_owned()), name: None, labels: None }]),
        ports: Some(app.ports.iter().map(|definition| definition.port.into()).collect()),
        port_definitions: Some(
            app.ports
                .iter()
                .map(|definition| wire::PortDefinition {
                    port: Some(definition.port.into()),
                    protocol: Some(definition.protocol.clone()),
                    name: definition.name.clone(),
                    labels: Some(definition.labels.clone()),
                })
                .collect(),
        ),
        require_ports: Some(app.require_ports),
        secrets: Some(Default::default()),
        task_kill_grace_period_seconds: app.kill_grace.and_then(seconds),
        unreachable_strategy: Some(match app.unreachable {
            Unreachable::Disabled => wire::UnreachableStrategy::Disabled,
            Unreachable::After { inactive, expunge } => wire::UnreachableStrategy::Enabled {
                inactive_after_seconds: Some(whole_seconds(inactive)),
                expunge_after_seconds: Some(whole_seconds(expunge)),
            },
        }),
        kill_selection: Some(
            match app.kill_selection {
                KillSelection::YoungestFirst => "YOUNGEST_FIRST",
                KillSelection::OldestFirst => "OLDEST_FIRST",
            }
            .to_owned(),
        ),
        role: Some(app.role.clone()),
        residency: None,
        ip_address: None,
        accepted_resource_roles: app.accepted_resource_roles.clone(),
        tty: None,
        check: None,
        executor_resources: None,
        resource_limits: None,
    }
}

fn fetch(fetch: &super::app::Fetch) -> wire::Fetch {
    wire::Fetch {
        uri: Some(fetch.uri.clone()),
        extract: Some(fetch.extract),
        executable: Some(fetch.executable),
        cache: Some(fetch.cache),
        dest_path: fetch.dest_path.clone(),
    }
}

/// The document of one check, also part of events.
pub fn health_check(check: &HealthCheck) -> wire::HealthCheck {
    wire::HealthCheck {
        protocol: Some(check.protocol.name().to_owned()),
        path: check.path.clone(),
        port: check.port.map(Into::into),
        port_index: check.port_index.and_then(|index| i64::try_from(index).ok()),
        command: check.command.clone().map(|value| wire::Command { value }),
        grace_period_seconds: seconds(check.grace),
        interval_seconds: seconds(check.interval),
        timeout_seconds: seconds(check.timeout),
        max_consecutive_failures: Some(check.max_failures.into()),
        delay_seconds: seconds(check.delay),
        ignore_http_1xx: matches!(check.protocol, Protocol::Http | Protocol::Https)
            .then_some(check.ignore_1xx),
        ip_protocol: Some("IPv4".to_owned()),
    }
}

fn seconds(span: Span) -> Option<wire::Number> {
    Some(wire::Number(span.as_secs_f64()))
}

fn whole_seconds(span: Span) -> i64 {
    i64::try_from(span.as_millis() / 1000).unwrap_or(i64::MAX)
}
