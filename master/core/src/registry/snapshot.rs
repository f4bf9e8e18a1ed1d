//! The registry as a stream of chunks, and back.
//!
//! A chunk is a few hundred kibibytes of records, so that neither side ever holds a second copy of the registry.
//! The first record names the format, the last counts the records and carries the digest: a snapshot that was
//! cut, reordered into nonsense or altered is an error when it is read, not a master that differs from the rest.

use prost::Message;
use wire::registry::{Chunk, Header, Record, Trailer, record};

use super::level::{LEVEL, Level};
use super::limits::{Limits, LimitsCommand};
use super::table::Fact;
use super::{Index, Registry};

/// A chunk ends with the record that reaches this many bytes.
pub const CHUNK_TARGET: usize = 256 << 10;
/// No chunk is larger: [`CHUNK_TARGET`] and the largest record the limits allow, with room.
pub const CHUNK_MAX: usize = 32 << 20;

/// What stands before each record in a [`Chunk`]: field 1, of a length that follows.
const RECORD_TAG: u8 = 1 << 3 | 2;

/// The number of this layout. Fields may be added to records without a new one.
const FORMAT: u32 = 1;

/// Why bytes are not a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Corrupt {
    #[error("a chunk of the snapshot has {0} bytes, at most {CHUNK_MAX} are allowed")]
    ChunkTooLarge(usize),
    #[error("a chunk of the snapshot cannot be decoded: {0}")]
    Undecodable(String),
    #[error("the snapshot does not begin with a header")]
    NoHeader,
    #[error("the snapshot has format {0}, this program reads format {FORMAT}")]
    Format(u32),
    #[error(
        "the snapshot is of a group that writes what programs of level {found} know, and this one knows level {known}: start a newer version of it"
    )]
    Newer { found: u32, known: u32 },
    #[error("record {at} of the snapshot ({kind}) contradicts an earlier one or is of no known kind")]
    Contradiction { at: u64, kind: &'static str },
    #[error("the snapshot ends without a trailer: it was cut short")]
    CutShort,
    #[error("the snapshot goes on after its trailer")]
    TooLong,
    #[error("the snapshot has {found} records and should have {expected}")]
    Count { expected: u64, found: u64 },
    #[error("the snapshot's digest is {found:016x} and should be {expected:016x}")]
    Digest { expected: u64, found: u64 },
}

/// The chunks of a snapshot, made one at a time from a clone: it may go on while the registry changes.
pub struct Export {
    records: Box<dyn Iterator<Item = Record> + Send>,
}

impl Registry {
    /// Starts a snapshot of this view. Costs nothing until the chunks are asked for.
    pub fn export(&self) -> Export {
        let digest = self.digest();
        let Self { index, level, limits, members, frameworks, agents, weights, quotas, maintenance, store } =
            self.clone();
        let compacted = store.history().compacted();
        let header = Header { format: FORMAT, index, compacted, level: level.to_wire() };
        let mut count = 0;
        let records = std::iter::once(Record { record: Some(record::Record::Header(header)) })
            .chain(std::iter::once(limits.record()))
            .chain(members.into_records())
            .chain(frameworks.into_records())
            .chain(agents.into_records())
            .chain(weights.into_records())
            .chain(quotas.into_records())
            .chain(maintenance.into_records())
            .chain(store.into_records());
        #[cfg(feature = "mutants")]
        let records = records.filter(|record| {
            let lease = matches!(record.record, Some(record::Record::Lease(_)));
            !(lease && mutant::planted("snapshot-forgets-leases"))
        });
        let records = records.map(Some).chain(std::iter::once(None)).map(move |record| match record {
            Some(record) => {
                count += 1;
                record
            }
            None => Record { record: Some(record::Record::Trailer(Trailer { records: count, digest })) },
        });
        Export { records: Box::new(records) }
    }

    /// Reads a whole snapshot.
    ///
    /// # Errors
    /// Anything that is not exactly what [`Registry::export`] wrote.
    pub fn import<C: AsRef<[u8]>>(chunks: impl IntoIterator<Item = C>) -> Result<Self, Corrupt> {
        let mut import = Import::default();
        for chunk in chunks {
            import.push(chunk.as_ref())?;
        }
        import.finish()
    }
}

impl Iterator for Export {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        // Written as they come, records are neither collected nor measured twice.
        let mut chunk = Vec::new();
        for record in self.records.by_ref() {
            chunk.push(RECORD_TAG);
            record.encode_length_delimited(&mut chunk).expect("a vector has room");
            if chunk.len() >= CHUNK_TARGET {
                break;
            }
        }
        (!chunk.is_empty()).then_some(chunk)
    }
}

/// A snapshot being read, a chunk at a time.
#[derive(Debug)]
pub struct Import {
    /// The level of the program that reads.
    known: u32,
    registry: Registry,
    index: Option<Index>,
    records: u64,
    trailer: Option<Trailer>,
}

impl Default for Import {
    fn default() -> Self {
        Self::knowing(LEVEL)
    }
}

impl Import {
    /// In a program that knows this level.
    pub fn knowing(known: u32) -> Self {
        Self { known, registry: Registry::default(), index: None, records: 0, trailer: None }
    }

    /// Takes the next chunk.
    ///
    /// # Errors
    /// What cannot be decoded or contradicts what came before. The import is of no use afterwards.
    pub fn push(&mut self, chunk: &[u8]) -> Result<(), Corrupt> {
        if chunk.len() > CHUNK_MAX {
            return Err(Corrupt::ChunkTooLarge(chunk.len()));
        }
        let chunk = Chunk::decode(chunk).map_err(|error| Corrupt::Undecodable(error.to_string()))?;
        chunk.records.into_iter().try_for_each(|record| self.record(record))
    }

    fn record(&mut self, record: Record) -> Result<(), Corrupt> {
        if self.trailer.is_some() {
            return Err(Corrupt::TooLong);
        }
        let at = self.records;
        let contradiction = |kind| Corrupt::Contradiction { at, kind };
        let Some(record) = record.record else { return Err(contradiction("unknown")) };
        if self.index.is_none() {
            let record::Record::Header(header) = record else { return Err(Corrupt::NoHeader) };
            return self.header(&header);
        }
        if let record::Record::Trailer(trailer) = record {
            self.trailer = Some(trailer);
            return Ok(());
        }
        self.records += 1;
        let registry = &mut self.registry;
        let (kind, taken) = match record {
            record::Record::Header(_) | record::Record::Trailer(_) => ("header", false),
            record::Record::Limits(limits) => {
                let set = Limits::from_wire(&limits);
                registry.limits = set;
                ("limits", LimitsCommand { set }.check().is_ok())
            }
            record::Record::Cluster(cluster) => ("cluster", registry.members.restore_cluster(cluster)),
            record::Record::Member(member) => ("member", registry.members.restore(member)),
            record::Record::Framework(framework) => ("framework", registry.frameworks.restore(framework)),
            record::Record::Tombstone(tombstone) => {
                ("tombstone", registry.frameworks.restore_tombstone(tombstone))
            }
            record::Record::Agent(agent) => ("agent", registry.agents.restore(agent)),
            record::Record::Weight(weight) => ("weight", registry.weights.restore(weight)),
            record::Record::Quota(quota) => ("quota", registry.quotas.restore(quota)),
            record::Record::Machine(machine) => ("machine", registry.maintenance.restore(machine)),
            record::Record::Entry(entry) => ("entry", registry.store.restore_entry(entry)),
            record::Record::Lease(lease) => ("lease", registry.store.restore_lease(lease)),
            record::Record::Request(request) => ("request", registry.store.restore_request(request)),
            record::Record::History(history) => ("history", registry.store.restore_history(history)),
        };
        if taken { Ok(()) } else { Err(contradiction(kind)) }
    }

    fn header(&mut self, header: &Header) -> Result<(), Corrupt> {
        if header.format != FORMAT {
            return Err(Corrupt::Format(header.format));
        }
        let level = Level(header.level.unwrap_or(1).max(1));
        if level.0 > self.known {
            return Err(Corrupt::Newer { found: level.0, known: self.known });
        }
        self.index = Some(header.index);
        self.registry.level = level;
        self.registry.index = header.index;
        self.registry.store.restore_compacted(header.compacted);
        self.records = 1;
        Ok(())
    }

    /// The registry, when all of it came.
    ///
    /// # Errors
    /// A missing end, or a count or digest that does not agree with it.
    pub fn finish(self) -> Result<Registry, Corrupt> {
        let Some(trailer) = self.trailer else {
            return Err(if self.index.is_some() { Corrupt::CutShort } else { Corrupt::NoHeader });
        };
        if trailer.records != self.records {
            return Err(Corrupt::Count { expected: trailer.records, found: self.records });
        }
        let found = self.registry.digest();
        if trailer.digest != found {
            return Err(Corrupt::Digest { expected: trailer.digest, found });
        }
        Ok(self.registry)
    }
}
