//! Payloads of server-sent events.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{App, Group, HealthCheck, IpAddress, Step};

/// The payload of one server-sent event; its `eventType` is the variant's name in snake case, which is also the name
/// of the event on the stream. The time is added by [`Event::to_json`], so that every event carries both.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "eventType", rename_all = "snake_case", rename_all_fields = "camelCase")]
pub enum Event {
    ApiPostEvent {
        client_ip: String,
        uri: String,
        app_definition: Box<App>,
    },
    StatusUpdateEvent {
        slave_id: String,
        task_id: String,
        task_status: String,
        message: String,
        app_id: String,
        host: String,
        ip_addresses: Vec<IpAddress>,
        ports: Vec<u16>,
        version: String,
    },
    EventStreamAttached {
        remote_address: String,
    },
    EventStreamDetached {
        remote_address: String,
    },
    AddHealthCheckEvent {
        app_id: String,
        version: String,
        health_check: HealthCheck,
    },
    RemoveHealthCheckEvent {
        app_id: String,
    },
    FailedHealthCheckEvent {
        app_id: String,
        task_id: String,
        instance_id: String,
        health_check: HealthCheck,
    },
    HealthStatusChangedEvent {
        app_id: String,
        task_id: String,
        instance_id: String,
        version: String,
        alive: bool,
    },
    UnhealthyInstanceKillEvent {
        app_id: String,
        task_id: String,
        instance_id: String,
        version: String,
        reason: String,
        host: String,
        slave_id: String,
    },
    GroupChangeSuccess {
        group_id: String,
        version: String,
    },
    GroupChangeFailed {
        group_id: String,
        version: String,
        reason: String,
    },
    DeploymentInfo {
        plan: EventPlan,
        current_step: EventStep,
    },
    DeploymentStepSuccess {
        plan: EventPlan,
        current_step: EventStep,
    },
    DeploymentStepFailure {
        plan: EventPlan,
        current_step: EventStep,
    },
    DeploymentSuccess {
        id: String,
        plan: EventPlan,
    },
    DeploymentFailed {
        id: String,
        plan: EventPlan,
        reason: String,
    },
    AppTerminatedEvent {
        app_id: String,
    },
    InstanceChangedEvent {
        instance_id: String,
        condition: String,
        run_spec_id: String,
        agent_id: Option<String>,
        host: Option<String>,
        run_spec_version: String,
    },
    InstanceHealthChangedEvent {
        instance_id: String,
        run_spec_id: String,
        healthy: Option<bool>,
        run_spec_version: String,
    },
    UnknownInstanceTerminatedEvent {
        instance_id: String,
        run_spec_id: String,
        condition: String,
    },
    SchedulerRegisteredEvent {
        framework_id: String,
        master: String,
    },
    SchedulerReregisteredEvent {
        master: String,
    },
    SchedulerDisconnectedEvent {},
    /// Ours: this instance is about to be killed; drainers let go of it and say so.
    InstanceDrainingEvent {
        app_id: String,
        instance_id: String,
        task_id: String,
        host: String,
        ports: Vec<u16>,
        deadline: String,
    },
}

/// A deployment inside an event. `original` and `target` are present unless the reader asked for the light form: one
/// client library fails without them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EventPlan {
    pub id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub original: Option<Box<Group>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<Box<Group>>,
    pub steps: Vec<Step>,
    pub version: String,
}

/// The step an event is about. In events this is an object, in `GET /v2/deployments` a number.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventStep {
    pub actions: Vec<super::Action>,
}

impl Event {
    /// The payload with its `timestamp`, as one JSON object.
    pub fn to_json(&self, timestamp: &str) -> Value {
        let mut value = serde_json::to_value(self).expect("an event has string keys only");
        let object = value.as_object_mut().expect("an event is an object");
        object.insert("timestamp".into(), timestamp.into());
        value
    }

    /// Reads a payload written by [`Event::to_json`] or by another server; keys it does not know are ignored.
    pub fn from_json(text: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(text)
    }
}

/// Takes `plan.original` and `plan.target` out of an event's payload.
pub fn lighten(payload: &mut Value) {
    if let Some(plan) = payload.get_mut("plan").and_then(Value::as_object_mut) {
        plan.shift_remove("original");
        plan.shift_remove("target");
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_payload_names_its_type_and_time() {
        let event = Event::HealthStatusChangedEvent {
            app_id: "/a".into(),
            task_id: "a.1".into(),
            instance_id: "a".into(),
            version: "v".into(),
            alive: false,
        };
        let value = event.to_json("2024-05-02T08:12:40.000Z");
        assert_eq!(
            value,
            json!({"eventType": "health_status_changed_event", "appId": "/a", "taskId": "a.1", "instanceId": "a",
                   "version": "v", "alive": false, "timestamp": "2024-05-02T08:12:40.000Z"})
        );
        assert_eq!(Event::from_json(value.to_string().as_bytes()).unwrap(), event);
    }

    #[test]
    fn a_light_plan_has_no_trees() {
        let plan = EventPlan {
            id: "d".into(),
            original: Some(Box::default()),
            target: Some(Box::default()),
            ..Default::default()
        };
        let mut value = Event::DeploymentSuccess { id: "d".into(), plan }.to_json("t");
        lighten(&mut value);
        assert_eq!(value["plan"], json!({"id": "d", "steps": [], "version": ""}));
    }
}
