//! RESERVE_RESOURCES, UNRESERVE_RESOURCES, CREATE_VOLUMES and DESTROY_VOLUMES, in both codecs.

use std::net::SocketAddr;

use serde_json::{Value, json};
use wire::master::Call;
use wire::master::call::{CreateVolumes, DestroyVolumes, ReserveResources, Type, UnreserveResources};
use wire::v1::{self, AgentId, Resource};

use crate::agent::{TestAgent, hello, scalar};
use crate::client::{Answer, JSON, TestMaster, get, post, raw, request, until};

const PROTOBUF: &str = "Content-Type: application/x-protobuf\r\n";

fn call(kind: Type, agent: &str, resources: &[Resource]) -> Call {
    let agent_id = AgentId { value: agent.to_owned() };
    let resources = resources.to_vec();
    let mut call = Call { r#type: Some(kind.into()), ..Call::default() };
    match kind {
        Type::ReserveResources => {
            call.reserve_resources = Some(ReserveResources { agent_id, resources, source: Vec::new() });
        }
        Type::UnreserveResources => {
            call.unreserve_resources = Some(UnreserveResources { agent_id, resources });
        }
        Type::CreateVolumes => call.create_volumes = Some(CreateVolumes { agent_id, volumes: resources }),
        _ => call.destroy_volumes = Some(DestroyVolumes { agent_id, volumes: resources }),
    }
    call
}

async fn send(at: SocketAddr, media: &str, call: &Call) -> Answer {
    let body = if media == JSON { wire::json::to_vec(call) } else { wire::protobuf::encode(call).to_vec() };
    raw(at, &request("/api/v1", media, &body)).await
}

/// Reserved to a role by an operator.
fn reserved(name: &str, value: f64, role: &str) -> Resource {
    let reservation = v1::resource::ReservationInfo {
        r#type: Some(v1::resource::reservation_info::Type::Dynamic.into()),
        role: Some(role.to_owned()),
        ..v1::resource::ReservationInfo::default()
    };
    Resource { reservations: vec![reservation], ..scalar(name, value) }
}

fn volume(value: f64, role: &str, id: &str) -> Resource {
    let disk = v1::resource::DiskInfo {
        persistence: Some(v1::resource::disk_info::Persistence { id: id.to_owned(), principal: None }),
        volume: Some(v1::Volume {
            container_path: "data".to_owned(),
            mode: v1::volume::Mode::Rw.into(),
            ..v1::Volume::default()
        }),
        source: None,
    };
    Resource { disk: Some(disk), ..reserved("disk", value, role) }
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_reserve_and_make_volumes_in_either_codec() {
    let temp = tempfile::tempdir().expect("a temporary directory");
    let master = TestMaster::alone(temp.path()).await;
    let at = master.address;
    let agent = TestAgent::start(at, hello("box", vec![scalar("cpus", 4.0), scalar("disk", 100.0)])).await;
    for media in [JSON, PROTOBUF] {
        let send = async |kind: Type, resources: &[Resource], status: u16, text: &str| {
            let answer = send(at, media, &call(kind, &agent.id, resources)).await;
            assert_eq!(answer.status, status, "{media} {kind:?}: {}", answer.text());
            assert!(answer.text().ends_with(text), "{media} {kind:?}: {}", answer.text());
            assert_eq!(answer.text().is_empty(), text.is_empty(), "{media} {kind:?}");
        };
        let of_web =
            async || get(at, "/slaves").await.json()["slaves"][0]["reserved_resources"]["web"].clone();
        let disk = [reserved("disk", 50.0, "web")];
        let made = [volume(10.0, "web", "v")];
        send(Type::ReserveResources, &disk, 202, "").await;
        assert_eq!(of_web().await["disk"], json!(50.0));
        send(
            Type::ReserveResources,
            &[reserved("cpus", 1e6, "web")],
            409,
            "cpus:4; disk:50; disk(reservations: [(DYNAMIC,web)]):50 does not contain cpus:1000000",
        )
        .await;
        send(
            Type::ReserveResources,
            &[scalar("cpus", -1.0)],
            400,
            "Failed to validate master::Call: Resource 'cpus:-1' is invalid: Invalid scalar resource: value <= 0",
        )
        .await;
        send(Type::CreateVolumes, &made, 202, "").await;
        send(
            Type::CreateVolumes,
            &made,
            400,
            "Failed to validate master::Call: Persistence ID 'v' is in use already",
        )
        .await;
        send(
            Type::UnreserveResources,
            &disk,
            409,
            "[v:data]:10 does not contain disk(reservations: [(DYNAMIC,web)]):50",
        )
        .await;
        let full = get(at, "/slaves").await.json()["slaves"][0]["reserved_resources_full"]["web"].clone();
        let ids: Vec<&Value> =
            full.as_array().expect("a list").iter().map(|one| &one["disk"]["persistence"]["id"]).collect();
        assert!(ids.contains(&&json!("v")), "{full}");
        send(Type::DestroyVolumes, &made, 202, "").await;
        send(
            Type::DestroyVolumes,
            &made,
            409,
            "does not contain disk(reservations: [(DYNAMIC,web)])[v:data]:10",
        )
        .await;
        send(Type::UnreserveResources, &disk, 202, "").await;
        assert_eq!(of_web().await, Value::Null);
        // The agent has said of each that it is done, which is the end of it.
        until("no operation is left", async || {
            let operations = post(at, "/api/v1", &json!({"type": "GET_OPERATIONS"})).await.json();
            operations["get_operations"]["operations"].as_array().is_none_or(Vec::is_empty)
        })
        .await;
    }
    let unknown =
        send(at, JSON, &call(Type::ReserveResources, "nobody", &[reserved("cpus", 1.0, "web")])).await;
    assert_eq!((unknown.status, unknown.text().as_str()), (400, "Unknown agent"));
    let bare = json!({"type": "CREATE_VOLUMES"});
    let bare = post(at, "/api/v1", &bare).await;
    assert_eq!(
        (bare.status, bare.text().as_str()),
        (400, "Failed to validate master::Call: Expecting 'create_volumes' to be present")
    );
    let metrics = get(at, "/metrics/snapshot").await.json();
    for (name, value) in [
        ("master/operations/reserve/finished", 2.0),
        ("master/operations/destroy/finished", 2.0),
        ("master/operations/pending", 0.0),
        ("master/operations/total", 8.0),
    ] {
        assert_eq!(metrics[name], json!(value), "{name}");
    }
    master.stop().await;
}
