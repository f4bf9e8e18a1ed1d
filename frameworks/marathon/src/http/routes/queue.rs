//! `/v2/queue`: what waits, and why.

use http::Method;
use model::resources::Value;
use model::time::Time;
use serde_json::json;
use wire::marathon::{
    Delay, OfferSummary, ProcessedOffersSummary, Queue, QueueItem, RejectSummary, UnusedOffer,
    UnusedOfferResource,
};

use super::{app_id, now, unknown_route, wrong_method};
use crate::core::queue::{Funnel, Unused, Waiting};
use crate::core::render::render;
use crate::core::version::stamp;
use crate::http::respond::{Answered, ok};
use crate::http::{Api, Call};
use crate::supervisor::message::Command;

pub(super) async fn route(api: &Api, call: &Call, rest: &[&str]) -> Answered {
    match (call.method(), rest) {
        (&Method::GET, []) => list(api, call).await,
        (&Method::DELETE, [id @ .., "delay"]) => {
            let reply = api.command(call, Command::ResetDelay { app: app_id(id)? }).await?;
            Ok(super::apps::changed(&reply))
        }
        (_, [] | [.., "delay"]) => Err(wrong_method()),
        _ => Err(unknown_route()),
    }
}

async fn list(api: &Api, call: &Call) -> Answered {
    let state = api.view().await?;
    let with_offers = call.query.all("embed").any(|embed| embed == "lastUnusedOffers");
    let items = state.waiting.iter().filter(|(_, waiting)| waiting.count > 0).filter_map(|(app, waiting)| {
        let app = state.definition(app)?;
        Some(QueueItem {
            app: render(app),
            count: waiting.count,
            delay: delay(waiting, now()),
            since: stamp(waiting.since),
            processed_offers_summary: summary(waiting),
            last_unused_offers: with_offers.then(|| waiting.last_unused_offers().map(unused_offer).collect()),
        })
    });
    ok(&Queue { queue: items.collect() })
}

fn delay(waiting: &Waiting, now: Time) -> Delay {
    let left = waiting.delayed_until.map_or(0, |until| until.since(now).as_millis().div_ceil(1000));
    Delay { time_left_seconds: left, overdue: left == 0 }
}

fn summary(waiting: &Waiting) -> ProcessedOffersSummary {
    let rejects = |funnel: Vec<Funnel>| {
        let step = |step: Funnel| RejectSummary {
            reason: step.misfit.name().to_owned(),
            declined: step.declined,
            processed: step.processed,
        };
        funnel.into_iter().map(step).collect()
    };
    ProcessedOffersSummary {
        processed_offers_count: waiting.processed,
        unused_offers_count: waiting.unused,
        last_unused_offer_at: waiting.last_unused.map(stamp),
        last_used_offer_at: waiting.last_used.map(stamp),
        reject_summary_last_offers: rejects(waiting.last_offers()),
        reject_summary_launch_attempt: rejects(waiting.attempt()),
    }
}

fn unused_offer(unused: &Unused) -> UnusedOffer {
    let offer = &unused.offer;
    let resource = |item: &model::resources::Item| {
        let value = match item.value() {
            Value::Ranges(ranges) => {
                let all =
                    ranges.as_slice().iter().map(|range| json!({"begin": range.first, "end": range.last}));
                [("ranges".to_owned(), all.collect())]
            }
            Value::Set(set) => [("set".to_owned(), set.iter().map(|name| json!(&**name)).collect())],
            scalar => [("scalar".to_owned(), json!(scalar.quantity().as_f64()))],
        };
        UnusedOfferResource {
            name: item.name().to_string(),
            role: item.reserved_to().map_or_else(|| "*".to_owned(), ToString::to_string),
            value: value.into_iter().collect(),
        }
    };
    let attributes = offer.fields.iter().filter(|(name, _)| *name != "hostname" && !name.starts_with('@'));
    UnusedOffer {
        offer: OfferSummary {
            id: offer.id.to_string(),
            hostname: offer.hostname.clone(),
            agent_id: offer.agent.to_string(),
            resources: offer.resources.iter().map(resource).collect(),
            attributes: attributes.map(|(name, text)| json!({"name": name, "text": text})).collect(),
        },
        reason: unused.misfits.iter().map(|misfit| misfit.name().to_owned()).collect(),
        timestamp: stamp(unused.at),
    }
}
