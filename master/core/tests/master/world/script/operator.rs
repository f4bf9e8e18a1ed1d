//! The operator's commands of transcripts: `op NAME ...`.

use master_core::call::{Explain, OperatorCall};
use master_core::input::StreamId;
use master_core::registry::MaintenanceCommand;
use wire::master::Call;
use wire::master::call::Type;
use wire::v1;

use super::{Args, Script, target};

impl Script {
    pub(super) fn operator(&mut self, args: &Args<'_>) -> Option<String> {
        let name = |place: usize| args.at(place).to_owned();
        let call = match args.at(0) {
            "read" => OperatorCall::Read,
            "subscribe" => OperatorCall::Subscribe { stream: StreamId(name(1).into()) },
            "explain" => OperatorCall::Explain(Explain {
                framework: args.get("framework").map(Into::into),
                role: args.get("role").map(|role| role.parse().expect("a role")),
                agent: args.get("agent").map(Into::into),
            }),
            "teardown" => OperatorCall::Teardown(name(1).into()),
            "gone" => OperatorCall::MarkAgentGone(name(1).into()),
            "deactivate" => OperatorCall::Deactivate { agent: name(1).into(), deactivated: true },
            kind @ ("RESERVE" | "UNRESERVE" | "CREATE" | "DESTROY") => {
                let call = operator_change(kind, name(1), target(args));
                match OperatorCall::decode(call, StreamId("unused".into())) {
                    Ok(call) => call,
                    Err(refusal) => panic!("the edge refuses it: {refusal}"),
                }
            }
            "drain" => {
                let call = Call {
                    r#type: Some(Type::DrainAgent.into()),
                    drain_agent: Some(wire::master::call::DrainAgent {
                        agent_id: v1::AgentId { value: name(1) },
                        max_grace_period: args
                            .number("grace")
                            .map(|seconds| wire::Duration { seconds: seconds as i64, nanos: 0 }),
                        mark_gone: args.has("mark-gone").then_some(true),
                    }),
                    ..Call::default()
                };
                OperatorCall::decode(call, StreamId("unused".into())).expect("a whole call")
            }
            "schedule" => {
                // `host1,host2@1000+60`: from the thousandth second on, for sixty.
                let window = |text: &String| {
                    let (machines, away) = text.split_once('@').expect("machines@start");
                    let (start, duration) = away.split_once('+').map_or((away, None), |(a, b)| (a, Some(b)));
                    let number = |text: &str| text.parse::<i64>().expect("a number");
                    wire::maintenance::Window {
                        machine_ids: machines.split(',').map(machine).collect(),
                        unavailability: v1::Unavailability {
                            start: v1::TimeInfo { nanoseconds: number(start) },
                            duration: duration.map(|text| v1::DurationInfo { nanoseconds: number(text) }),
                        },
                    }
                };
                let call = Call {
                    r#type: Some(Type::UpdateMaintenanceSchedule.into()),
                    update_maintenance_schedule: Some(wire::master::call::UpdateMaintenanceSchedule {
                        schedule: wire::maintenance::Schedule {
                            windows: args.plain[1..].iter().map(window).collect(),
                        },
                    }),
                    ..Call::default()
                };
                OperatorCall::decode(call, StreamId("unused".into())).expect("a whole call")
            }
            "down" => OperatorCall::Maintain(MaintenanceCommand::down(machines(args))),
            "up" => OperatorCall::Maintain(MaintenanceCommand::up(machines(args))),
            "reactivate" => OperatorCall::Deactivate { agent: name(1).into(), deactivated: false },
            "weight" => {
                let call = Call {
                    r#type: Some(Type::UpdateWeights.into()),
                    update_weights: Some(wire::master::call::UpdateWeights {
                        weight_infos: vec![v1::WeightInfo {
                            weight: args.float("weight").unwrap_or(1.0),
                            role: args.get("role").map(str::to_owned),
                        }],
                    }),
                    ..Call::default()
                };
                OperatorCall::decode(call, StreamId("unused".into())).expect("a whole call")
            }
            "quota" => match self.quota_call(args) {
                Ok(call) => call,
                Err(fault) => return Some(format!("edge {fault}")),
            },
            other => panic!("there is no operator's call `{other}`"),
        };
        self.world.operator(call);
        None
    }

    /// `op quota role=r guarantee=cpus:1 limit=cpus:4;mem:1024 force`.
    fn quota_call(&self, args: &Args<'_>) -> Result<OperatorCall, String> {
        let amounts = |name: &str| {
            let all = args.get(name).unwrap_or_default().split(';').filter_map(|part| part.split_once(':'));
            all.map(|(kind, value)| {
                let value = value.parse().expect("a number");
                (kind.to_owned(), v1::value::Scalar { value })
            })
            .collect()
        };
        let config = wire::quota::QuotaConfig {
            role: args.get("role").unwrap_or_default().to_owned(),
            guarantees: amounts("guarantee"),
            limits: amounts("limit"),
        };
        let call = Call {
            r#type: Some(Type::UpdateQuota.into()),
            update_quota: Some(wire::master::call::UpdateQuota {
                force: Some(args.has("force")),
                quota_configs: vec![config],
            }),
            ..Call::default()
        };
        OperatorCall::decode(call, StreamId("unused".into())).map_err(|refusal| refusal.to_string())
    }
}

fn operator_change(kind: &str, agent: String, resources: Vec<v1::Resource>) -> Call {
    use wire::master::call::{CreateVolumes, DestroyVolumes, ReserveResources, UnreserveResources};
    let agent_id = v1::AgentId { value: agent };
    let mut call = Call::default();
    let kind = match kind {
        "RESERVE" => {
            call.reserve_resources = Some(ReserveResources { agent_id, resources, source: Vec::new() });
            Type::ReserveResources
        }
        "UNRESERVE" => {
            call.unreserve_resources = Some(UnreserveResources { agent_id, resources });
            Type::UnreserveResources
        }
        "CREATE" => {
            call.create_volumes = Some(CreateVolumes { agent_id, volumes: resources });
            Type::CreateVolumes
        }
        _ => {
            call.destroy_volumes = Some(DestroyVolumes { agent_id, volumes: resources });
            Type::DestroyVolumes
        }
    };
    call.r#type = Some(kind.into());
    call
}

fn machines(args: &Args<'_>) -> Vec<v1::MachineId> {
    args.plain[1..].iter().map(|text| machine(text)).collect()
}

/// `host`, `/address` or `host/address`.
fn machine(text: &str) -> v1::MachineId {
    let (hostname, ip) = text.split_once('/').unwrap_or((text, ""));
    let member = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    v1::MachineId { hostname: member(hostname), ip: member(ip) }
}
