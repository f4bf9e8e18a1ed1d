//! Every bound of this crate, with its reason.

use std::time::Duration;

/// Bytes of a container id: it is a file name (255) with room for suffixes.
pub const MAX_ID_BYTES: usize = 200;

/// Containers one launcher holds at a time. Each costs two processes, and Linux has 32,768 process ids by default.
pub const MAX_CONTAINERS: usize = 15_000;

/// Bytes of one encoded request to the launcher process. `execve` itself takes 2 MiB of arguments and environment.
pub const MAX_REQUEST_BYTES: usize = 4 << 20;

/// Bytes of one report of a shim: below `PIPE_BUF`, so that many writers share a pipe without mixing.
pub const MAX_REPORT_BYTES: usize = 1024;

/// Bytes of a container's record file that are read back.
pub const MAX_RECORD_BYTES: usize = 16 << 10;

/// Bytes that a record file takes of the disk from its beginning: a block, in which an ordinary record ends.
pub const RESERVED_BYTES: usize = 4 << 10;

/// Bytes of a path below a sandbox: what the kernel takes at a time (`PATH_MAX`).
pub const MAX_PATH_BYTES: usize = 4096;

/// The least memory limit that is set: below it the kernel kills a shell before it runs its command.
pub const MIN_MEMORY_BYTES: u64 = 8 << 20;

/// How long after its deadline a kill is given to the shim before the shim itself is killed with all it holds.
pub const KILL_PATIENCE: Duration = Duration::from_secs(5);

/// How long a new launcher waits for the launcher of a previous agent to end before it kills it.
pub const HANDOVER_PATIENCE: Duration = Duration::from_secs(10);

/// How long Docker may take for anything but a pull.
pub const DOCKER_PATIENCE: Duration = Duration::from_secs(60);

/// How long an image may take to arrive.
pub const DOCKER_PULL_PATIENCE: Duration = Duration::from_secs(30 * 60);

/// Bytes read of what Docker complains about.
pub const DOCKER_TEXT_BYTES: usize = 4 << 10;

/// Between two looks whether a container has begun: a look costs a process.
pub const DOCKER_LOOK: Duration = Duration::from_millis(50);

/// Command probes running at a time; more wait for their turn (their time-out runs from their start).
pub const MAX_COMMAND_PROBES: usize = 64;

/// Bytes read of the answer to an HTTP probe: only its status matters, the rest is not waited for.
pub const MAX_PROBE_ANSWER_BYTES: usize = 64 << 10;

/// Redirections one HTTP probe follows: an application's front door may send on to its health page, but a circle is no
/// health, and each step takes a part of the probe's time.
pub const PROBE_REDIRECTS: usize = 5;
