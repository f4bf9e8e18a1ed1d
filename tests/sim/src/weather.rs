//! What a seed chooses: how large the world is, how unkind, and for how long.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use crate::net::{MS, Micros, SECOND};

/// The choices of one run. Probabilities are in parts per ten thousand.
#[derive(Debug, Clone)]
pub struct Weather {
    /// Agents.
    pub agents: u32,
    /// Clients of the key-value API.
    pub writers: u32,
    /// Clients that compete for a lease.
    pub lockers: u32,
    /// Apps of the supervisors' user.
    pub apps: u32,
    /// Frameworks that misbehave.
    pub citizens: u32,
    /// Jobs of the batch schedulers' user at a time.
    pub jobs: u32,
    /// Tasks the framework wants to have running.
    pub tasks: usize,
    /// Least and most time of a message on its way.
    pub latency: (Micros, Micros),
    /// Messages that take much longer.
    pub slow: u32,
    /// Messages between masters that are lost.
    pub loss: u32,
    /// Messages between masters that arrive twice.
    pub double: u32,
    /// Connections that are refused on their way.
    pub resets: u32,
    /// Least and most time of a sync.
    pub sync: (Micros, Micros),
    /// Syncs that take up to a second.
    pub stall: u32,
    /// Masters that are replaced by others in the storm.
    pub swaps: u32,
    /// Machines on which copies of agents' data directories are started.
    pub copies: u32,
    /// Mean time between faults.
    pub fault_every: Micros,
    /// Length of the phase with faults.
    pub storm: Micros,
    /// How far apart clocks may be, in milliseconds.
    pub skew_ms: u64,
    /// How far clocks run apart, in parts per million.
    pub drift: u64,
    /// How often the leader's books are looked at.
    pub audit: Micros,
    /// Changes of keys that masters keep for watchers: more than one transaction makes, and not much more.
    pub history_events: u64,
    /// Bytes of log after which masters take a snapshot.
    pub snapshot_bytes: u64,
}

impl Weather {
    /// What the generator of a seed chooses. `agents` overrules the number of agents.
    pub fn draw(random: &mut ChaCha8Rng, agents: Option<u32>) -> Self {
        let drawn = match random.random_range(0..1_000) {
            0..600 => random.random_range(2..8),
            600..900 => random.random_range(8..30),
            900..995 => random.random_range(30..100),
            _ => random.random_range(300..=1_000),
        };
        let agents = agents.unwrap_or(drawn);
        let base = [50, 300, 2 * MS, 20 * MS][random.random_range(0..4)];
        let sync = [50, 500, 5 * MS][random.random_range(0..3)];
        Self {
            agents,
            writers: random.random_range(2..6),
            lockers: random.random_range(2..4),
            apps: random.random_range(1..4),
            jobs: random.random_range(2..7),
            citizens: [0, 0, 1, 3][random.random_range(0..4)],
            tasks: agents as usize * random.random_range(1..4),
            latency: (base, base * random.random_range(2..6)),
            slow: random.random_range(0..100),
            loss: random.random_range(0..300),
            double: random.random_range(0..200),
            resets: [0, 0, 30, 200][random.random_range(0..4)],
            sync: (sync, sync * 4),
            stall: random.random_range(0..60),
            swaps: [0, 0, 1, 2][random.random_range(0..4)],
            copies: [0, 1, 1, 2][random.random_range(0..4)],
            fault_every: random.random_range(1..6) * SECOND,
            storm: random.random_range(40..90) * SECOND,
            skew_ms: [1_000, 60_000, 3_600_000][random.random_range(0..3)],
            drift: random.random_range(0..=200),
            audit: 2 * SECOND,
            history_events: [130, 130, 65_536][random.random_range(0..3)],
            snapshot_bytes: [16 << 10, 64 << 10, 64 << 20][random.random_range(0..3)],
        }
    }

    /// From here on the world is kind.
    pub fn clear(&mut self) {
        self.latency = (300, 900);
        self.slow = 0;
        self.loss = 0;
        self.double = 0;
        self.resets = 0;
        self.sync = (200, 600);
        self.stall = 0;
    }
}
