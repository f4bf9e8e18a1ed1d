//! Every bound of the batch scheduler, with its reason.

use std::time::Duration;

use model::time::Span;

// --- schedules

/// The shortest period. Below it a job is a service; and a scheduler that divides by the seconds of a period divides by
/// zero.
pub const PERIOD: Span = Span::from_secs(1);

/// Bytes of a schedule: the longest that makes sense names every minute of an hour.
pub const SCHEDULE_BYTES: usize = 512;

/// The first year that no schedule reaches: the last years a calendar knows leave no room for the next occurrence.
pub const LAST_YEAR: i16 = 9999;

/// Cron lines are searched so far for an occurrence before they are said to have none: 29 February is 8 years away when
/// a century is no leap year, and a weekday of it up to 40.
pub const CRON_YEARS: i16 = 41;

/// Missed occurrences of a cron line are counted up to here; what a minutely line misses in a week.
pub const MISSED_COUNTED: u64 = 10_080;

// --- jobs

/// Bytes of a job's name: it is part of keys and of task ids.
pub const NAME_BYTES: usize = 150;

/// Bytes of a definition as it is stored.
pub const DEFINITION_BYTES: usize = 256 << 10;

/// Jobs of one scheduler, each some kilobytes of memory here and at the masters.
pub const JOBS: usize = 200_000;

/// Parents of one job: each of their ends looks at all of them.
pub const PARENTS: usize = 1000;

/// Names told of a cycle that is refused.
pub const CYCLE_TOLD: usize = 10;

/// Attempts after the first.
pub const RETRIES: u32 = 10_000;

/// The most that may be added to the pause before a repetition.
pub const JITTER: Span = Span::from_hours(24);

/// Bytes a compiled constraint expression may take, so that none eats the memory of the scheduler.
pub const REGEX_BYTES: usize = 256 << 10;

/// What a task gets whose job does not say, in thousandths: 0.1 CPU, 128 MB of memory, 256 MB of disk.
pub const CPUS: i64 = 100;
pub const MEM: i64 = 128_000;
pub const DISK: i64 = 256_000;

/// Bytes of the arguments of one manual run.
pub const ARGUMENT_BYTES: usize = 16 << 10;

/// Parameters of one run, and bytes of all of them together.
pub const PARAMETERS: usize = 100;
pub const PARAMETER_BYTES: usize = 16 << 10;

/// Bytes of the token by which a repeated request is known.
pub const TOKEN_BYTES: usize = 128;

/// Steps of one workflow: each end looks at all of them.
pub const STEPS: usize = 500;

/// Indexes of one array: what each end writes grows with the gaps between those that are done.
pub const COMPLETIONS: u32 = 100_000;

// --- runs

/// Bytes of a task's id: it is the name of a directory.
pub const TASK_ID_BYTES: usize = 240;

/// Runs that are over, kept of each job that does not say how many.
pub const HISTORY: usize = 100;

/// The most that a job may keep: they are in the memory of the scheduler and of the masters.
pub const HISTORY_LONGEST: usize = 1000;

/// Parts of an array that failed, kept with their run; of all parts their number is.
pub const PARTS_KEPT: u32 = 100;

/// Attempts of a run that are told of, besides the last.
pub const ATTEMPTS_KEPT: usize = 5;

/// Runs of one job that are not over: a flood of manual triggers ends here.
pub const ACTIVE_RUNS: usize = 1000;

/// Occurrences of an outage that are made up for, one by one.
pub const CATCH_UP: usize = 100;

/// A run that begins within this is not late, where lateness matters and no tolerance is given.
pub const ON_TIME: Span = Span::from_secs(60);

/// The pause before a failed attempt is repeated.
pub const FAILURE_RETRY: Span = Span::from_secs(60);

/// Launches of a run that may come to nothing in a row before that counts as a failure of its own.
pub const LOSSES: u32 = 10;

/// The first pause before a launch that came to nothing is made again; it doubles.
pub const LAUNCH_AGAIN: Span = Span::from_millis(500);

/// An agent that cannot be reached is waited for so long, for jobs that do not say, and at most: the masters have waited
/// before they say that it cannot be reached, and what is repeated too soon is done twice.
pub const LOST_AFTER: Span = Span::from_mins(5);
pub const LOST_AFTER_LONGEST: Span = Span::from_days(30);

/// A kill without an answer is repeated after so long.
pub const KILL_RETRY: Span = Span::from_secs(10);

/// Due times without a record that one answer tells of.
pub const ANSWERS: usize = 1000;

/// How far back a timeline goes that does not say, and the runs it tells of at once.
pub const TIMELINE: Span = Span::from_days(1);
pub const TIMELINE_RUNS: usize = 10_000;

// --- priority and queues

/// The highest and, negated, the lowest priority.
pub const PRIORITY: i32 = 1000;

/// What `highPriority` means.
pub const HIGH_PRIORITY: i32 = 100;

/// The largest weight of a queue.
pub const WEIGHT: u32 = 10_000;

/// Queues that an operator has named.
pub const QUEUES: usize = 10_000;

/// Megabytes that are compared with one CPU when it is decided whose turn it is.
pub const MEM_PER_CPU: u64 = 4096;

/// CPUs that one GPU is compared with.
pub const CPUS_PER_GPU: u64 = 8;

/// So long a run waits before it makes room for itself: what is free by itself comes sooner.
pub const PREEMPT_AFTER: Span = Span::from_secs(5);

/// And again after so long: the kills, and the offers they lead to, take their time.
pub const PREEMPT_AGAIN: Span = Span::from_secs(30);

/// Agents whose attributes are remembered.
pub const AGENTS_KNOWN: usize = 20_000;

// --- launching

/// Launches decided in one go: bounds the time and the writes of a step.
pub const LAUNCHES: usize = 1000;

/// Shortest time between two requests for offers: each makes the master forget every refusal of ours.
pub const REVIVE_INTERVAL: Span = Span::from_millis(50);

/// While runs wait, offers are asked for again after so long, in case a notice was lost.
pub const REVIVE_AGAIN: Span = Span::from_secs(30);

// --- notifications

/// Letters that wait to be sent, over all channels, each some kilobytes of memory here and at the masters. What comes when
/// so many wait is dropped, and counted.
pub const LETTERS: usize = 1000;

/// Addresses of one job's owners that are told.
pub const OWNERS: usize = 20;

/// Bytes of a text in a letter.
pub const LETTER_TEXT_BYTES: usize = 4 << 10;

/// Bytes kept of what a server said.
pub const PROBLEM_BYTES: usize = 300;

/// A letter that was not sent for so long is given up.
pub const LETTER_LIFE: Span = Span::from_days(1);

/// The first pause of a channel that failed; it doubles up to the longest.
pub const LETTER_AGAIN: Span = Span::from_secs(1);
pub const LETTER_AGAIN_LONGEST: Span = Span::from_mins(5);

/// A server has so long to take a letter.
pub const LETTER_SEND: Duration = Duration::from_secs(20);

// --- API

/// Bytes of a request body: a definition and some room.
pub const BODY_BYTES: usize = 1 << 20;

/// A client has so long to send its body.
pub const BODY_TIME: Duration = Duration::from_secs(30);

/// Bytes of a path with its query.
pub const URI_BYTES: usize = 32 << 10;

/// Requests worked on at once; beyond it callers are turned away.
pub const REQUESTS: usize = 4096;

/// A caller is answered within this, if only that it took too long.
pub const ANSWER: Duration = Duration::from_secs(15);

/// A request to a leader that has just died waits so long for the next: the lease of leadership and a little more.
pub const TAKEOVER: Duration = Duration::from_secs(5);

/// As a standby, to hear the beginning of the leader's answer: what the leader itself may take, and the way.
pub const PROXY_ANSWER: Duration = Duration::from_secs(20);

/// Open connections of clients; more wait in the kernel's queue.
pub const CONNECTIONS: usize = 4096;

/// For the head of the next request, idle time included: longer than clients keep idle connections.
pub const HEAD_TIME: Duration = Duration::from_secs(75);

/// Bytes of a request line and its headers.
pub const HEAD_BYTES: usize = 64 << 10;

/// Headers of one request.
pub const HEADERS: usize = 100;

/// A client that takes no byte of what is written for so long is given up.
pub const UNREAD_TIME: Duration = Duration::from_secs(30);

/// Silence after which the kernel asks whether a client is still there.
pub const KEEP_ALIVE: Duration = Duration::from_secs(30);

/// Open requests have so long to end when the process is asked to.
pub const SHUTDOWN: Duration = Duration::from_secs(3);

/// Bytes of a run's output in one answer, which is what agents give in one.
pub const LOG_BYTES: usize = 64 << 10;

/// A master or an agent has so long to take a connection, and to answer what an API request asks of it; there are two such
/// questions at least in the time of an answer.
pub const SANDBOX_CONNECT: Duration = Duration::from_secs(2);
pub const SANDBOX_ANSWER: Duration = Duration::from_secs(5);

/// Bytes of such an answer: a piece of a file, or an agent as a master tells of it.
pub const SANDBOX_BYTES: usize = 4 << 20;

/// Due times shown before a job is accepted.
pub const NEXT_SHOWN: usize = 10;
