//! Orders to a shim: one real-time signal that carries a number.
//!
//! The kernel queues such signals while they are blocked, also for the first process of a PID namespace, and sends them to a
//! pidfd, so an order can never reach a process that got the same id later. A process of the same user can send one as well, but
//! it could just as well send SIGKILL.

use std::io;
use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

use crate::Signal;

/// The signal number, fixed because shims outlive upgrades of the program and of its C library.
pub(super) const ORDER_SIGNAL: i32 = 50;

/// What a shim can be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// SIGTERM to all, SIGKILL after the grace (whole milliseconds, at most some 49 days).
    Kill { grace: Duration },
    /// This signal to the command.
    Signal(Signal),
}

/// `siginfo_t` as the kernel lays it out for queued signals on 64-bit machines: 128 bytes, the value after sender and user.
#[repr(C)]
struct QueuedInfo {
    signo: i32,
    errno: i32,
    code: i32,
    padding: i32,
    pid: i32,
    uid: u32,
    value: u64,
    rest: [u64; 12],
}

const _: () = assert!(size_of::<QueuedInfo>() == 128 && size_of::<libc::siginfo_t>() == 128);

impl Order {
    /// Bits 0 to 7 the kind, 8 to 15 a signal number, 32 to 63 milliseconds.
    fn encode(self) -> u64 {
        match self {
            Self::Kill { grace } => 1 | u64::from(u32::try_from(grace.as_millis()).unwrap_or(u32::MAX)) << 32,
            Self::Signal(signal) => 2 | (signal.number() as u64) << 8,
        }
    }

    /// An unknown order, of a newer agent, is `None`.
    fn decode(value: u64) -> Option<Self> {
        match value & 0xff {
            1 => Some(Self::Kill { grace: Duration::from_millis(value >> 32) }),
            2 => Signal::new((value >> 8 & 0xff) as i32).ok().map(Self::Signal),
            _ => None,
        }
    }

    pub(crate) fn send(self, shim: BorrowedFd<'_>) -> io::Result<()> {
        let info = QueuedInfo {
            signo: ORDER_SIGNAL,
            errno: 0,
            code: libc::SI_QUEUE,
            padding: 0,
            // SAFETY: both only return numbers.
            pid: unsafe { libc::getpid() },
            // SAFETY: as above.
            uid: unsafe { libc::getuid() },
            value: self.encode(),
            rest: [0; 12],
        };
        // SAFETY: `info` is a whole siginfo_t (size checked above) that lives through the call; the descriptor is borrowed.
        let result = unsafe {
            libc::syscall(libc::SYS_pidfd_send_signal, shim.as_raw_fd(), ORDER_SIGNAL, &raw const info, 0)
        };
        if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }
}

/// What woke a shim.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wake {
    /// Some child changed, or nothing in particular.
    Look,
    Order(Order),
    /// The time is over.
    Timeout,
}

/// Waits for SIGCHLD or an order, both of which must be blocked; without a time-out for ever.
pub(super) fn wait(timeout: Option<Duration>) -> Wake {
    // SAFETY: an all-zero set is a valid argument of sigemptyset, which initialises it; the other calls get valid pointers to locals.
    let (signal, info) = unsafe {
        let mut set: libc::sigset_t = mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, libc::SIGCHLD);
        libc::sigaddset(&raw mut set, ORDER_SIGNAL);
        let mut info: QueuedInfo = mem::zeroed();
        let into = (&raw mut info).cast::<libc::siginfo_t>();
        let signal = match timeout {
            None => libc::sigwaitinfo(&raw const set, into),
            Some(timeout) => {
                let seconds = libc::time_t::try_from(timeout.as_secs()).unwrap_or(libc::time_t::MAX);
                let spec = libc::timespec { tv_sec: seconds, tv_nsec: timeout.subsec_nanos().into() };
                libc::sigtimedwait(&raw const set, into, &raw const spec)
            }
        };
        (signal, info)
    };
    match signal {
        -1 if io::Error::last_os_error().raw_os_error() == Some(libc::EAGAIN) => Wake::Timeout,
        ORDER_SIGNAL if info.code == libc::SI_QUEUE => {
            Order::decode(info.value).map_or(Wake::Look, Wake::Order)
        }
        _ => Wake::Look,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_fit_in_a_number() {
        for order in [
            Order::Kill { grace: Duration::ZERO },
            Order::Kill { grace: Duration::from_millis(3_000) },
            Order::Kill { grace: Duration::from_millis(u32::MAX.into()) },
            Order::Signal(Signal::USR1),
            Order::Signal(Signal::new(64).unwrap()),
        ] {
            assert_eq!(Order::decode(order.encode()), Some(order));
        }
        let long = Order::Kill { grace: Duration::from_secs(1 << 40) };
        assert_eq!(
            Order::decode(long.encode()),
            Some(Order::Kill { grace: Duration::from_millis(u32::MAX.into()) })
        );
        // Agents of a newer program send to shims of an older one: these numbers stay.
        assert_eq!(Order::Kill { grace: Duration::from_millis(3_000) }.encode(), 3_000 << 32 | 1);
        assert_eq!(Order::Signal(Signal::TERM).encode(), 15 << 8 | 2);
        assert_eq!(Order::decode(0), None);
        assert_eq!(Order::decode(2), None, "signal 0");
    }
}
