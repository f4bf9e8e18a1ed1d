//! The life of a shim: waiting for its command to end, for orders, and for the last of what the command left behind.

use std::io;
use std::time::{Duration, Instant};

use super::order::{Order, Wake, wait};
use super::record::{Fact, Held};
use super::tree;
use crate::cgroup::ContainerCgroup;
use crate::{Exit, ExitStatus, Limitation, Signal};

/// How often SIGKILL is repeated while something is left: a descendant may have been made just then.
const KILL_AGAIN: Duration = Duration::from_millis(20);
/// How often, and for how long, it is tried to write down how the command ended: a full disk may have room again. Until
/// then the agent takes the container for running, so not for ever.
const WRITE_AGAIN: Duration = Duration::from_millis(500);
const WRITE_FOR: Duration = Duration::from_secs(60);

pub(super) struct Supervisor {
    /// The command's process.
    pub(super) main: i32,
    pub(super) held: Held,
    pub(super) cgroup: ContainerCgroup,
    pub(super) ending: Ending,
}

/// How far the killing has come.
#[derive(Debug, Default)]
pub(super) struct Ending {
    /// Somebody asked for it.
    asked: bool,
    /// SIGKILL is due then.
    deadline: Option<Instant>,
}

impl Ending {
    /// Time until the next thing to do by itself.
    fn timeout(&self, now: Instant) -> Option<Duration> {
        let deadline = self.deadline?;
        Some(if deadline <= now { KILL_AGAIN } else { deadline - now })
    }

    fn due(&self, now: Instant) -> bool {
        self.deadline.is_some_and(|deadline| deadline <= now)
    }

    /// Brings the end not later than `grace` from now.
    fn hasten(&mut self, now: Instant, grace: Duration) {
        let new = now + grace;
        self.deadline = Some(self.deadline.map_or(new, |old| old.min(new)));
    }
}

/// What the children of this process are doing.
enum Family {
    MainEnded(ExitStatus),
    Living,
    Gone,
}

impl Supervisor {
    /// Returns when no process of the container is left.
    pub(super) fn run(mut self) {
        let status = loop {
            match self.reap() {
                Family::MainEnded(status) => break status,
                // The command cannot be gone without having been reaped.
                Family::Living | Family::Gone => self.sleep(),
            }
        };
        if !matches!(self.reap(), Family::Gone) {
            // Should this process be killed during the clean-up, the command's status is known all the same. What fails is done
            // again below.
            let _ = self.write(status);
            // A shell often dies of SIGTERM before the server it started has finished its last requests: what is left has
            // the rest of the grace, unless nobody asked for the end.
            if self.ending.deadline.is_none() {
                self.ending.hasten(Instant::now(), Duration::ZERO);
                self.signal_all(Signal::KILL);
            }
            while !matches!(self.reap(), Family::Gone) {
                self.sleep();
            }
        }
        let until = Instant::now() + WRITE_FOR;
        while self.write(status).is_err() && Instant::now() < until {
            std::thread::sleep(WRITE_AGAIN);
        }
        // If this fails the agent does it again when it forgets the container.
        let _ = self.cgroup.remove();
    }

    /// Takes in every child that has ended. Ended orphans of the container come here too.
    fn reap(&self) -> Family {
        loop {
            let mut status = 0;
            // SAFETY: the pointer is to a local.
            match unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG) } {
                0 => return Family::Living,
                -1 => return Family::Gone,
                pid if pid == self.main => return Family::MainEnded(decode(status)),
                _ => {}
            }
        }
    }

    fn sleep(&mut self) {
        let wake = wait(self.ending.timeout(Instant::now()));
        let now = Instant::now();
        match wake {
            Wake::Order(Order::Signal(signal)) => send(self.main, signal),
            Wake::Order(Order::Kill { grace }) => {
                let first = !self.ending.asked;
                self.ending.asked = true;
                self.ending.hasten(now, grace);
                if first && !grace.is_zero() {
                    self.signal_all(Signal::TERM);
                }
            }
            Wake::Look | Wake::Timeout => {}
        }
        if self.ending.due(now) {
            self.signal_all(Signal::KILL);
        }
    }

    /// To every process of the container.
    fn signal_all(&self, signal: Signal) {
        match std::process::id() {
            // The first process of a PID namespace: everything else in it is the container's. Asked of the system each time,
            // because anywhere else this call would reach the whole machine.
            1 => send(-1, signal),
            own => tree::descendants(own as i32).into_iter().for_each(|pid| send(pid, signal)),
        }
    }

    fn write(&mut self, status: ExitStatus) -> io::Result<()> {
        let (cpu, max_rss_bytes) = children_usage();
        // A process killed for memory may be a child of a command that then gave up by itself.
        let kills = if status == ExitStatus::Code(0) { None } else { self.cgroup.memory_kills() };
        let limitation = kills.map(|(_, limit_bytes)| Limitation::Memory { limit_bytes });
        let exit = Exit { status, killed: self.ending.asked, limitation, cpu, max_rss_bytes };
        self.held.write(&[Fact::Exited(exit)])
    }
}

fn send(pid: i32, signal: Signal) {
    // SAFETY: takes numbers. A single process is our own unreaped child or a descendant just seen; it cannot have been replaced,
    // except a descendant reaped by its own parent this moment, whose id the kernel gives out again last.
    unsafe { libc::kill(pid, signal.number()) };
}

/// A status of `wait(2)`.
pub(super) fn decode(status: i32) -> ExitStatus {
    if libc::WIFSIGNALED(status) {
        Signal::new(libc::WTERMSIG(status)).map_or(ExitStatus::Code(255), ExitStatus::Signal)
    } else {
        ExitStatus::Code(libc::WEXITSTATUS(status))
    }
}

/// Processor time of all reaped processes together, and the largest resident set of one of them.
fn children_usage() -> (Duration, u64) {
    // SAFETY: zero is a value of every field; the call fills a local.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_CHILDREN, &raw mut usage);
        usage
    };
    let time = |time: libc::timeval| {
        Duration::from_secs(time.tv_sec.try_into().unwrap_or(0))
            + Duration::from_micros(time.tv_usec.try_into().unwrap_or(0))
    };
    (time(usage.ru_utime) + time(usage.ru_stime), u64::try_from(usage.ru_maxrss).unwrap_or(0) * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kill_can_only_come_nearer() {
        let now = Instant::now();
        let mut ending = Ending::default();
        assert_eq!(ending.timeout(now), None);
        ending.hasten(now, Duration::from_secs(10));
        ending.hasten(now, Duration::from_secs(30));
        assert_eq!(ending.timeout(now), Some(Duration::from_secs(10)));
        ending.hasten(now, Duration::from_secs(1));
        assert_eq!(ending.timeout(now), Some(Duration::from_secs(1)));
        assert!(!ending.due(now));
        assert!(ending.due(now + Duration::from_secs(1)));
        assert_eq!(ending.timeout(now + Duration::from_secs(2)), Some(KILL_AGAIN));
    }

    #[test]
    fn statuses_of_the_kernel() {
        assert_eq!(decode(3 << 8), ExitStatus::Code(3));
        assert_eq!(decode(9), ExitStatus::Signal(Signal::KILL));
        assert_eq!(decode(11 | 0x80), ExitStatus::Signal(Signal::new(11).unwrap()), "with a core dump");
        for status in [ExitStatus::Code(0), ExitStatus::Code(255), ExitStatus::Signal(Signal::TERM)] {
            assert_eq!(decode(status.wait_status()), status);
        }
    }
}
