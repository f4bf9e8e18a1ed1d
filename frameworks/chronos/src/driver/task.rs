//! A launch in the words of the protocol.

use model::resources::Form;
use sdk::task::Task;
use sdk::wire::v1;

use crate::core::container::{Container, Kind, Mode, Network, Pair, PortMapping, Volume};
use crate::core::definition::Definition;
use crate::core::message::Launch;

/// The task of a run. `user` is for jobs that name none.
pub(super) fn describe(launch: Launch, user: &str) -> Task {
    Task::from(info(launch, user))
}

fn info(launch: Launch, user: &str) -> v1::TaskInfo {
    let definition = &*launch.definition;
    let resources = launch.share.resources.to_wire(Form::Stack);
    let mut info = v1::TaskInfo {
        name: format!("ChronosTask:{}", definition.name),
        task_id: launch.task.clone().into(),
        agent_id: launch.share.agent.clone().into(),
        resources,
        labels: Some(labels(definition)),
        container: definition.container.as_ref().filter(|_| contained(definition)).map(container),
        ..Default::default()
    };
    if definition.max_completion_time > 0 {
        let nanoseconds = definition.max_completion_time.saturating_mul(1_000_000_000);
        let nanoseconds = i64::try_from(nanoseconds).unwrap_or(i64::MAX);
        info.max_completion_time = Some(v1::DurationInfo { nanoseconds });
    }
    let command = command(&launch, user);
    if definition.executor.is_empty() {
        info.command = Some(command);
    } else {
        let data = if definition.task_info_data.is_empty() {
            format!("{}|{}", definition.executor_flags, definition.command)
        } else {
            definition.task_info_data.clone()
        };
        info.data = Some(data.into_bytes().into());
        info.executor = Some(v1::ExecutorInfo {
            executor_id: v1::ExecutorId { value: definition.name.clone() },
            command: Some(v1::CommandInfo { value: Some(definition.executor.clone()), ..command }),
            ..Default::default()
        });
    }
    info
}

fn command(launch: &Launch, user: &str) -> v1::CommandInfo {
    let definition = &*launch.definition;
    let variable = |(name, value): &(String, String)| v1::environment::Variable {
        name: name.clone(),
        value: Some(value.clone()),
        ..Default::default()
    };
    let mut uris: Vec<v1::command_info::Uri> = definition
        .uris
        .iter()
        .map(|uri| v1::command_info::Uri { value: uri.clone(), extract: Some(true), ..Default::default() })
        .collect();
    uris.extend(definition.fetch.iter().map(|fetch| v1::command_info::Uri {
        value: fetch.uri.clone(),
        executable: Some(fetch.executable),
        extract: Some(fetch.extract),
        cache: Some(fetch.cache),
        output_file: Some(fetch.output_file.clone()).filter(|name| !name.is_empty()),
    }));
    let mut program = definition.command.clone();
    if ["http://", "https://", "ftp://", "ftps://"].iter().any(|scheme| program.starts_with(scheme)) {
        // A program to be fetched first.
        uris.push(v1::command_info::Uri {
            value: program.clone(),
            executable: Some(true),
            ..Default::default()
        });
        program = format!("./{}", program.rsplit('/').next().unwrap_or_default());
    }
    let run_as = if definition.run_as_user.is_empty() { user } else { &definition.run_as_user };
    let mut info = v1::CommandInfo {
        uris,
        environment: Some(v1::Environment { variables: launch.environment.iter().map(variable).collect() }),
        user: Some(run_as.to_owned()).filter(|user| !user.is_empty()),
        shell: Some(definition.shell),
        ..Default::default()
    };
    if definition.shell {
        let text = format!("{program} {}", launch.arguments);
        info.value = Some(text.trim_end().to_owned());
    } else {
        // Arguments of one run come as one text; the job's own are kept apart.
        let own = launch.arguments == definition.arguments.join(" ");
        // What a program is called; the arguments of an image begin with the program itself.
        if !contained(definition) {
            info.arguments.push(program.clone());
        }
        if own {
            info.arguments.extend(definition.arguments.iter().cloned());
        } else {
            info.arguments.extend(launch.arguments.split_whitespace().map(str::to_owned));
        }
        info.value = Some(program);
    }
    info
}

/// Whether its runs live in a container made from an image.
fn contained(definition: &Definition) -> bool {
    definition.container.as_ref().is_some_and(|container| !container.image.is_empty())
}

fn labels(definition: &Definition) -> v1::Labels {
    let label = |(key, value): (&String, &String)| v1::Label { key: key.clone(), value: Some(value.clone()) };
    v1::Labels { labels: definition.labels.iter().map(label).collect() }
}

fn container(container: &Container) -> v1::ContainerInfo {
    use v1::container_info::{DockerInfo, MesosInfo, Type, docker_info};
    let mut info = v1::ContainerInfo {
        volumes: container.volumes.iter().map(volume).collect(),
        network_infos: networks(container),
        ..Default::default()
    };
    match container.r#type {
        Kind::Docker => {
            info.set_type(Type::Docker);
            let network = match container.network {
                Network::Bridge => docker_info::Network::Bridge,
                Network::User => docker_info::Network::User,
                Network::Host => docker_info::Network::Host,
            };
            let parameters = container.parameters.iter();
            let parameter = |pair: &Pair| v1::Parameter { key: pair.key.clone(), value: pair.value.clone() };
            let mapping = |mapping: &PortMapping| docker_info::PortMapping {
                host_port: mapping.host_port.into(),
                container_port: mapping.container_port.into(),
                protocol: Some(mapping.protocol.clone()),
            };
            info.docker = Some(DockerInfo {
                image: container.image.clone(),
                network: Some(network.into()),
                port_mappings: container.port_mappings().map(mapping).collect(),
                parameters: parameters.map(parameter).collect(),
                force_pull_image: Some(container.force_pull_image),
                ..Default::default()
            });
        }
        Kind::Mesos => {
            info.set_type(Type::Mesos);
            let name = container.image.clone();
            info.mesos = Some(MesosInfo {
                image: Some(v1::Image {
                    r#type: v1::image::Type::Docker.into(),
                    docker: Some(v1::image::Docker { name, ..Default::default() }),
                    cached: Some(!container.force_pull_image),
                    ..Default::default()
                }),
            });
        }
    }
    info
}

/// One network at most: Docker joins a container to one when it makes it.
fn networks(container: &Container) -> Vec<v1::NetworkInfo> {
    let name = container.network_name();
    if name.is_empty() && container.network_infos.is_empty() {
        return Vec::new();
    }
    let labels = container.network_labels();
    let label =
        |(key, value): (&&str, &&str)| v1::Label { key: (*key).to_owned(), value: Some((*value).to_owned()) };
    let mapping = |mapping: &PortMapping| v1::network_info::PortMapping {
        host_port: mapping.host_port.into(),
        container_port: mapping.container_port.into(),
        protocol: Some(mapping.protocol.clone()),
    };
    vec![v1::NetworkInfo {
        name: Some(name.to_owned()).filter(|name| !name.is_empty()),
        labels: Some(v1::Labels { labels: labels.iter().map(label).collect() }),
        port_mappings: container.port_mappings().map(mapping).collect(),
        ..Default::default()
    }]
}

fn volume(volume: &Volume) -> v1::Volume {
    use v1::volume::source::{DockerVolume, Type};
    let external = volume.external.as_ref().map(|external| {
        let option = |pair: &Pair| v1::Parameter { key: pair.key.clone(), value: pair.value.clone() };
        v1::volume::Source {
            r#type: Some(Type::DockerVolume.into()),
            docker_volume: Some(DockerVolume {
                name: external.name.clone(),
                driver: Some(external.provider.clone()).filter(|driver| !driver.is_empty()),
                driver_options: Some(v1::Parameters {
                    parameter: external.options.iter().map(option).collect(),
                }),
            }),
            ..Default::default()
        }
    });
    let mode = match volume.mode {
        Mode::Rw => v1::volume::Mode::Rw,
        Mode::Ro => v1::volume::Mode::Ro,
    };
    v1::Volume {
        mode: mode.into(),
        container_path: volume.container_path.clone(),
        host_path: volume.host_path.clone(),
        source: external,
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use model::id::{AgentId, TaskId};
    use sdk::offer::{Need, Share};
    use serde_json::{Value, json};

    use super::*;

    /// What is launched for a job of these fields.
    fn task(job: &Value, arguments: &str) -> v1::TaskInfo {
        let need: Need = "cpus:0.5;mem:64".parse().unwrap();
        let share = Share {
            agent: AgentId::parse("A1").unwrap(),
            resources: need.wanted().clone(),
            ports: Vec::new(),
        };
        let launch = Launch {
            task: TaskId::parse("ct:0:0:job:").unwrap(),
            share,
            definition: std::sync::Arc::new(serde_json::from_value(job.clone()).unwrap()),
            arguments: arguments.to_owned(),
            environment: vec![("CHRONOS_JOB_NAME".into(), "job".into())],
        };
        info(launch, "nobody")
    }

    fn command(job: &Value, arguments: &str) -> v1::CommandInfo {
        task(job, arguments).command.unwrap()
    }

    #[test]
    fn a_shell_line_has_its_arguments_behind_it() {
        let command = command(&json!({ "name": "job", "command": "echo", "arguments": ["a", "b"] }), "a b");
        assert_eq!((command.value.as_deref(), command.shell()), (Some("echo a b"), true));
        assert!(command.arguments.is_empty());
        assert_eq!(command.user.as_deref(), Some("nobody"));
        let variable = &command.environment.unwrap().variables[0];
        assert_eq!((variable.name.as_str(), variable.value()), ("CHRONOS_JOB_NAME", "job"));
    }

    #[test]
    fn a_program_is_called_with_its_arguments_and_nothing_is_split_that_was_one() {
        let job = json!({
            "name": "job", "command": "/bin/echo", "shell": false, "arguments": ["a b", "c"], "runAsUser": "eve",
        });
        let own = command(&job, "a b c");
        assert_eq!((own.value.as_deref(), own.shell()), (Some("/bin/echo"), false));
        assert_eq!(own.arguments, ["/bin/echo", "a b", "c"]);
        assert_eq!(own.user.as_deref(), Some("eve"));
        assert_eq!(command(&job, "x y").arguments, ["/bin/echo", "x", "y"]);
    }

    #[test]
    fn files_are_fetched_and_so_is_a_command_that_is_an_address() {
        let uris = command(&json!({ "name": "job", "command": "true", "uris": ["http://h/a.tar"] }), "").uris;
        assert_eq!(
            (uris[0].value.as_str(), uris[0].extract(), uris[0].executable()),
            ("http://h/a.tar", true, false)
        );
        let fetch = json!([{ "uri": "http://h/a", "executable": true, "extract": false, "cache": true, "output_file": "b" }]);
        let uris = command(&json!({ "name": "job", "command": "true", "fetch": fetch }), "").uris;
        assert_eq!((uris[0].executable(), uris[0].extract(), uris[0].cache()), (true, false, true));
        assert_eq!(uris[0].output_file.as_deref(), Some("b"));
        let fetched = command(&json!({ "name": "job", "command": "https://h/run.sh" }), "now");
        assert_eq!(fetched.value.as_deref(), Some("./run.sh now"));
        assert_eq!(
            (fetched.uris[0].value.as_str(), fetched.uris[0].executable()),
            ("https://h/run.sh", true)
        );
        let program = command(&json!({ "name": "job", "command": "httpd -f" }), "");
        assert_eq!((program.value.as_deref(), program.uris.len()), (Some("httpd -f"), 0));
    }

    #[test]
    fn an_executor_of_its_own_is_given_the_command_as_data() {
        let job = json!({ "name": "job", "command": "c", "executor": "./run", "executorFlags": "-v" });
        let plain = task(&job, "");
        assert!(plain.command.is_none());
        assert_eq!(plain.data.as_deref(), Some(b"-v|c".as_slice()));
        let executor = plain.executor.unwrap();
        assert_eq!(executor.executor_id.value, "job");
        assert_eq!(executor.command.unwrap().value.as_deref(), Some("./run"));
        let mut job = job;
        job["taskInfoData"] = json!("given");
        assert_eq!(task(&job, "").data.as_deref(), Some(b"given".as_slice()));
    }

    #[test]
    fn labels_and_the_longest_time_are_told() {
        let job =
            json!({ "name": "job", "command": "c", "labels": { "team": "a" }, "maxCompletionTime": 90 });
        let info = task(&job, "");
        assert_eq!(info.name, "ChronosTask:job");
        let label = &info.labels.unwrap().labels[0];
        assert_eq!((label.key.as_str(), label.value.as_deref()), ("team", Some("a")));
        assert_eq!(info.max_completion_time.unwrap().nanoseconds, 90_000_000_000);
    }

    #[test]
    fn a_docker_container_has_all_that_was_said_of_it() {
        let job = json!({ "name": "job", "command": "run", "shell": false, "arguments": ["x"], "container": {
            "image": "tool:1", "forcePullImage": true, "network": "USER", "networkName": "blue",
            "networkInfos": [{ "portMappings": [{ "hostPort": 31000, "containerPort": 80 }], "labels": [{ "key": "k", "value": "v" }] }],
            "parameters": [{ "key": "cap-add", "value": "SYS_TIME" }],
            "volumes": [
                { "containerPath": "/in", "hostPath": "/srv", "mode": "RO" },
                { "containerPath": "/out", "external": { "name": "disk", "provider": "rex", "options": [{ "key": "a", "value": "b" }] } },
            ],
        } });
        let info = task(&job, "x");
        assert_eq!(info.command.as_ref().unwrap().arguments, ["x"], "the image is given the program once");
        let container = info.container.unwrap();
        assert_eq!(container.r#type(), v1::container_info::Type::Docker);
        assert_eq!(container.network_infos[0].name.as_deref(), Some("blue"));
        assert_eq!(container.network_infos[0].labels.as_ref().unwrap().labels[0].key, "k");
        assert_eq!(container.volumes[0].host_path.as_deref(), Some("/srv"));
        assert_eq!(container.volumes[0].mode(), v1::volume::Mode::Ro);
        let external = container.volumes[1].source.as_ref().unwrap().docker_volume.as_ref().unwrap();
        assert_eq!((external.name.as_str(), external.driver.as_deref()), ("disk", Some("rex")));
        let docker = container.docker.unwrap();
        assert_eq!((docker.image.as_str(), docker.force_pull_image()), ("tool:1", true));
        assert_eq!(docker.network(), v1::container_info::docker_info::Network::User);
        assert_eq!((docker.port_mappings[0].host_port, docker.port_mappings[0].container_port), (31000, 80));
        assert_eq!(docker.parameters[0].key, "cap-add");
    }

    #[test]
    fn a_container_of_type_mesos_has_an_image_and_one_without_image_is_none() {
        let job = json!({ "name": "job", "command": "c", "container": { "type": "mesos", "image": "tool:1", "forcePullImage": true } });
        let container = task(&job, "").container.unwrap();
        assert_eq!(container.r#type(), v1::container_info::Type::Mesos);
        let image = container.mesos.unwrap().image.unwrap();
        assert_eq!((image.docker.as_ref().unwrap().name.as_str(), image.cached()), ("tool:1", false));
        let job = json!({ "name": "job", "command": "c", "container": { "type": "DOCKER" } });
        assert!(task(&job, "").container.is_none());
    }
}
