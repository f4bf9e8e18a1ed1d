//! What a task says of its Docker container, read once (spec mesos-v1, sections 3.5 and 10.6).

use wire::v1;
use wire::v1::container_info::docker_info::Network as WireNetwork;

use crate::spec::Invalid;

/// A container to be made by Docker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DockerSpec {
    pub image: String,
    /// Fetch the image even when this machine has one of that name.
    pub force_pull: bool,
    /// Executed in the place of the image's own entry point.
    pub entrypoint: Option<String>,
    /// Arguments of the entry point.
    pub arguments: Vec<String>,
    pub network: Network,
    pub ports: Vec<PortMapping>,
    pub mounts: Vec<Mount>,
    pub volume_driver: Option<String>,
    pub hostname: Option<String>,
    pub privileged: bool,
    /// Further flags of `docker run`, as `--key=value`.
    pub parameters: Vec<(String, String)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Network {
    Host,
    Bridge,
    None,
    /// By the name somebody gave it.
    User(String),
}

/// A port of the machine that leads to one of the container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortMapping {
    pub host: u16,
    pub container: u16,
    pub udp: bool,
}

/// Something the container finds at `target`, an absolute path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    pub source: MountSource,
    pub target: String,
    pub read_only: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MountSource {
    /// Absolute on the machine, or relative to the sandbox.
    Path(String),
    /// A volume Docker keeps, by name.
    Volume(String),
}

/// Where a container finds its sandbox; a relative path in a container is below it.
const SANDBOX: &str = "/mnt/mesos/sandbox";
/// Flags of `docker run` that the agent needs for itself: with another name or without its label it would lose the
/// container, detached or removed too early it would not learn its exit status.
const OWN_FLAGS: &[&str] = &[
    "name",
    "rm",
    "detach",
    "d",
    "attach",
    "a",
    "interactive",
    "i",
    "tty",
    "t",
    "cidfile",
    "log-driver",
    "pull",
];

/// Whether a container's description names an image, in either of the two ways there are.
pub(crate) fn wanted(container: &v1::ContainerInfo) -> bool {
    container.docker.is_some()
        || container.r#type() == v1::container_info::Type::Docker
        || container.mesos.as_ref().is_some_and(|mesos| mesos.image.is_some())
}

impl DockerSpec {
    /// Reads a container description that names an image, and the command to run in it. Docker runs images of type
    /// MESOS as well: to whom the container belongs makes no difference to a task.
    ///
    /// # Errors
    /// Names the field and the rule.
    pub(crate) fn read(container: &v1::ContainerInfo, command: &v1::CommandInfo) -> Result<Self, Invalid> {
        crate::spec::plain(container)?;
        if container.rlimit_info.is_some() {
            return Err(invalid(
                "'container.rlimit_info' does not reach a container made from an image: use its parameter 'ulimit'",
            ));
        }
        let (entrypoint, arguments) = invocation(command);
        let image = match (&container.docker, container.mesos.as_ref().and_then(|mesos| mesos.image.as_ref()))
        {
            (Some(docker), _) => Image::of_docker(docker, container)?,
            (None, Some(image)) if container.r#type() == v1::container_info::Type::Mesos => {
                Image::of_mesos(image, container)?
            }
            _ => return Err(invalid("'container.docker' must be present when 'container.type' is DOCKER")),
        };
        if image.name.starts_with('-') {
            return Err(invalid(format!("'{}' must not begin with '-'", image.field)));
        }
        Ok(Self {
            image: image.name,
            force_pull: image.force_pull,
            entrypoint,
            arguments,
            ports: image.ports,
            mounts: container.volumes.iter().map(Mount::read).collect::<Result<_, _>>()?,
            volume_driver: image.volume_driver.or_else(|| driver(container)),
            hostname: container.hostname.clone().filter(|name| !name.is_empty()),
            privileged: image.privileged,
            parameters: image.parameters,
            network: image.network,
        })
    }
}

/// What the two types of container say differently.
struct Image {
    /// Where `name` is from.
    field: &'static str,
    name: String,
    force_pull: bool,
    network: Network,
    ports: Vec<PortMapping>,
    volume_driver: Option<String>,
    privileged: bool,
    parameters: Vec<(String, String)>,
}

impl Image {
    fn of_docker(
        docker: &v1::container_info::DockerInfo,
        container: &v1::ContainerInfo,
    ) -> Result<Self, Invalid> {
        let field = "container.docker.image";
        let network = network(docker, container)?;
        let mappings = docker.port_mappings.iter();
        let mappings = mappings.map(|one| (one.host_port, one.container_port, one.protocol.as_deref()));
        Ok(Self {
            field,
            name: text(&docker.image, field)?,
            force_pull: docker.force_pull_image(),
            ports: ports("container.docker.port_mappings", mappings, &network)?,
            network,
            volume_driver: docker.volume_driver.clone(),
            privileged: docker.privileged(),
            parameters: docker.parameters.iter().map(parameter).collect::<Result<_, _>>()?,
        })
    }

    /// Without a network of its own such a container shares the machine's.
    fn of_mesos(image: &v1::Image, container: &v1::ContainerInfo) -> Result<Self, Invalid> {
        let field = "container.mesos.image.docker.name";
        let docker = image.docker.as_ref().filter(|_| image.r#type() == v1::image::Type::Docker);
        let docker = docker.ok_or_else(|| {
            invalid("'container.mesos.image.type' must be DOCKER: this agent knows no other images")
        })?;
        let (network, mappings) = match container.network_infos.as_slice() {
            [] => (Network::Host, [].as_slice()),
            [info] => {
                let name = info.name.clone().filter(|name| !name.is_empty());
                (name.map_or(Network::Bridge, Network::User), info.port_mappings.as_slice())
            }
            _ => return Err(invalid("'container.network_infos' must have one member at most")),
        };
        let mappings = mappings.iter();
        let mappings = mappings.map(|one| (one.host_port, one.container_port, one.protocol.as_deref()));
        Ok(Self {
            field,
            name: text(&docker.name, field)?,
            force_pull: !image.cached(),
            ports: ports("container.network_infos.port_mappings", mappings, &network)?,
            network,
            volume_driver: None,
            privileged: false,
            parameters: Vec::new(),
        })
    }
}

fn invalid(message: impl Into<String>) -> Invalid {
    Invalid(message.into())
}

/// Not empty, and without what would end a flag or a word early.
fn text(value: &str, field: &str) -> Result<String, Invalid> {
    if value.is_empty() {
        return Err(invalid(format!("'{field}' must not be empty")));
    }
    if value.contains('\0') {
        return Err(invalid(format!("'{field}' must not contain a NUL character")));
    }
    Ok(value.to_owned())
}

/// A shell command takes the place of the image's entry point; anything else is given to it as arguments, and nothing
/// at all runs the image as it is.
fn invocation(command: &v1::CommandInfo) -> (Option<String>, Vec<String>) {
    match (&command.value, command.shell()) {
        (Some(value), true) if !value.is_empty() => {
            (Some("/bin/sh".to_owned()), vec!["-c".to_owned(), value.clone()])
        }
        (value, _) => {
            let value = value.iter().filter(|value| !value.is_empty());
            (None, value.chain(&command.arguments).cloned().collect())
        }
    }
}

fn network(
    docker: &v1::container_info::DockerInfo,
    container: &v1::ContainerInfo,
) -> Result<Network, Invalid> {
    match docker.network() {
        WireNetwork::Host => Ok(Network::Host),
        WireNetwork::Bridge => Ok(Network::Bridge),
        WireNetwork::None => Ok(Network::None),
        WireNetwork::User => {
            let name = container.network_infos.first().and_then(|info| info.name.clone());
            let missing = "'container.network_infos[0].name' must name the network when 'container.docker.network' is USER";
            name.filter(|name| !name.is_empty()).map(Network::User).ok_or_else(|| invalid(missing))
        }
    }
}

fn ports<'a>(
    field: &str,
    mappings: impl ExactSizeIterator<Item = (u32, u32, Option<&'a str>)>,
    network: &Network,
) -> Result<Vec<PortMapping>, Invalid> {
    if mappings.len() > 0 && matches!(network, Network::Host | Network::None) {
        return Err(invalid(format!("'{field}' needs 'container.docker.network' to be BRIDGE or USER")));
    }
    let port = |value: u32, member: &str| match u16::try_from(value) {
        Ok(port) if port != 0 => Ok(port),
        _ => Err(invalid(format!("'{field}.{member}' must be 1 to 65535, is {value}"))),
    };
    let mapping = |(host, container, protocol): (u32, u32, Option<&str>)| {
        let protocol = protocol.unwrap_or("tcp").to_ascii_lowercase();
        if !matches!(protocol.as_str(), "tcp" | "udp") {
            return Err(invalid(format!("'{field}.protocol' must be 'tcp' or 'udp', is '{protocol}'")));
        }
        Ok(PortMapping {
            host: port(host, "host_port")?,
            container: port(container, "container_port")?,
            udp: protocol == "udp",
        })
    };
    mappings.map(mapping).collect()
}

fn parameter(parameter: &v1::Parameter) -> Result<(String, String), Invalid> {
    let key = text(parameter.key.trim_start_matches('-'), "container.docker.parameters.key")?;
    if OWN_FLAGS.contains(&key.as_str()) {
        return Err(invalid(format!(
            "'container.docker.parameters' must not have '{key}', which the agent sets itself"
        )));
    }
    if key.contains(['=', '\0']) || parameter.value.contains('\0') {
        return Err(invalid(
            "'container.docker.parameters' must not contain '=' in a key, or a NUL character",
        ));
    }
    Ok((key, parameter.value.clone()))
}

/// The driver of the volumes: Docker takes one for all.
fn driver(container: &v1::ContainerInfo) -> Option<String> {
    let volumes = container.volumes.iter();
    volumes.filter_map(|v| v.source.as_ref()?.docker_volume.as_ref()?.driver.clone()).next()
}

impl Mount {
    fn read(volume: &v1::Volume) -> Result<Self, Invalid> {
        let path = text(&volume.container_path, "container.volumes.container_path")?;
        if path.contains(':') {
            return Err(invalid("'container.volumes.container_path' must not contain ':'"));
        }
        let target = if path.starts_with('/') { path } else { format!("{SANDBOX}/{path}") };
        let read_only = volume.mode() == v1::volume::Mode::Ro;
        Ok(Self { source: source(volume)?, target, read_only })
    }
}

fn source(volume: &v1::Volume) -> Result<MountSource, Invalid> {
    let named = volume.source.as_ref();
    let host = named.and_then(|source| source.host_path.as_ref()).map(|host| host.path.as_str());
    let docker = named.and_then(|source| source.docker_volume.as_ref()).map(|docker| docker.name.as_str());
    let below = named.and_then(|source| source.sandbox_path.as_ref()).map(|sandbox| sandbox.path.as_str());
    let source = match (volume.host_path.as_deref().or(host), docker, below) {
        (Some(path), None, None) => MountSource::Path(text(path, "container.volumes.host_path")?),
        (None, Some(name), None) => {
            MountSource::Volume(text(name, "container.volumes.source.docker_volume.name")?)
        }
        (None, None, Some(path)) => MountSource::Path(text(
            path.trim_start_matches('/'),
            "container.volumes.source.sandbox_path.path",
        )?),
        _ => {
            return Err(invalid(
                "'container.volumes' must each have one of 'host_path', 'source.host_path', 'source.docker_volume' and \
                 'source.sandbox_path'; this agent knows no other sources",
            ));
        }
    };
    let (MountSource::Path(name) | MountSource::Volume(name)) = &source;
    if name.contains(':') || name.split('/').any(|part| part == "..") {
        return Err(invalid("'container.volumes' must not contain ':' or '..' in what they mount"));
    }
    Ok(source)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn docker(
        change: impl FnOnce(&mut v1::ContainerInfo, &mut v1::CommandInfo),
    ) -> Result<DockerSpec, String> {
        let mut container = v1::ContainerInfo {
            r#type: v1::container_info::Type::Docker as i32,
            docker: Some(v1::container_info::DockerInfo { image: "web:1".into(), ..Default::default() }),
            ..Default::default()
        };
        let mut command = v1::CommandInfo::default();
        change(&mut container, &mut command);
        DockerSpec::read(&container, &command).map_err(|Invalid(message)| message)
    }

    fn refusal(change: impl FnOnce(&mut v1::container_info::DockerInfo)) -> String {
        docker(|container, _| change(container.docker.as_mut().unwrap())).unwrap_err()
    }

    #[test]
    fn without_a_command_the_image_runs_as_it_is() {
        let spec = docker(|_, command| command.shell = Some(false)).unwrap();
        assert_eq!((spec.entrypoint, spec.arguments.len(), spec.network), (None, 0, Network::Host));
    }

    #[test]
    fn a_shell_command_replaces_the_entry_point_and_arguments_go_to_it() {
        let shell = docker(|_, command| command.value = Some("echo hi".into())).unwrap();
        assert_eq!(shell.entrypoint.as_deref(), Some("/bin/sh"));
        assert_eq!(shell.arguments, ["-c", "echo hi"]);
        let argv = docker(|_, command| {
            command.shell = Some(false);
            command.value = Some("serve".into());
            command.arguments = vec!["--port".into(), "80".into()];
        });
        assert_eq!(argv.unwrap().arguments, ["serve", "--port", "80"]);
    }

    #[test]
    fn an_image_of_the_other_type_runs_as_well() {
        let read = |change: &dyn Fn(&mut v1::ContainerInfo)| {
            let image = v1::Image {
                r#type: v1::image::Type::Docker as i32,
                docker: Some(v1::image::Docker { name: "web:1".into(), ..Default::default() }),
                cached: Some(false),
                ..Default::default()
            };
            let mut container = v1::ContainerInfo {
                r#type: v1::container_info::Type::Mesos as i32,
                mesos: Some(v1::container_info::MesosInfo { image: Some(image) }),
                ..Default::default()
            };
            change(&mut container);
            assert!(wanted(&container));
            DockerSpec::read(&container, &v1::CommandInfo::default()).map_err(|Invalid(message)| message)
        };
        let plain = read(&|_| {}).unwrap();
        assert_eq!((plain.image.as_str(), plain.force_pull, plain.network), ("web:1", true, Network::Host));
        let networked = |name: Option<&str>| {
            let mapping =
                v1::network_info::PortMapping { host_port: 8080, container_port: 80, protocol: None };
            let name = name.map(str::to_owned);
            let info = v1::NetworkInfo { name, port_mappings: vec![mapping], ..Default::default() };
            read(&move |container| container.network_infos = vec![info.clone()]).unwrap()
        };
        assert_eq!(networked(Some("blue")).network, Network::User("blue".into()));
        let bridged = networked(None);
        assert_eq!(bridged.network, Network::Bridge);
        assert_eq!(bridged.ports, [PortMapping { host: 8080, container: 80, udp: false }]);
        let refused = read(&|container| {
            let image = container.mesos.as_mut().unwrap().image.as_mut().unwrap();
            image.r#type = v1::image::Type::Appc as i32;
        });
        let rule = "'container.mesos.image.type' must be DOCKER: this agent knows no other images";
        assert_eq!(refused.unwrap_err(), rule);
    }

    #[test]
    fn what_it_refuses_it_names() {
        let mapping = |host_port, protocol: &str| v1::container_info::docker_info::PortMapping {
            host_port,
            container_port: 80,
            protocol: Some(protocol.into()),
        };
        let parameter = |key: &str| v1::Parameter { key: key.into(), value: "x".into() };
        assert_eq!(refusal(|docker| docker.image.clear()), "'container.docker.image' must not be empty");
        assert_eq!(
            refusal(|docker| docker.image = "-v".into()),
            "'container.docker.image' must not begin with '-'"
        );
        assert_eq!(
            refusal(|docker| docker.port_mappings.push(mapping(1, "tcp"))),
            "'container.docker.port_mappings' needs 'container.docker.network' to be BRIDGE or USER"
        );
        assert_eq!(
            refusal(|docker| {
                docker.network = Some(WireNetwork::Bridge as i32);
                docker.port_mappings.push(mapping(0, "tcp"));
            }),
            "'container.docker.port_mappings.host_port' must be 1 to 65535, is 0"
        );
        assert_eq!(
            refusal(|docker| docker.parameters.push(parameter("--name"))),
            "'container.docker.parameters' must not have 'name', which the agent sets itself"
        );
        let mount = |host: &str| v1::Volume {
            container_path: "data".into(),
            host_path: Some(host.into()),
            mode: v1::volume::Mode::Ro as i32,
            ..Default::default()
        };
        let refused = docker(|container, _| container.volumes.push(mount("../x"))).unwrap_err();
        assert_eq!(refused, "'container.volumes' must not contain ':' or '..' in what they mount");
        let spec = docker(|container, _| container.volumes.push(mount("/srv"))).unwrap();
        assert_eq!(
            spec.mounts,
            [Mount {
                source: MountSource::Path("/srv".into()),
                target: "/mnt/mesos/sandbox/data".into(),
                read_only: true
            }]
        );
    }
}
