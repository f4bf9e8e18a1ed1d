//! The environment a task is given.

use std::collections::BTreeMap;

use model::id::TaskId;

use super::app::AppDefinition;

/// A label longer than this, name or value, is left out of the environment.
const LABEL_BYTES: usize = 512;

/// Variables of one task: what is known of the app, then host and ports, then what the user asked for, which wins.
pub fn environment(
    app: &AppDefinition,
    task: &TaskId,
    host: &str,
    ports: &[u16],
) -> BTreeMap<String, String> {
    let mut env = context(app, task);
    env.insert("HOST".to_owned(), host.to_owned());
    with_ports(app, ports, &mut env);
    env.extend(app.env.iter().map(|(name, value)| (name.clone(), value.clone())));
    env
}

fn context(app: &AppDefinition, task: &TaskId) -> BTreeMap<String, String> {
    let mut env = BTreeMap::from([
        ("MESOS_TASK_ID".to_owned(), task.to_string()),
        ("MARATHON_APP_ID".to_owned(), app.id.to_string()),
        ("MARATHON_APP_VERSION".to_owned(), app.version.to_string()),
        ("MARATHON_APP_RESOURCE_CPUS".to_owned(), decimal(app.cpus.as_f64())),
        ("MARATHON_APP_RESOURCE_MEM".to_owned(), decimal(app.mem.as_f64())),
        ("MARATHON_APP_RESOURCE_DISK".to_owned(), decimal(app.disk.as_f64())),
        ("MARATHON_APP_RESOURCE_GPUS".to_owned(), "0".to_owned()),
        ("MARATHON_APP_ENFORCE_GROUP_ROLE".to_owned(), "FALSE".to_owned()),
    ]);
    let mut names = Vec::new();
    for (label, value) in &app.labels {
        let name = sanitized(label);
        if label.len() < LABEL_BYTES - "MARATHON_APP_LABEL_".len() && value.len() < LABEL_BYTES {
            env.insert(format!("MARATHON_APP_LABEL_{name}"), value.clone());
            names.push(name);
        }
    }
    env.insert("MARATHON_APP_LABELS".to_owned(), names.join(" "));
    env
}

/// A double as it has always been printed here: never without a fraction.
fn decimal(value: f64) -> String {
    format!("{value:?}")
}

/// Upper case, and one `_` for each run of what a variable's name may not contain.
fn sanitized(label: &str) -> String {
    let mut name = String::with_capacity(label.len());
    let mut in_run = false;
    for c in label.chars() {
        let plain = c.is_ascii_alphanumeric() || c == '_';
        if plain {
            name.push(c.to_ascii_uppercase());
        } else if !in_run {
            name.push('_');
        }
        in_run = !plain;
    }
    name
}

fn with_ports(app: &AppDefinition, ports: &[u16], env: &mut BTreeMap<String, String>) {
    let Some(first) = ports.first() else { return };
    env.insert("PORT".to_owned(), first.to_string());
    env.insert("PORTS".to_owned(), ports.iter().map(u16::to_string).collect::<Vec<_>>().join(","));
    for (index, (port, definition)) in ports.iter().zip(&app.ports).enumerate() {
        env.insert(format!("PORT{index}"), port.to_string());
        let asked = if definition.port == 0 { *port } else { definition.port };
        env.insert(format!("PORT_{asked}"), port.to_string());
        if let Some(name) = &definition.name {
            env.insert(format!("PORT_{}", name.to_ascii_uppercase()), port.to_string());
        }
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use model::time::Time;

    use super::super::id::AppId;
    use super::super::version::Version;
    use super::*;

    #[test]
    fn what_a_task_finds() {
        let id = AppId::parse("/shop/cart", &AppId::root()).unwrap();
        let mut app = AppDefinition::with_defaults(id, "*");
        app.version = Version(Time::from_millis(1_714_637_469_412));
        app.ports[0].port = 10004;
        app.ports.push(super::super::app::PortDefinition {
            port: 0,
            name: Some("admin-ui".into()),
            ..app.ports[0].clone()
        });
        app.labels = [("tier.x--y", "web"), ("big", &"x".repeat(512))]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into();
        app.env = [("HOST".to_owned(), "mine".to_owned()), ("A".to_owned(), "b".to_owned())].into();
        let env = environment(&app, &TaskId::from("t"), "node-1", &[31822, 31823]);
        let text: String = env.iter().map(|(name, value)| format!("{name}={value}\n")).collect();
        expect![[r#"
            A=b
            HOST=mine
            MARATHON_APP_ENFORCE_GROUP_ROLE=FALSE
            MARATHON_APP_ID=/shop/cart
            MARATHON_APP_LABELS=TIER_X_Y
            MARATHON_APP_LABEL_TIER_X_Y=web
            MARATHON_APP_RESOURCE_CPUS=1.0
            MARATHON_APP_RESOURCE_DISK=0.0
            MARATHON_APP_RESOURCE_GPUS=0
            MARATHON_APP_RESOURCE_MEM=128.0
            MARATHON_APP_VERSION=2024-05-02T08:11:09.412Z
            MESOS_TASK_ID=t
            PORT=31822
            PORT0=31822
            PORT1=31823
            PORTS=31822,31823
            PORT_10004=31822
            PORT_31823=31823
            PORT_ADMIN-UI=31823
            PORT_DEFAULT=31822
        "#]]
        .assert_eq(&text);
    }

    #[test]
    fn no_ports_no_variables() {
        let id = AppId::parse("/a", &AppId::root()).unwrap();
        let mut app = AppDefinition::with_defaults(id, "*");
        app.ports.clear();
        let env = environment(&app, &TaskId::from("t"), "node-1", &[]);
        assert!(env.keys().all(|name| !name.starts_with("PORT")));
    }
}
