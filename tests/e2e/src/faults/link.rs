//! A bad link: two network interfaces with this process between them, which hands frames over late, in another order,
//! or not at all. `tc netem` would do the same, but many kernels are built without it.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::dice::Dice;

/// A frame takes so long at most, each way; how long is drawn for each, so that frames overtake each other.
const DELAY_MOST_MS: u64 = 200;
/// Of a hundred frames so many are lost.
const LOSS_PERCENT: u64 = 5;
/// Frames under way; what comes on top is lost, as in a router.
const FRAMES_MOST: usize = 4096;
/// How long the relay sleeps at most before it looks whether it shall stop.
const LOOK: Duration = Duration::from_millis(50);
/// More than any frame: without offloads none is longer than the link allows.
const FRAME_BYTES: usize = 64 << 10;

/// `PACKET_IGNORE_OUTGOING` of `linux/if_packet.h`: the socket does not get back what it sends.
const IGNORE_OUTGOING: libc::c_int = 23;
/// `ETHTOOL_STXCSUM` of `linux/ethtool.h`.
const SET_SEND_CHECKSUM: u32 = 0x17;

/// The relay between two interfaces. Dropping it ends it; what is under way then is lost.
pub(super) struct BadLink {
    stop: Arc<AtomicBool>,
    relay: Option<JoinHandle<Carried>>,
}

/// What a bad link did to the frames it was given.
#[derive(Clone, Copy, Debug, Default)]
pub struct Carried {
    /// Handed over late.
    pub late: u64,
    pub lost: u64,
}

impl BadLink {
    /// Relays between the interfaces `one` and `other`.
    ///
    /// # Errors
    /// The kernel opens no raw sockets on them.
    pub(super) fn between(one: &str, other: &str, seed: u64) -> Result<Self, String> {
        let ends = [listen(one)?, listen(other)?];
        let stop = Arc::new(AtomicBool::new(false));
        let seen = stop.clone();
        let relay = std::thread::spawn(move || Relay::new(ends, seed).run(&seen));
        Ok(Self { stop, relay: Some(relay) })
    }
}

impl BadLink {
    /// Ends the relay.
    pub(super) fn end(&mut self) -> Carried {
        self.stop.store(true, Ordering::Relaxed);
        // A panic of its own has been printed.
        self.relay.take().and_then(|relay| relay.join().ok()).unwrap_or_default()
    }
}

impl Drop for BadLink {
    fn drop(&mut self) {
        self.end();
    }
}

/// When it is due, its place among those due at once, the end it goes to, its bytes.
type Frame = Reverse<(Instant, u64, usize, Vec<u8>)>;

struct Relay {
    ends: [OwnedFd; 2],
    dice: Dice,
    under_way: BinaryHeap<Frame>,
    taken: u64,
    carried: Carried,
}

impl Relay {
    fn new(ends: [OwnedFd; 2], seed: u64) -> Self {
        Self {
            ends,
            dice: Dice::new(seed),
            under_way: BinaryHeap::new(),
            taken: 0,
            carried: Carried::default(),
        }
    }

    fn run(mut self, stop: &AtomicBool) -> Carried {
        let mut buffer = vec![0_u8; FRAME_BYTES];
        while !stop.load(Ordering::Relaxed) {
            self.wait();
            for from in 0..2 {
                while let Some(length) = receive(&self.ends[from], &mut buffer) {
                    self.take(1 - from, &buffer[..length]);
                }
            }
            self.deliver();
        }
        self.carried
    }

    /// Until a frame arrives or one is due.
    fn wait(&self) {
        let due =
            self.under_way.peek().map(|Reverse((due, ..))| due.saturating_duration_since(Instant::now()));
        let longest = due.unwrap_or(LOOK).min(LOOK);
        let mut polled = [0, 1].map(|end: usize| libc::pollfd {
            fd: self.ends[end].as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        });
        let milliseconds = i32::try_from(longest.as_millis()).unwrap_or(0);
        // SAFETY: two descriptors that are open as long as `self`, in an array of two.
        unsafe { libc::poll(polled.as_mut_ptr(), 2, milliseconds) };
    }

    fn take(&mut self, to: usize, frame: &[u8]) {
        if self.dice.below(100) < LOSS_PERCENT || self.under_way.len() == FRAMES_MOST {
            self.carried.lost += 1;
            return;
        }
        let due = Instant::now() + Duration::from_millis(self.dice.below(DELAY_MOST_MS + 1));
        self.taken += 1;
        self.under_way.push(Reverse((due, self.taken, to, frame.to_vec())));
    }

    fn deliver(&mut self) {
        let now = Instant::now();
        while self.under_way.peek().is_some_and(|Reverse((due, ..))| *due <= now) {
            if let Some(Reverse((_, _, to, frame))) = self.under_way.pop() {
                // SAFETY: a descriptor of ours and bytes that live through the call.
                // What cannot be sent is lost: that is what this link is for.
                unsafe { libc::send(self.ends[to].as_raw_fd(), frame.as_ptr().cast(), frame.len(), 0) };
                self.carried.late += 1;
            }
        }
    }
}

/// The length of the next frame, if there is one.
fn receive(end: &OwnedFd, buffer: &mut [u8]) -> Option<usize> {
    // SAFETY: a descriptor of ours and a buffer of the length that is given.
    let length = unsafe { libc::recv(end.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), 0) };
    usize::try_from(length).ok()
}

/// A socket that gets every frame that arrives at an interface, whomever it is for.
fn listen(interface: &str) -> Result<OwnedFd, String> {
    let failed = |what: &str| format!("{what} on {interface}: {}", io::Error::last_os_error());
    let every = u16::try_from(libc::ETH_P_ALL).unwrap_or(3).to_be();
    // SAFETY: plain integers.
    let socket = unsafe {
        libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC, 0)
    };
    if socket < 0 {
        return Err(failed("a raw socket"));
    }
    // SAFETY: fresh from the kernel, and owned by nobody else.
    let socket = unsafe { OwnedFd::from_raw_fd(socket) };
    let yes: libc::c_int = 1;
    // SAFETY: an integer and its size.
    let deaf = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_PACKET,
            IGNORE_OUTGOING,
            (&raw const yes).cast(),
            size_of_val(&yes) as libc::socklen_t,
        )
    };
    if deaf != 0 {
        return Err(failed("PACKET_IGNORE_OUTGOING"));
    }
    // SAFETY: all zeros is a value of this plain struct.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = every;
    address.sll_ifindex = index(interface)?;
    // SAFETY: an address of the kind the socket takes, and its size.
    let bound = unsafe {
        libc::bind(socket.as_raw_fd(), (&raw const address).cast(), size_of_val(&address) as libc::socklen_t)
    };
    if bound == 0 { Ok(socket) } else { Err(failed("bind")) }
}

fn index(interface: &str) -> Result<i32, String> {
    let path = format!("/sys/class/net/{interface}/ifindex");
    let text = std::fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
    text.trim().parse().map_err(|_| format!("{path}: {text:?} is no number"))
}

/// Has the kernel itself finish the checksums of what is sent on an interface, as it must before anybody but the kernel
/// carries the frames on. It also cuts long runs of bytes into frames then.
///
/// # Errors
/// The kernel refuses.
pub(super) fn finish_checksums(interface: &str) -> Result<(), String> {
    /// `struct ethtool_value`.
    #[repr(C)]
    struct Value {
        command: u32,
        data: u32,
    }
    let mut value = Value { command: SET_SEND_CHECKSUM, data: 0 };
    // SAFETY: all zeros is a value of this plain struct.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(interface.bytes()) {
        *to = from.cast_signed();
    }
    request.ifr_ifru.ifru_data = (&raw mut value).cast();
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").map_err(|error| error.to_string())?;
    // SAFETY: the kernel reads the name and the two integers behind the pointer, which live through the call.
    let done = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCETHTOOL, &raw mut request) };
    if done == 0 { Ok(()) } else { Err(format!("checksums of {interface}: {}", io::Error::last_os_error())) }
}
