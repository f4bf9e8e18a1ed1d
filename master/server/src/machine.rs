//! The registry as the replica sees it.

use master_core::registry::{Command, Import, Outcome, Registry};
use replica::{Chunks, Corrupt, Index, Machine};

/// The core knows nothing of replication and the replica nothing of masters; here they meet.
#[derive(Debug, Default)]
pub struct Registrar(Registry);

impl From<Registry> for Registrar {
    fn from(registry: Registry) -> Self {
        Self(registry)
    }
}

impl Machine for Registrar {
    type Command = Command;
    type Outcome = Outcome;
    type Frozen = Registry;

    fn encode(command: &Command) -> Vec<u8> {
        command.to_bytes()
    }

    fn decode(bytes: &[u8]) -> Result<Command, Corrupt> {
        Command::from_bytes(bytes).map_err(|error| Corrupt::new("committed command", error.to_string()))
    }

    fn apply(&mut self, index: Index, command: Command) -> Outcome {
        self.0.apply(index, command)
    }

    fn freeze(&self) -> Registry {
        self.0.clone()
    }

    fn chunks(frozen: &Registry) -> Chunks<'_> {
        Box::new(frozen.export())
    }

    fn thaw(chunks: &mut dyn Iterator<Item = Result<Vec<u8>, Corrupt>>) -> Result<Self, Corrupt> {
        let bad =
            |error: master_core::registry::Corrupt| Corrupt::new("registry snapshot", error.to_string());
        let mut import = Import::default();
        for chunk in chunks {
            import.push(&chunk?).map_err(bad)?;
        }
        Ok(Self(import.finish().map_err(bad)?))
    }

    fn digest(&self) -> u64 {
        self.0.digest()
    }
}
