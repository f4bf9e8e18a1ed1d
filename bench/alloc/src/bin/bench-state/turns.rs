//! The turns of the master's loop: how long each took, and how late it was.

use std::time::{Duration, Instant};

/// Between the beginnings of two turns: 1,000 changes of the cluster a second.
const PACE: Duration = Duration::from_millis(1);

pub(crate) struct Turns {
    next: Instant,
    /// Milliseconds of processor time a turn took: what the loop did itself, whoever else ran meanwhile.
    work: Vec<f64>,
    /// From when a turn was due to its end: with the wait for a processor, which others on the machine want as well.
    late: Vec<f64>,
}

impl Turns {
    pub(crate) fn new() -> Self {
        Self { next: Instant::now(), work: Vec::new(), late: Vec::new() }
    }

    /// One turn, when it is due.
    pub(crate) fn take(&mut self, turn: impl FnOnce()) {
        std::thread::sleep(self.next.saturating_duration_since(Instant::now()));
        let begun = Instant::now();
        let worked = processor_time();
        turn();
        self.work.push((processor_time() - worked).as_secs_f64() * 1000.0);
        self.late.push(self.next.elapsed().as_secs_f64() * 1000.0);
        self.next = (self.next + PACE).max(begun);
    }

    /// `read` is what a reader got meanwhile, in bytes, and in how many seconds.
    pub(crate) fn report(mut self, name: &str, read: Option<(usize, f64)>) {
        let of = |times: &mut Vec<f64>, part: f64| {
            times.sort_by(f64::total_cmp);
            times[((times.len() - 1) as f64 * part) as usize]
        };
        let first = self.work[0];
        let turns = self.work.len();
        let (work_p99, work_max) = (of(&mut self.work, 0.99), of(&mut self.work, 1.0));
        let (late_p99, late_max) = (of(&mut self.late, 0.99), of(&mut self.late, 1.0));
        let read = read.map_or(String::new(), |(bytes, seconds)| {
            format!(r#","mb":{},"seconds":{seconds:.2},"snapshot_ms":{first:.3}"#, bytes / 1_000_000)
        });
        println!(
            r#"{{"bench":"{name}","turns":{turns},"work_ms_p99":{work_p99:.3},"work_ms_max":{work_max:.3},"late_ms_p99":{late_p99:.3},"late_ms_max":{late_max:.3}{read}}}"#
        );
    }
}

/// Of this thread.
pub(crate) fn processor_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the one pointer is to a place of this function.
    let done = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    assert_eq!(done, 0, "every Linux has this clock");
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}
