//! Apps that wait for offers, each with the reasons why the offers seen did not do.

use model::resources::{Item, Value as Amount};
use model::time::Time;
use serde_json::{Map, Value, json};
use wire::marathon::{
    Delay, OfferSummary, ProcessedOffersSummary, Queue, QueueItem, RejectSummary, UnusedOffer, UnusedOfferResource,
};

use crate::core::offer::Offer;
use crate::core::queue::{Funnel, Unused, Waiting};
use crate::core::render::render;
use crate::core::version::stamp;
use crate::supervisor::state::State;

/// The whole queue, with the last unused offers when they were asked for.
pub(in crate::http) fn queue(state: &State, offers: bool, now: Time) -> Queue {
    let items = state.waiting.iter().filter_map(|(app, waiting)| {
        let definition = state.definition(app)?;
        Some(QueueItem {
            app: render(definition),
            count: waiting.count,
            delay: delay(waiting, now),
            since: stamp(waiting.since),
            processed_offers_summary: summary(waiting),
            last_unused_offers: offers.then(|| waiting.last_unused_offers().map(unused).collect()),
        })
    });
    Queue { queue: items.collect() }
}

fn delay(waiting: &Waiting, now: Time) -> Delay {
    let left = waiting.delayed_until.map_or(0, |until| (until - now).as_millis());
    Delay { time_left_seconds: left.div_ceil(1000), overdue: left == 0 }
}

fn summary(waiting: &Waiting) -> ProcessedOffersSummary {
    ProcessedOffersSummary {
        processed_offers_count: waiting.processed,
        unused_offers_count: waiting.unused,
        last_unused_offer_at: waiting.last_unused.map(stamp),
        last_used_offer_at: waiting.last_used.map(stamp),
        reject_summary_last_offers: waiting.last_offers().iter().map(reject).collect(),
        reject_summary_launch_attempt: waiting.attempt().iter().map(reject).collect(),
    }
}

fn reject(step: &Funnel) -> RejectSummary {
    RejectSummary { reason: step.misfit.name().to_owned(), declined: step.declined, processed: step.processed }
}

fn unused(unused: &Unused) -> UnusedOffer {
    UnusedOffer {
        offer: offer(&unused.offer),
        reason: unused.misfits.iter().map(|misfit| misfit.name().to_owned()).collect(),
        timestamp: stamp(unused.at),
    }
}

fn offer(offer: &Offer) -> OfferSummary {
    let attribute = |(name, value): (&String, &String)| json!({ "name": name, "text": value });
    OfferSummary {
        id: offer.id.to_string(),
        hostname: offer.hostname.clone(),
        agent_id: offer.agent.to_string(),
        resources: offer.resources.iter().map(|item| resource(item, offer)).collect(),
        attributes: offer.fields.iter().filter(|(name, _)| !name.starts_with('@')).map(attribute).collect(),
    }
}

fn resource(item: &Item, offer: &Offer) -> UnusedOfferResource {
    let mut value = Map::new();
    match item.value() {
        Amount::Scalar(quantity) => value.insert("scalar".to_owned(), json!(quantity.as_f64())),
        Amount::Ranges(ranges) => {
            let ranges: Vec<Value> =
                ranges.as_slice().iter().map(|range| json!({ "begin": range.first, "end": range.last })).collect();
            value.insert("ranges".to_owned(), ranges.into())
        }
        Amount::Set(items) => {
            let items: Vec<&str> = items.iter().collect();
            value.insert("set".to_owned(), json!(items))
        }
    };
    UnusedOfferResource { name: item.name().to_string(), role: offer.role.to_string(), value }
}
