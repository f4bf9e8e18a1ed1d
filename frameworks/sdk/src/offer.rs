//! Offers, and taking from them what tasks need.

use std::collections::BTreeMap;
use std::str::FromStr;

use model::attributes::{AttributeValue, Attributes};
use model::id::{AgentId, OfferId};
use model::ranges::Ranges;
use model::resources::{Bag, Item, Name, Value};
use model::role::Role;
use wire::v1;

/// Resources of one agent, offered to one role of the framework until it answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// What an answer names.
    pub id: OfferId,
    /// Whose resources they are.
    pub agent: AgentId,
    /// The agent's name on the network.
    pub hostname: String,
    /// The role whose share they count against.
    pub role: Role,
    /// What is left: [`Offer::take`] takes from it.
    pub resources: Bag,
    /// What the operator says of the agent.
    pub attributes: Attributes,
    /// The agent's region and zone, where it has any.
    pub domain: Option<(String, String)>,
}

/// Why an offer cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("offer {id} cannot be read: {reason}")]
pub struct OfferError {
    /// Which.
    pub id: OfferId,
    /// The field and the rule.
    pub reason: String,
}

impl Offer {
    /// Reads an offer as it came.
    ///
    /// # Errors
    /// Its role, its resources or its attributes break a rule of the protocol.
    pub fn from_wire(offer: v1::Offer) -> Result<Self, OfferError> {
        let id = OfferId::from(offer.id);
        let unreadable = |reason: String| OfferError { id: id.clone(), reason };
        let role = offer.allocation_info.and_then(|info| info.role).unwrap_or_else(|| "*".to_owned());
        let role = role.parse::<Role>().map_err(|error| unreadable(error.to_string()))?;
        let resources = Bag::from_wire(&offer.resources).map_err(|error| unreadable(error.to_string()))?;
        let attributes =
            Attributes::from_wire(&offer.attributes).map_err(|error| unreadable(error.to_string()))?;
        let domain = offer.domain.and_then(|domain| domain.fault_domain);
        Ok(Self {
            agent: offer.agent_id.into(),
            hostname: offer.hostname,
            role,
            resources,
            attributes,
            domain: domain.map(|domain| (domain.region.name, domain.zone.name)),
            id,
        })
    }

    /// What placement rules may ask about, as text: `hostname`, `@region`, `@zone` and the attributes, of which the
    /// first of a name counts. Intervals are written without spaces.
    pub fn fields(&self) -> BTreeMap<String, String> {
        let mut fields = BTreeMap::from([("hostname".to_owned(), self.hostname.clone())]);
        if let Some((region, zone)) = &self.domain {
            fields.insert("@region".to_owned(), region.clone());
            fields.insert("@zone".to_owned(), zone.clone());
        }
        for (name, value) in self.attributes.iter() {
            fields.entry(name.to_owned()).or_insert_with(|| text(value));
        }
        fields
    }

    /// Takes what one task needs, and leaves the rest for the next. `None` changes nothing: it does not fit.
    ///
    /// What is reserved for the role is taken first. Ports are taken in a row from a place that differs from offer to
    /// offer, so that a port just given up is not soon given to another.
    ///
    /// ```
    /// # use sdk::offer::{Need, Offer};
    /// # let resources = "cpus:1;mem:100;ports:[31000-31005]".parse::<Need>().unwrap().wanted().to_wire(model::resources::Form::Stack);
    /// # let wire = wire::v1::Offer { id: wire::v1::OfferId { value: "O1".into() }, resources, ..Default::default() };
    /// # let mut offer = Offer::from_wire(wire).unwrap();
    /// let need: Need = "cpus:0.5;mem:32".parse::<Need>()?.with_ports(2);
    /// let mut taken = Vec::new();
    /// while let Some(share) = offer.take(&need) {
    ///     taken.push(share.ports.len());
    /// }
    /// assert_eq!(taken, [2, 2]);
    /// assert_eq!((offer.resources.cpus().as_f64(), offer.resources.ports().count()), (0.0, 2));
    /// # Ok::<(), sdk::offer::NeedError>(())
    /// ```
    pub fn take(&mut self, need: &Need) -> Option<Share> {
        let free = self.resources.ports();
        // FNV-1a: spreads the starts, and is the same for the same offer.
        let start = self.id.as_str().bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        let ports = ports(&free, need.ports, start)?;
        let mut wanted = need.resources.clone();
        let numbers = ports.iter().map(|port| (u64::from(*port), u64::from(*port)));
        if let Ok(ranges) = Ranges::covering(numbers)
            && !ranges.is_empty()
        {
            wanted.insert(Item::plain(Name::Ports, Value::Ranges(ranges)));
        }
        let resources = self.resources.find(&wanted, &self.role)?;
        self.resources.remove(&resources);
        Some(Share { agent: self.agent.clone(), resources, ports })
    }
}

/// An attribute as constraints see it.
fn text(value: &AttributeValue) -> String {
    match value {
        AttributeValue::Ranges(_) | AttributeValue::Set(_) => value.to_string().replace(", ", ","),
        AttributeValue::Scalar(_) | AttributeValue::Text(_) => value.to_string(),
    }
}

/// `count` of the free ports in a row, from the `start`th on and around; `None` when there are fewer.
pub fn ports(free: &Ranges, count: usize, start: u64) -> Option<Vec<u16>> {
    let total = free.count();
    if total < count as u64 {
        return None;
    }
    if count == 0 {
        return Some(Vec::new());
    }
    let start = start % total;
    (start..).take(count).map(|at| nth(free, at % total)).collect()
}

/// The `at`th number of the ranges. Walks intervals, not numbers: an offer has tens of thousands of ports.
fn nth(ranges: &Ranges, mut at: u64) -> Option<u16> {
    for range in ranges.as_slice() {
        let size = range.last - range.first + 1;
        if at < size {
            return u16::try_from(range.first + at).ok();
        }
        at -= size;
    }
    None
}

/// What one task needs. Read from the text that agents' `--resources` take: `cpus:0.5;mem:64`, `ports:[8080-8080]` for
/// certain ports; [`Need::with_ports`] for any.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Need {
    resources: Bag,
    ports: usize,
}

/// Why a text is no need.
#[derive(Debug, thiserror::Error)]
#[error("'{text}' is no list of resources like 'cpus:0.5;mem:64': {reason}")]
pub struct NeedError {
    /// What was given.
    pub text: String,
    /// The rule.
    pub reason: String,
}

impl Need {
    /// And `count` ports, whichever are free.
    #[must_use]
    pub fn with_ports(mut self, count: usize) -> Self {
        self.ports = count;
        self
    }

    /// A need of these amounts, which the caller has put together without reservations.
    pub fn from_bag(resources: Bag) -> Self {
        Self { resources, ports: 0 }
    }

    /// What is wanted by amount; without the ports of [`Need::with_ports`].
    pub fn wanted(&self) -> &Bag {
        &self.resources
    }
}

impl FromStr for Need {
    type Err = NeedError;

    fn from_str(text: &str) -> Result<Self, NeedError> {
        let refused = |reason: String| NeedError { text: text.to_owned(), reason };
        let resources = Bag::parse(text).map_err(|error| refused(error.to_string()))?;
        if !resources.is_plain() {
            return Err(refused("whose reservations are used is decided by the offer".to_owned()));
        }
        Ok(Self { resources, ports: 0 })
    }
}

/// What was taken for one task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Share {
    /// Where.
    pub agent: AgentId,
    /// With the reservations they were taken from.
    pub resources: Bag,
    /// The ports of [`Need::with_ports`], in the order of taking.
    pub ports: Vec<u16>,
}

#[cfg(test)]
mod tests {
    use model::resources::Form;
    use proptest::prelude::*;

    use super::*;

    fn offer(resources: &str) -> Offer {
        Offer {
            id: "O".into(),
            agent: "S".into(),
            hostname: "host".to_owned(),
            role: "*".parse().unwrap(),
            resources: Bag::parse(resources).unwrap(),
            attributes: Attributes::parse("rack:a;slots:[1-2,4-5]").unwrap(),
            domain: Some(("r".to_owned(), "z".to_owned())),
        }
    }

    #[test]
    fn what_does_not_fit_takes_nothing() {
        let mut some = offer("cpus:1;mem:64;ports:[1-2]");
        let before = some.clone();
        for need in ["cpus:1.1", "cpus:1;mem:65", "gpus:1", "ports:[2-3]"] {
            assert_eq!(some.take(&need.parse().unwrap()), None, "{need}");
        }
        assert_eq!(some.take(&Need::default().with_ports(3)), None);
        assert_eq!(some, before);
    }

    #[test]
    fn rules_see_the_agent_as_text() {
        let fields: Vec<String> =
            offer("cpus:1").fields().into_iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(fields, ["@region=r", "@zone=z", "hostname=host", "rack=a", "slots=[1-2,4-5]"]);
    }

    #[test]
    fn a_need_says_what_is_wrong() {
        let error = |text: &str| text.parse::<Need>().unwrap_err().to_string();
        assert!(error("cpus").starts_with("'cpus' is no list of resources like 'cpus:0.5;mem:64': "));
        assert!(error("cpus(web):1").ends_with("whose reservations are used is decided by the offer"));
    }

    #[test]
    fn an_offer_with_a_bad_role_is_refused_by_name() {
        let wire = v1::Offer {
            id: v1::OfferId { value: "O7".to_owned() },
            allocation_info: Some(v1::resource::AllocationInfo { role: Some("a//b".to_owned()) }),
            ..Default::default()
        };
        assert!(Offer::from_wire(wire).unwrap_err().to_string().starts_with("offer O7 cannot be read: "));
    }

    proptest! {
        /// Whatever is taken, in whatever order: it was there, no two have a port in common, and nothing is lost.
        #[test]
        fn shares_and_the_rest_are_the_offer(
            needs in prop::collection::vec((0u32..2000, 0u32..50, 0usize..4), 0..12),
            id in "[a-z0-9]{1,8}",
        ) {
            let mut some = Offer { id: id.as_str().into(), ..offer("cpus:4;mem:100;ports:[10-14,20-22]") };
            let whole = some.resources.clone();
            let mut sum = Bag::new();
            let mut seen = Vec::new();
            for (millis, mem, count) in needs {
                let text = format!("cpus:{};mem:{mem}", f64::from(millis) / 1000.0);
                let need = text.parse::<Need>().unwrap().with_ports(count);
                if let Some(share) = some.take(&need) {
                    prop_assert_eq!(share.ports.len(), count);
                    prop_assert!(share.ports.iter().all(|port| !seen.contains(port)));
                    seen.extend(&share.ports);
                    sum += &share.resources;
                }
            }
            let back = sum + &some.resources;
            prop_assert_eq!(back.to_wire(Form::Stack), whole.to_wire(Form::Stack));
        }
    }
}
