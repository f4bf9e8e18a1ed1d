//! The arguments of `docker create`.

use super::spec::{DockerSpec, MountSource, Network};
use crate::{ContainerId, ContainerSpec, Limits};

/// Where a container finds its sandbox.
pub const SANDBOX: &str = "/mnt/mesos/sandbox";
/// Says whose a container is, so that each agent of a machine minds its own.
pub(super) const OWNER_LABEL: &str = "stoa.agent";
/// The least weight the kernel takes.
const LEAST_SHARES: u64 = 2;
const SHARES_OF_A_CPU: u64 = 1024;

/// The name Docker knows a container by. Tools for clusters of this kind look for the prefix.
pub(super) fn name(id: &ContainerId) -> String {
    format!("mesos-{id}")
}

/// Everything after the word `docker`.
pub(super) fn arguments(spec: &ContainerSpec, docker: &DockerSpec, owner: &str) -> Vec<String> {
    let sandbox = spec.sandbox.display();
    let mut all: Vec<String> = vec![
        "create".into(),
        format!("--name={}", name(&spec.id)),
        format!("--label={OWNER_LABEL}={owner}"),
        // It was pulled before, where pulling can be seen and waited for.
        "--pull=never".into(),
        // The output goes to the sandbox; a second copy would grow without bound.
        "--log-driver=none".into(),
        format!("--volume={sandbox}:{SANDBOX}"),
    ];
    all.extend(limits(&spec.limits));
    all.extend(spec.environment.iter().map(|(name, value)| format!("--env={name}={value}")));
    all.extend(mounts(docker, &sandbox.to_string()));
    all.extend(network(docker));
    all.extend(docker.volume_driver.iter().map(|driver| format!("--volume-driver={driver}")));
    if docker.privileged {
        all.push("--privileged".into());
    }
    all.extend(docker.entrypoint.iter().map(|program| format!("--entrypoint={program}")));
    all.extend(docker.parameters.iter().map(|(key, value)| format!("--{key}={value}")));
    // What looks like a flag after this is none.
    all.push("--".into());
    all.push(docker.image.clone());
    all.extend(docker.arguments.iter().cloned());
    all
}

/// The flags that say how much a container may use; `docker update` takes them as well.
pub(super) fn limits(limits: &Limits) -> Vec<String> {
    let shares = limits.cpu_share_millis.map(|millis| (millis * SHARES_OF_A_CPU / 1000).max(LEAST_SHARES));
    let most = limits.cpu_quota_millis.map(|millis| format!("--cpus={}.{:03}", millis / 1000, millis % 1000));
    let mut all: Vec<String> = Vec::new();
    all.extend(shares.map(|shares| format!("--cpu-shares={shares}")));
    all.extend(most);
    if let Some(bytes) = limits.memory_bytes {
        all.push(format!("--memory={bytes}"));
        // Together with swap no more: who is slow for swapping is slow without a reason to be seen.
        all.push(format!("--memory-swap={bytes}"));
    }
    all
}

fn mounts(docker: &DockerSpec, sandbox: &str) -> Vec<String> {
    let one = |mount: &super::spec::Mount| {
        let source = match &mount.source {
            MountSource::Path(path) if path.is_absolute() => path.display().to_string(),
            MountSource::Path(path) => format!("{sandbox}/{}", path.display()),
            MountSource::Volume(name) => name.clone(),
        };
        format!("--volume={source}:{}:{}", mount.target, if mount.read_only { "ro" } else { "rw" })
    };
    docker.mounts.iter().map(one).collect()
}

fn network(docker: &DockerSpec) -> Vec<String> {
    let name = match &docker.network {
        Network::Host => "host",
        Network::Bridge => "bridge",
        Network::None => "none",
        Network::User(name) => name,
    };
    let mut all = vec![format!("--network={name}")];
    // With the machine's network it has the machine's name.
    let hostname = docker.hostname.iter().filter(|_| docker.network != Network::Host);
    all.extend(hostname.map(|hostname| format!("--hostname={hostname}")));
    all.extend(docker.ports.iter().map(|port| {
        let protocol = if port.udp { "udp" } else { "tcp" };
        format!("--publish={}:{}/{protocol}", port.host, port.container)
    }));
    all
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::docker::{Mount, PortMapping};

    fn plain(image: &str) -> DockerSpec {
        DockerSpec {
            image: image.into(),
            entrypoint: None,
            arguments: Vec::new(),
            network: Network::Host,
            ports: Vec::new(),
            mounts: Vec::new(),
            volume_driver: None,
            hostname: None,
            privileged: false,
            parameters: Vec::new(),
        }
    }

    fn spec() -> ContainerSpec {
        ContainerSpec::shell(ContainerId::new("c1").unwrap(), "", "/work/s")
    }

    fn tail(docker: &DockerSpec, spec: &ContainerSpec) -> Vec<String> {
        let all = arguments(spec, docker, "/data");
        assert_eq!(
            all[..6],
            [
                "create",
                "--name=mesos-c1",
                "--label=stoa.agent=/data",
                "--pull=never",
                "--log-driver=none",
                "--volume=/work/s:/mnt/mesos/sandbox"
            ]
        );
        all[6..].to_vec()
    }

    #[test]
    fn an_image_as_it_is_needs_little() {
        assert_eq!(tail(&plain("busybox"), &spec()), ["--network=host", "--", "busybox"]);
    }

    #[test]
    fn everything_that_can_be_said_has_its_flag() {
        let docker = DockerSpec {
            entrypoint: Some("/bin/sh".into()),
            arguments: vec!["-c".into(), "echo --rm".into()],
            network: Network::User("blue".into()),
            ports: vec![
                PortMapping { host: 31000, container: 80, udp: false },
                PortMapping { host: 31001, container: 53, udp: true },
            ],
            mounts: vec![
                Mount { source: MountSource::Path("/etc".into()), target: "/host".into(), read_only: true },
                Mount { source: MountSource::Path("cache".into()), target: "/c".into(), read_only: false },
                Mount { source: MountSource::Volume("v".into()), target: "/v".into(), read_only: false },
            ],
            volume_driver: Some("local".into()),
            hostname: Some("web-1".into()),
            privileged: true,
            parameters: vec![("ulimit".into(), "nofile=9".into())],
            ..plain("web:1")
        };
        let limits = Limits {
            cpu_share_millis: Some(1500),
            cpu_quota_millis: Some(2250),
            memory_bytes: Some(64 << 20),
        };
        let environment = vec![("A".to_owned(), "b c\nd".to_owned())];
        let spec = ContainerSpec { limits, environment, sandbox: PathBuf::from("/work/s"), ..spec() };
        assert_eq!(
            tail(&docker, &spec),
            [
                "--cpu-shares=1536",
                "--cpus=2.250",
                "--memory=67108864",
                "--memory-swap=67108864",
                "--env=A=b c\nd",
                "--volume=/etc:/host:ro",
                "--volume=/work/s/cache:/c:rw",
                "--volume=v:/v:rw",
                "--network=blue",
                "--hostname=web-1",
                "--publish=31000:80/tcp",
                "--publish=31001:53/udp",
                "--volume-driver=local",
                "--privileged",
                "--entrypoint=/bin/sh",
                "--ulimit=nofile=9",
                "--",
                "web:1",
                "-c",
                "echo --rm"
            ]
        );
    }
}
