//! How the first members agree on a group.
//!
//! Each first member is told the same list of addresses, itself among them. Ids cannot be derived from addresses: a
//! member whose disk was wiped would come back under its old id with its log gone, vote, and lose what it had acknowledged.
//! So each draws a random id for its disk, and one of them, the *founder* (the smallest address), collects the ids of
//! all the others, once, and writes down who the members are. Everybody else adopts that record, and only if it names
//! the id of the disk they hold. The record is unique, because only the founder makes one and it needs an answer from
//! everybody: a founder that has lost its disk is told by the others that a group exists already.
//!
//! The price: the very first start needs all first members once. After that a majority is enough, as ever.

use std::collections::BTreeMap;

use crate::error::Corrupt;
use crate::limits;
use crate::pack::{Packer, Unpacker};
use crate::types::{ClusterId, NodeId};

const HELLO_FORMAT: u32 = 1;

/// Who belongs to a new group; decided once, stored by every member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Founding {
    /// The group.
    pub cluster: ClusterId,
    /// Its first members and their addresses, ordered by address.
    pub members: Vec<(NodeId, String)>,
}

/// What a node says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// Its disk.
    pub node: NodeId,
    /// Where it is reached.
    pub address: String,
    /// The first members as it was told, sorted.
    pub peers: Vec<String>,
    /// The group it belongs to, if it does.
    pub founding: Option<Founding>,
    /// What its program knows of the log and of snapshots: a number that the machine's program counts.
    pub level: u32,
}

/// Why a node cannot take part.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FormError {
    /// The list given by configuration does not hold together.
    #[error("the list of first members {0}")]
    Peers(String),
    /// Two first members were given different lists.
    #[error(
        "{address} was told that the first members are {theirs}, this master that they are {ours}: they must agree before \
         a group can be founded"
    )]
    Disagree {
        /// Who.
        address: String,
        /// Its list.
        theirs: String,
        /// Ours.
        ours: String,
    },
    /// The group at these addresses exists, and this disk is not part of it.
    #[error(
        "the group {cluster} exists already and knows {address} as node {known}, but the data directory here is that of node \
         {here}. If its disk was lost, remove that member from the group and let this one join as a new member"
    )]
    AnotherDisk {
        /// The group.
        cluster: ClusterId,
        /// Our address.
        address: String,
        /// The id it knows.
        known: NodeId,
        /// Our id.
        here: NodeId,
    },
    /// The group at these addresses exists without us.
    #[error(
        "the group {cluster} exists already and {address} is not one of its members; let it join the group instead"
    )]
    NotAMember {
        /// The group.
        cluster: ClusterId,
        /// Our address.
        address: String,
    },
    /// Two nodes of different groups talk to each other.
    #[error("{address} belongs to group {theirs}, this master to group {ours}")]
    AnotherGroup {
        /// Who.
        address: String,
        /// Its group.
        theirs: ClusterId,
        /// Ours.
        ours: ClusterId,
    },
}

/// The forming of a group, seen from one first member. Passive: somebody exchanges the hellos.
#[derive(Debug, Clone)]
pub struct Forming {
    node: NodeId,
    address: String,
    peers: Vec<String>,
    heard: BTreeMap<String, NodeId>,
    founding: Option<Founding>,
    level: u32,
}

impl Forming {
    /// Begins with what configuration says. `peers` holds `address` itself.
    pub fn new(node: NodeId, address: &str, peers: &[String]) -> Result<Self, FormError> {
        let mut sorted = peers.to_vec();
        sorted.sort_unstable();
        sorted.dedup();
        if sorted.len() != peers.len() {
            return Err(FormError::Peers("names an address twice".into()));
        }
        if sorted.len() > limits::MEMBERS {
            return Err(FormError::Peers(format!("is longer than {} members", limits::MEMBERS)));
        }
        if let Some(long) = sorted.iter().find(|peer| peer.is_empty() || peer.len() > limits::ADDRESS_BYTES) {
            return Err(FormError::Peers(format!("has an address that is not host:port: `{long}`")));
        }
        if !sorted.iter().any(|peer| peer == address) {
            return Err(FormError::Peers(format!(
                "({}) does not name this master, {address}",
                sorted.join(", ")
            )));
        }
        let heard = BTreeMap::from([(address.to_owned(), node)]);
        Ok(Self { node, address: address.to_owned(), peers: sorted, heard, founding: None, level: 1 })
    }

    /// A member of a group founded before: it has nothing to agree on any more, and says so to whoever asks.
    pub fn member(node: NodeId, address: &str, founding: Founding) -> Self {
        let peers = founding.members.iter().map(|(_, address)| address.clone()).collect();
        let (address, heard) = (address.to_owned(), BTreeMap::new());
        Self { node, address, peers, heard, founding: Some(founding), level: 1 }
    }

    /// Says that the program knows this level.
    #[must_use]
    pub fn at_level(self, level: u32) -> Self {
        Self { level, ..self }
    }

    /// The group, once it is founded.
    pub fn founding(&self) -> Option<&Founding> {
        self.founding.as_ref()
    }

    /// Whether this is the one first member that makes the founding record.
    pub fn is_founder(&self) -> bool {
        self.peers.iter().min() == Some(&self.address)
    }

    /// What to say to the others.
    pub fn hello(&self) -> Hello {
        Hello {
            node: self.node,
            address: self.address.clone(),
            peers: self.peers.clone(),
            founding: self.founding.clone(),
            level: self.level,
        }
    }

    /// First members not heard of yet, for the log of somebody who waits.
    pub fn missing(&self) -> Vec<&str> {
        self.peers.iter().filter(|peer| !self.heard.contains_key(*peer)).map(String::as_str).collect()
    }

    /// Takes in what another node says. An error is for the operator; forming may go on when its cause is mended.
    pub fn hear(&mut self, hello: &Hello) -> Result<(), FormError> {
        if let Some(theirs) = &hello.founding {
            return self.adopt(theirs, &hello.address);
        }
        if hello.peers != self.peers {
            return Err(FormError::Disagree {
                address: hello.address.clone(),
                theirs: hello.peers.join(","),
                ours: self.peers.join(","),
            });
        }
        if self.founding.is_none() && hello.address != self.address && self.peers.contains(&hello.address) {
            // The newest word counts: a disk may be replaced while the group is not founded yet.
            self.heard.insert(hello.address.clone(), hello.node);
        }
        Ok(())
    }

    fn adopt(&mut self, theirs: &Founding, address: &str) -> Result<(), FormError> {
        if let Some(ours) = &self.founding {
            if ours.cluster == theirs.cluster {
                return Ok(());
            }
            return Err(FormError::AnotherGroup {
                address: address.to_owned(),
                theirs: theirs.cluster,
                ours: ours.cluster,
            });
        }
        match theirs.members.iter().find(|(_, member)| *member == self.address) {
            None => Err(FormError::NotAMember { cluster: theirs.cluster, address: self.address.clone() }),
            Some((known, _)) if *known != self.node => Err(FormError::AnotherDisk {
                cluster: theirs.cluster,
                address: self.address.clone(),
                known: *known,
                here: self.node,
            }),
            Some(_) => {
                self.founding = Some(theirs.clone());
                Ok(())
            }
        }
    }

    /// The founding record as soon as there is one. The founder makes it here, of `fresh`, when everybody was heard; it
    /// must be on its disk before [`Forming::hello`] is said again.
    pub fn decide(&mut self, fresh: ClusterId) -> Option<&Founding> {
        if self.founding.is_none() && self.is_founder() && self.missing().is_empty() {
            let members = self.heard.iter().map(|(address, id)| (*id, address.clone())).collect();
            self.founding = Some(Founding { cluster: fresh, members });
        }
        self.founding.as_ref()
    }
}

impl Hello {
    pub(crate) fn pack(&self, packer: &mut Packer) {
        packer.u32(HELLO_FORMAT).u64(self.node.0).text(&self.address);
        packer.u32(u32::try_from(self.peers.len()).expect("bounded by MEMBERS"));
        for peer in &self.peers {
            packer.text(peer);
        }
        match &self.founding {
            None => {
                packer.u128(0);
            }
            Some(founding) => {
                packer.u128(founding.cluster.0);
                packer.u32(u32::try_from(founding.members.len()).expect("bounded by MEMBERS"));
                for (id, address) in &founding.members {
                    packer.u64(id.0).text(address);
                }
            }
        }
        packer.u32(self.level);
    }

    /// What a later program says behind what is known here is passed over: masters of two versions have to greet each
    /// other while they are upgraded.
    pub(crate) fn unpack(unpacker: &mut Unpacker<'_>) -> Result<Self, Corrupt> {
        let format = unpacker.u32()?;
        if format != HELLO_FORMAT {
            return Err(
                unpacker.bad(format!("a greeting of format {format}; this program knows {HELLO_FORMAT}"))
            );
        }
        let node = NodeId(unpacker.u64()?);
        let address = unpacker.text(limits::ADDRESS_BYTES)?;
        let peers = (0..unpacker.count(limits::MEMBERS)?)
            .map(|_| unpacker.text(limits::ADDRESS_BYTES))
            .collect::<Result<_, _>>()?;
        let cluster = ClusterId(unpacker.u128()?);
        let founding = if cluster.0 == 0 {
            None
        } else {
            let members = (0..unpacker.count(limits::MEMBERS)?)
                .map(|_| Ok((NodeId(unpacker.u64()?), unpacker.text(limits::ADDRESS_BYTES)?)))
                .collect::<Result<_, Corrupt>>()?;
            Some(Founding { cluster, members })
        };
        let level = if unpacker.is_empty() { 1 } else { unpacker.u32()? };
        Ok(Self { node, address, peers, founding, level })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRESH: ClusterId = ClusterId(77);

    fn peers() -> Vec<String> {
        ["a:1", "b:1", "c:1"].map(String::from).to_vec()
    }

    fn three() -> [Forming; 3] {
        [(1, "a:1"), (2, "b:1"), (3, "c:1")]
            .map(|(id, address)| Forming::new(NodeId(id), address, &peers()).expect("listed"))
    }

    fn tell(from: &Forming, to: &mut Forming) -> Result<(), FormError> {
        to.hear(&from.hello())
    }

    #[test]
    fn all_adopt_the_one_record_of_the_founder() {
        let [mut a, mut b, mut c] = three();
        tell(&b, &mut a).expect("same list");
        assert_eq!(a.decide(FRESH), None, "c is missing");
        assert_eq!(a.missing(), ["c:1"]);
        tell(&a, &mut c).expect("same list");
        tell(&b, &mut c).expect("same list");
        assert_eq!(c.decide(FRESH), None, "c has heard everybody but is not the founder");
        tell(&c, &mut a).expect("same list");
        let founding = a.decide(FRESH).expect("all heard").clone();
        tell(&a, &mut b).expect("names b's disk");
        tell(&b, &mut c).expect("second hand is as good");
        for member in [&mut b, &mut c] {
            assert_eq!(member.decide(ClusterId(5)), Some(&founding));
        }
    }

    #[test]
    fn a_wiped_disk_does_not_come_back_under_its_old_name() {
        let [mut a, b, c] = three();
        tell(&b, &mut a).expect("same list");
        tell(&c, &mut a).expect("same list");
        a.decide(FRESH).expect("all heard");
        let mut wiped = Forming::new(NodeId(33), "c:1", &peers()).expect("listed");
        let refusal = tell(&a, &mut wiped).expect_err("the record names another disk").to_string();
        assert!(refusal.contains("0000000000000003") && refusal.contains("0000000000000021"), "{refusal}");
    }

    #[test]
    fn a_wiped_founder_does_not_found_twice() {
        let [mut a, mut b, c] = three();
        tell(&b, &mut a).expect("same list");
        tell(&c, &mut a).expect("same list");
        a.decide(FRESH).expect("all heard");
        tell(&a, &mut b).expect("adopts");
        let mut wiped = Forming::new(NodeId(11), "a:1", &peers()).expect("listed");
        tell(&c, &mut wiped).expect("c knows of no group yet");
        assert!(tell(&b, &mut wiped).is_err());
        assert_eq!(wiped.decide(ClusterId(5)), None);
    }

    #[test]
    fn a_disk_replaced_before_the_founding_counts_as_the_new_one() {
        let [mut a, b, c] = three();
        tell(&c, &mut a).expect("same list");
        let new_c = Forming::new(NodeId(33), "c:1", &peers()).expect("listed");
        tell(&new_c, &mut a).expect("same list");
        tell(&b, &mut a).expect("same list");
        let founding = a.decide(FRESH).expect("all heard");
        assert!(founding.members.contains(&(NodeId(33), "c:1".into())));
    }

    #[test]
    fn bad_lists_are_refused_by_a_sentence() {
        for (list, word) in [
            (vec!["a:1", "a:1"], "twice"),
            (vec!["b:1", "c:1"], "does not name this master"),
            (vec!["a:1", ""], "host:port"),
            (vec!["a:1", "2", "3", "4", "5", "6", "7", "8"], "longer"),
        ] {
            let list: Vec<String> = list.into_iter().map(String::from).collect();
            let refusal = Forming::new(NodeId(1), "a:1", &list).expect_err("bad list").to_string();
            assert!(refusal.contains(word), "{refusal}");
        }
        let [mut a, ..] = three();
        let odd = Forming::new(NodeId(4), "b:1", &["b:1".into(), "a:1".into()]).expect("listed");
        assert!(matches!(tell(&odd, &mut a), Err(FormError::Disagree { .. })));
    }

    #[test]
    fn hellos_survive_their_encoding() {
        let [mut a, b, c] = three();
        for round in 0..2 {
            let hello = a.hello();
            let mut packer = Packer::default();
            hello.pack(&mut packer);
            let bytes = packer.finish();
            assert_eq!(Hello::unpack(&mut Unpacker::new("hello", &bytes)).expect("own encoding"), hello);
            if round == 0 {
                tell(&b, &mut a).and_then(|()| tell(&c, &mut a)).expect("same list");
                a.decide(FRESH).expect("all heard");
            }
        }
    }
}
