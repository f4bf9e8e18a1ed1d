//! Apps that wait for offers, with the reasons.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::App;

/// Answer of `GET /v2/queue`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Queue {
    pub queue: Vec<QueueItem>,
}

/// An app with instances still to launch, and why they wait.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct QueueItem {
    pub app: App,
    pub count: u32,
    pub delay: Delay,
    pub since: String,
    pub processed_offers_summary: ProcessedOffersSummary,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_unused_offers: Option<Vec<UnusedOffer>>,
}

/// `overdue` means: not backing off, waiting for offers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Delay {
    pub time_left_seconds: u64,
    pub overdue: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ProcessedOffersSummary {
    pub processed_offers_count: u64,
    pub unused_offers_count: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_unused_offer_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_used_offer_at: Option<String>,
    /// Over the last offer of each agent.
    pub reject_summary_last_offers: Vec<RejectSummary>,
    /// Over every offer since the app began to wait.
    pub reject_summary_launch_attempt: Vec<RejectSummary>,
}

/// One test of the funnel: how many offers reached it, how many it turned away.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RejectSummary {
    pub reason: String,
    pub declined: u64,
    pub processed: u64,
}

/// The last offer of an agent that could not be used.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct UnusedOffer {
    pub offer: OfferSummary,
    pub reason: Vec<String>,
    pub timestamp: String,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OfferSummary {
    pub id: String,
    pub hostname: String,
    pub agent_id: String,
    pub resources: Vec<UnusedOfferResource>,
    pub attributes: Vec<Value>,
}

/// A resource of an offer: `scalar` or `ranges`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct UnusedOfferResource {
    pub name: String,
    pub role: String,
    #[serde(flatten)]
    pub value: serde_json::Map<String, Value>,
}
