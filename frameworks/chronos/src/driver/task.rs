//! A launch in the words of the protocol.

use model::resources::Form;
use sdk::task::Task;
use sdk::wire::v1;

use crate::core::definition::{Container, Definition};
use crate::core::message::Launch;

/// The task of a run. `user` is for jobs that name none.
pub(super) fn describe(launch: Launch, user: &str) -> Task {
    let definition = &*launch.definition;
    let resources = launch.share.resources.to_wire(Form::Stack);
    let mut info = v1::TaskInfo {
        name: format!("ChronosTask:{}", definition.name),
        task_id: launch.task.clone().into(),
        agent_id: launch.share.agent.clone().into(),
        resources,
        labels: Some(labels(definition)),
        container: definition
            .container
            .as_ref()
            .filter(|container| !container.image.is_empty())
            .map(container),
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
    Task::from(info)
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
    if program.starts_with("http") || program.starts_with("ftp") {
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
        info.arguments.push(program.clone());
        if own {
            info.arguments.extend(definition.arguments.iter().cloned());
        } else {
            info.arguments.extend(launch.arguments.split_whitespace().map(str::to_owned));
        }
        info.value = Some(program);
    }
    info
}

fn labels(definition: &Definition) -> v1::Labels {
    let label = |(key, value): (&String, &String)| v1::Label { key: key.clone(), value: Some(value.clone()) };
    v1::Labels { labels: definition.labels.iter().map(label).collect() }
}

fn container(container: &Container) -> v1::ContainerInfo {
    use v1::container_info::{DockerInfo, MesosInfo, Type, docker_info};
    let docker = container.r#type.eq_ignore_ascii_case("DOCKER");
    let mut info = v1::ContainerInfo {
        r#type: if docker { Type::Docker } else { Type::Mesos }.into(),
        volumes: container
            .volumes
            .iter()
            .map(|volume| v1::Volume {
                mode: if volume.mode == "RO" { v1::volume::Mode::Ro } else { v1::volume::Mode::Rw }.into(),
                container_path: volume.container_path.clone(),
                host_path: volume.host_path.clone(),
                ..Default::default()
            })
            .collect(),
        ..Default::default()
    };
    if docker {
        let network = match container.network.as_str() {
            "BRIDGE" => docker_info::Network::Bridge,
            "USER" => docker_info::Network::User,
            _ => docker_info::Network::Host,
        };
        let parameter = |pair: &crate::core::definition::Pair| v1::Parameter {
            key: pair.key.clone(),
            value: pair.value.clone(),
        };
        info.docker = Some(DockerInfo {
            image: container.image.clone(),
            network: Some(network.into()),
            parameters: container.parameters.iter().map(parameter).collect(),
            force_pull_image: Some(container.force_pull_image),
            ..Default::default()
        });
    } else {
        info.mesos = Some(MesosInfo {
            image: Some(v1::Image {
                r#type: v1::image::Type::Docker.into(),
                docker: Some(v1::image::Docker { name: container.image.clone(), ..Default::default() }),
                cached: Some(!container.force_pull_image),
                ..Default::default()
            }),
        });
    }
    info
}
