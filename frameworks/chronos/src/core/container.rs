//! The container that a job's runs live in, as its user describes it (spec chronos-v1, section 2.1).

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::refusal::Refusal;

/// Ignored unless it names an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Container {
    #[serde(default)]
    pub r#type: Kind,
    #[serde(default)]
    pub image: String,
    #[serde(default, deserialize_with = "truth")]
    pub force_pull_image: bool,
    #[serde(default)]
    pub network: Network,
    /// The network's name, in the words of the first generation; `network_infos` has it in those of the second.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub network_name: String,
    #[serde(default)]
    pub network_infos: Vec<NetworkInfo>,
    /// Further flags of `docker run`.
    #[serde(default)]
    pub parameters: Vec<Pair>,
    #[serde(default)]
    pub volumes: Vec<Volume>,
}

/// Whose container it is. Agents make both with Docker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Kind {
    #[default]
    Docker,
    Mesos,
}

/// In whatever case.
impl<'de> Deserialize<'de> for Kind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match String::deserialize(deserializer)?.to_ascii_uppercase().as_str() {
            "DOCKER" => Ok(Self::Docker),
            "MESOS" => Ok(Self::Mesos),
            _ => Err(serde::de::Error::custom("must be DOCKER or MESOS")),
        }
    }
}

/// Capital letters only, as Chronos has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Network {
    #[default]
    Host,
    Bridge,
    User,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NetworkInfo {
    #[serde(default)]
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<Protocol>,
    #[serde(default)]
    pub labels: Vec<Pair>,
    #[serde(default)]
    pub port_mappings: Vec<PortMapping>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Protocol {
    IPv4,
    IPv6,
}

/// A port of the agent that leads to one of the container. Ports are read as numbers or text and written as text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PortMapping {
    #[serde(deserialize_with = "port", serialize_with = "text")]
    pub host_port: u16,
    #[serde(deserialize_with = "port", serialize_with = "text")]
    pub container_port: u16,
    #[serde(default = "tcp")]
    pub protocol: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pair {
    pub key: String,
    #[serde(default)]
    pub value: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Volume {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_path: Option<String>,
    pub container_path: String,
    #[serde(default)]
    pub mode: Mode,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external: Option<External>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Mode {
    #[default]
    Rw,
    Ro,
}

/// A volume that a driver of Docker's keeps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct External {
    pub name: String,
    #[serde(default)]
    pub provider: String,
    #[serde(default)]
    pub options: Vec<Pair>,
}

impl Container {
    /// # Errors
    /// The first field that breaks a rule: what no agent could run is refused before it fails every night.
    pub fn check(&self) -> Result<(), Refusal> {
        if self.image.is_empty() {
            return Ok(());
        }
        if self.r#type == Kind::Docker {
            if self.network == Network::User && self.network_name().is_empty() {
                return Err(Refusal::field(
                    "container.networkName",
                    "must name the network when container.network is USER",
                ));
            }
            if self.network == Network::Host && self.port_mappings().next().is_some() {
                return Err(Refusal::field(
                    "container.networkInfos",
                    "must have no portMappings when container.network is HOST",
                ));
            }
        }
        for mapping in self.port_mappings() {
            if !["tcp", "udp"].contains(&mapping.protocol.to_ascii_lowercase().as_str()) {
                return Err(Refusal::field(
                    "container.networkInfos.portMappings.protocol",
                    "must be tcp or udp",
                ));
            }
        }
        for (at, volume) in self.volumes.iter().enumerate() {
            if volume.host_path.is_some() == volume.external.is_some() {
                let field = format!("container.volumes[{at}]");
                return Err(Refusal::field(&field, "must have either a hostPath or an external volume"));
            }
        }
        Ok(())
    }

    /// The network's name, in whichever words it was given; empty: none.
    pub fn network_name(&self) -> &str {
        let named = self.network_infos.iter().map(|info| info.name.as_str());
        named.chain([self.network_name.as_str()]).find(|name| !name.is_empty()).unwrap_or_default()
    }

    /// Those of all networks.
    pub fn port_mappings(&self) -> impl Iterator<Item = &PortMapping> {
        self.network_infos.iter().flat_map(|info| &info.port_mappings)
    }

    /// Labels of its networks, by key.
    pub fn network_labels(&self) -> BTreeMap<&str, &str> {
        let labels = self.network_infos.iter().flat_map(|info| &info.labels);
        labels.map(|pair| (pair.key.as_str(), pair.value.as_str())).collect()
    }
}

fn tcp() -> String {
    "tcp".to_owned()
}

/// Clients send `true` and `"true"`.
fn truth<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::Bool(truth) => Ok(truth),
        Value::String(text) if text.eq_ignore_ascii_case("true") => Ok(true),
        Value::String(text) if text.eq_ignore_ascii_case("false") => Ok(false),
        other => Err(serde::de::Error::custom(format!("{other} must be true or false"))),
    }
}

fn port<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u16, D::Error> {
    let given = Value::deserialize(deserializer)?;
    let number = match &given {
        Value::Number(number) => number.as_u64().and_then(|number| u16::try_from(number).ok()),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    let number = number.filter(|number| *number != 0);
    number.ok_or_else(|| serde::de::Error::custom(format!("{given} must be a port from 1 to 65535")))
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives references")]
fn text<S: serde::Serializer>(port: &u16, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(port)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Container, String> {
        serde_json::from_str(json).map_err(|error| error.to_string())
    }

    fn refusal(json: &str) -> String {
        read(json).unwrap().check().unwrap_err().to_string()
    }

    #[test]
    fn an_image_is_enough() {
        let container = read(r#"{"image": "busybox"}"#).unwrap();
        assert_eq!((container.r#type, container.network), (Kind::Docker, Network::Host));
        assert!(container.check().is_ok());
    }

    #[test]
    fn words_of_either_generation_and_case_are_read() {
        let container = read(r#"{"type": "mesos", "image": "a", "forcePullImage": "TRUE"}"#).unwrap();
        assert_eq!((container.r#type, container.force_pull_image), (Kind::Mesos, true));
        let old = read(r#"{"image": "a", "network": "USER", "networkName": "blue"}"#).unwrap();
        let new = read(r#"{"image": "a", "network": "USER", "networkInfos": [{"name": "blue"}]}"#).unwrap();
        assert_eq!((old.network_name(), new.network_name()), ("blue", "blue"));
        assert!(read(r#"{"image": "a", "network": "bridge"}"#).is_err());
    }

    #[test]
    fn ports_are_given_back_as_text() {
        let json = r#"{"image": "a", "network": "BRIDGE", "networkInfos": [
            {"portMappings": [{"hostPort": 31000, "containerPort": "80"}]}]}"#;
        let container = read(json).unwrap();
        assert!(container.check().is_ok());
        let written = serde_json::to_value(&container).unwrap();
        let mapping = serde_json::json!({ "hostPort": "31000", "containerPort": "80", "protocol": "tcp" });
        assert_eq!(written["networkInfos"][0]["portMappings"][0], mapping);
        assert_eq!(serde_json::from_value::<Container>(written).unwrap(), container);
        assert!(read(&json.replace("31000", "0")).unwrap_err().contains("must be a port from 1 to 65535"));
    }

    #[test]
    fn what_no_agent_could_run_is_refused() {
        let user = refusal(r#"{"image": "a", "network": "USER"}"#);
        assert!(user.contains("container.networkName must name the network"), "{user}");
        let mapped = refusal(
            r#"{"image": "a", "networkInfos": [{"portMappings": [{"hostPort": 1, "containerPort": 1}]}]}"#,
        );
        assert!(mapped.contains("must have no portMappings when container.network is HOST"), "{mapped}");
        let volume = refusal(r#"{"image": "a", "volumes": [{"containerPath": "/a"}]}"#);
        assert!(volume.contains("container.volumes[0] must have either a hostPath"), "{volume}");
    }
}
