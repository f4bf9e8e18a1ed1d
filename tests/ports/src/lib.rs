//! Ports nobody else uses: below the kernel's ephemeral range, so that neither an outgoing connection nor a socket that takes
//! whatever port there is gets one between its choice and its use, or while its owner is away.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU16, Ordering};

/// Where our ports start; service ports that the supervisor gives (10000 and up) are not asked for by these tests.
const FIRST: u16 = 13_000;
const COUNT: u16 = 9_000;
/// Where the ranges of agents lie.
const RANGES: u16 = 22_000;
const RANGES_END: u16 = 31_000;

static NEXT: AtomicU16 = AtomicU16::new(0);
static NEXT_RANGE: AtomicU16 = AtomicU16::new(0);

/// A free port. Processes start looking at a place of their own, so that test programs side by side rarely meet.
pub fn free() -> u16 {
    let own = (std::process::id() % 90) as u16 * 100;
    for _ in 0..COUNT {
        let port = FIRST + (own + NEXT.fetch_add(1, Ordering::Relaxed)) % COUNT;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no free port between {FIRST} and {}", FIRST + COUNT);
}

/// The first port of `count` free ones in a row, for an agent's range: also below the ephemeral ports.
pub fn free_range(count: u16) -> u16 {
    let places = (RANGES_END - RANGES) / count;
    let own = (std::process::id() % u32::from(places)) as u16;
    for _ in 0..places {
        let place = (own + NEXT_RANGE.fetch_add(1, Ordering::Relaxed)) % places;
        let start = RANGES + place * count;
        if (start..start + count).all(|port| TcpListener::bind(("127.0.0.1", port)).is_ok()) {
            return start;
        }
    }
    panic!("no {count} free ports in a row");
}
