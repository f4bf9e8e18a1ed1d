//! Files of the machine's state.
//!
//! A snapshot is written by a worker from a frozen view, synced, renamed, and only then named in the log's records. Raft's
//! own snapshot message carries nothing but a [`Descriptor`]; a follower pulls the file over a separate stream, so that
//! a gigabyte of state never stands in the way of heartbeats.

use std::fmt;
use std::io::{self, Read, Write};

use crate::disk::Files;
use crate::error::{Corrupt, DiskError};
use crate::limits;
use crate::machine::Machine;
use crate::member::Members;
use crate::pack::{Packer, Unpacker};
use crate::types::{ClusterId, Index, Term};

const MAGIC: &[u8; 8] = b"STOASNP1";
const END: u32 = u32::MAX;

/// Names a snapshot: the last entry it contains. Two snapshots of one id hold equal state, whoever wrote them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct SnapshotId {
    /// Index of the last entry applied.
    pub index: Index,
    /// Its term.
    pub term: Term,
}

impl fmt::Display for SnapshotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:020}-{:020}", self.index, self.term)
    }
}

/// Everything about a snapshot but its bytes.
#[derive(Debug, Clone, PartialEq)]
pub struct Descriptor {
    /// What it contains.
    pub id: SnapshotId,
    /// The group it belongs to.
    pub cluster: ClusterId,
    /// The members as of its index.
    pub members: Members,
    /// Bytes of the file.
    pub size: u64,
    /// CRC-32 of the file.
    pub checksum: u32,
}

impl Descriptor {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut packer = Packer::default();
        packer.u64(self.id.index).u64(self.id.term).u128(self.cluster.0);
        self.members.pack(&mut packer);
        packer.u64(self.size).u32(self.checksum);
        packer.finish()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Corrupt> {
        let mut unpacker = Unpacker::new("snapshot descriptor", bytes);
        let descriptor = Self {
            id: SnapshotId { index: unpacker.u64()?, term: unpacker.u64()? },
            cluster: ClusterId(unpacker.u128()?),
            members: Members::unpack(&mut unpacker)?,
            size: unpacker.u64()?,
            checksum: unpacker.u32()?,
        };
        unpacker.end()?;
        Ok(descriptor)
    }
}

/// A snapshot to be written: taken on the replica's turn in O(1), executed anywhere.
pub struct Job<M: Machine> {
    pub(crate) id: SnapshotId,
    pub(crate) cluster: ClusterId,
    pub(crate) members: Members,
    pub(crate) frozen: M::Frozen,
}

impl<M: Machine> fmt::Debug for Job<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job").field("id", &self.id).finish_non_exhaustive()
    }
}

impl<M: Machine> Job<M> {
    /// Encodes the state into a file, syncs it and gives it its name. The result goes to [`crate::Replica::built`].
    pub fn run<F: Files>(self, files: &F) -> Result<Descriptor, DiskError> {
        let failed = |error: io::Error| DiskError::new(format!("write snapshot {}", self.id), error);
        let mut draft = files.draft(self.id).map_err(failed)?;
        let mut sum = Summed::new(&mut draft);
        write_chunks(&mut sum, M::chunks(&self.frozen)).map_err(failed)?;
        let (size, checksum) = sum.finish();
        files.publish(self.id, draft).map_err(failed)?;
        Ok(Descriptor { id: self.id, cluster: self.cluster, members: self.members, size, checksum })
    }
}

fn write_chunks(out: &mut impl Write, chunks: impl Iterator<Item = Vec<u8>>) -> io::Result<()> {
    out.write_all(MAGIC)?;
    for chunk in chunks {
        let length = u32::try_from(chunk.len()).ok().filter(|_| chunk.len() <= limits::CHUNK_BYTES);
        let Some(length) = length else {
            return Err(io::Error::other(format!("a chunk of {} bytes is above the limit", chunk.len())));
        };
        out.write_all(&length.to_be_bytes())?;
        out.write_all(&chunk)?;
    }
    out.write_all(&END.to_be_bytes())
}

/// Reads, checks and thaws a stored snapshot.
pub fn load<M: Machine, F: Files>(files: &F, descriptor: &Descriptor) -> Result<M, Corrupt> {
    let bad = |why: String| Corrupt::new("snapshot", format!("{}: {why}", descriptor.id));
    let file = files.open(descriptor.id).map_err(|error| bad(error.to_string()))?;
    let mut reader = ChunkReader { input: SummedReader::new(file), ended: false };
    reader.magic().map_err(&bad)?;
    let machine = M::thaw(&mut reader);
    // A machine that stopped early has its own complaint; one that is content must have seen the very end.
    let machine = machine?;
    if !reader.ended && reader.next().is_some() {
        return Err(bad("holds more than its state".into()));
    }
    let (size, checksum) = reader.input.finish();
    if size != descriptor.size || checksum != descriptor.checksum {
        return Err(bad(format!(
            "{size} bytes with checksum {checksum:08x}, expected {} with {:08x}",
            descriptor.size, descriptor.checksum
        )));
    }
    Ok(machine)
}

/// A snapshot file that arrives from a peer: checked against its descriptor while it is written.
pub struct Intake<F: Files> {
    files: F,
    descriptor: Descriptor,
    draft: F::Draft,
    hash: crc32fast::Hasher,
    size: u64,
}

impl<F: Files> Intake<F> {
    /// Starts an empty file for the snapshot of this descriptor.
    pub fn begin(files: F, descriptor: Descriptor) -> Result<Self, DiskError> {
        let draft = files
            .draft(descriptor.id)
            .map_err(|error| DiskError::new(format!("create snapshot {}", descriptor.id), error))?;
        Ok(Self { files, descriptor, draft, hash: crc32fast::Hasher::new(), size: 0 })
    }

    /// Takes the next bytes.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), DiskError> {
        let id = self.descriptor.id;
        self.size += bytes.len() as u64;
        if self.size > self.descriptor.size {
            return Err(DiskError::new(
                format!("receive snapshot {id}"),
                "the peer sent more than it announced",
            ));
        }
        self.hash.update(bytes);
        self.draft.write_all(bytes).map_err(|error| DiskError::new(format!("write snapshot {id}"), error))
    }

    /// Checks and publishes the file.
    pub fn finish(self) -> Result<(), DiskError> {
        let id = self.descriptor.id;
        if self.size != self.descriptor.size || self.hash.finalize() != self.descriptor.checksum {
            return Err(DiskError::new(
                format!("receive snapshot {id}"),
                format!(
                    "{} bytes arrived that do not match the {} announced",
                    self.size, self.descriptor.size
                ),
            ));
        }
        self.files
            .publish(id, self.draft)
            .map_err(|error| DiskError::new(format!("store snapshot {id}"), error))
    }
}

struct Summed<W> {
    out: W,
    hash: crc32fast::Hasher,
    size: u64,
}

impl<W: Write> Summed<W> {
    fn new(out: W) -> Self {
        Self { out, hash: crc32fast::Hasher::new(), size: 0 }
    }

    fn finish(self) -> (u64, u32) {
        (self.size, self.hash.finalize())
    }
}

impl<W: Write> Write for Summed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.out.write(bytes)?;
        self.hash.update(&bytes[..count]);
        self.size += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

struct SummedReader<R> {
    input: R,
    hash: crc32fast::Hasher,
    size: u64,
}

impl<R: Read> SummedReader<R> {
    fn new(input: R) -> Self {
        Self { input, hash: crc32fast::Hasher::new(), size: 0 }
    }

    fn exactly(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        self.input.read_exact(buffer)?;
        self.hash.update(buffer);
        self.size += buffer.len() as u64;
        Ok(())
    }

    fn finish(self) -> (u64, u32) {
        (self.size, self.hash.finalize())
    }
}

struct ChunkReader<R> {
    input: SummedReader<R>,
    ended: bool,
}

impl<R: Read> ChunkReader<R> {
    fn magic(&mut self) -> Result<(), String> {
        let mut magic = [0; 8];
        self.input.exactly(&mut magic).map_err(|error| error.to_string())?;
        if &magic == MAGIC { Ok(()) } else { Err("does not begin like a snapshot of this format".into()) }
    }

    fn chunk(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut length = [0; 4];
        self.input.exactly(&mut length)?;
        let length = u32::from_be_bytes(length);
        if length == END {
            return Ok(None);
        }
        let length = length as usize;
        if length > limits::CHUNK_BYTES {
            return Err(io::Error::other(format!("a chunk of {length} bytes is above the limit")));
        }
        let mut chunk = vec![0; length];
        self.input.exactly(&mut chunk)?;
        Ok(Some(chunk))
    }
}

impl<R: Read> Iterator for ChunkReader<R> {
    type Item = Result<Vec<u8>, Corrupt>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        match self.chunk() {
            Ok(Some(chunk)) => Some(Ok(chunk)),
            Ok(None) => {
                self.ended = true;
                None
            }
            Err(error) => {
                self.ended = true;
                Some(Err(Corrupt::new("snapshot", error.to_string())))
            }
        }
    }
}
