//! Ports nobody else uses: below the kernel's ephemeral range, so that no outgoing connection takes one meanwhile.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU16, Ordering};

/// Where our ports start and end; the task ports of agents (31000 and up) and service ports (10000 to 12000) lie outside.
const FIRST: u16 = 13_000;
const COUNT: u16 = 12_000;

static NEXT: AtomicU16 = AtomicU16::new(0);

/// A free port. Processes start looking at a place of their own, so that test programs side by side rarely meet.
pub fn free() -> u16 {
    let own = (std::process::id() % 120) as u16 * 100;
    for _ in 0..COUNT {
        let port = FIRST + (own + NEXT.fetch_add(1, Ordering::Relaxed)) % COUNT;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no free port between {FIRST} and {}", FIRST + COUNT);
}

/// The first port of `count` free ones in a row, for an agent's range.
pub fn free_range(count: u16) -> u16 {
    for start in (33_000 + (std::process::id() % 50) as u16 * 500..60_000).step_by(count as usize) {
        let _ = NEXT.fetch_add(1, Ordering::Relaxed);
        if (start..start + count).all(|port| TcpListener::bind(("127.0.0.1", port)).is_ok()) {
            return start;
        }
    }
    panic!("no {count} free ports in a row");
}
