//! The same replica on a real disk.

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use replica::disk::RocksDisk;
use replica::form::Founding;
use replica::thread::{Event, Handle, spawn};
use replica::{ClusterId, Machine, NodeId, Options, Output, Replica, Role, Ticket, found, stored};

use crate::tally::{Note, Tally};

const NODE: NodeId = NodeId(1);

fn alone() -> Founding {
    Founding { cluster: ClusterId(5), members: vec![(NODE, "host1:5050".into())] }
}

fn open(path: &Path) -> RocksDisk {
    RocksDisk::open(path, Arc::new(|_| {})).expect("a writable directory")
}

fn start(path: &Path, options: Options) -> Replica<Tally, RocksDisk> {
    let mut disk = open(path);
    if stored(&disk).expect("readable").is_none() {
        found::<Tally, _>(&mut disk, &alone()).expect("a writable directory");
    }
    Replica::open(disk, NODE, options).expect("what was written can be read")
}

/// Writes numbers in turns of ten, running snapshot jobs in between; the last index applied.
fn write(replica: &mut Replica<Tally, RocksDisk>, numbers: std::ops::Range<u64>) {
    let mut waiting = numbers.clone().count();
    let mut out = Vec::new();
    replica.turn(&mut out).expect("a healthy disk");
    for number in numbers {
        replica.propose(Ticket(number), &Note { number, weight: 100 }).expect("leads");
        if number % 10 == 9 {
            replica.turn(&mut out).expect("a healthy disk");
        }
        for output in out.drain(..) {
            match output {
                Output::Applied { ticket: Some(_), .. } => waiting -= 1,
                Output::Build(job) => replica.built(job.run(&replica.files())).expect("a healthy disk"),
                _ => {}
            }
        }
    }
    replica.turn(&mut out).expect("a healthy disk");
    waiting -= out.iter().filter(|output| matches!(output, Output::Applied { ticket: Some(_), .. })).count();
    assert_eq!(waiting, 0, "every ticket is answered");
}

fn settle(replica: &mut Replica<Tally, RocksDisk>) {
    replica.turn(&mut Vec::new()).expect("a healthy disk");
}

#[test]
fn a_restart_finds_state_members_and_group_in_snapshot_and_log() {
    let temp = tempfile::tempdir().expect("a temporary directory");
    let options = Options { snapshot_log_bytes: 20_000, keep_entries: 50, ..Options::default() };
    let mut first = start(temp.path(), options.clone());
    write(&mut first, 0..1_000);
    let status = first.status();
    assert!(status.snapshot > 500 && status.first > 400, "compacted on the way: {status:?}");
    let digest = first.digest();
    drop(first);

    let mut again = start(temp.path(), options);
    settle(&mut again);
    assert_eq!(again.digest(), digest);
    assert_eq!(again.members().address(NODE), Some("host1:5050"));
    write(&mut again, 1_000..1_100);
    drop(again);
    let disk = open(temp.path());
    assert_eq!(stored(&disk).expect("readable").expect("founded").0, ClusterId(5));
    let files = fs::read_dir(temp.path().join("snapshots")).expect("a directory").count();
    assert!(files <= 2, "{files} snapshot files are kept");
}

fn write_ahead_log(path: &Path) -> PathBuf {
    let entries = fs::read_dir(path.join("raft")).expect("a directory");
    let mut logs: Vec<PathBuf> = entries
        .map(|entry| entry.expect("readable").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
        .collect();
    logs.sort();
    logs.pop().expect("a write-ahead log")
}

#[test]
fn a_torn_tail_costs_the_torn_write_and_nothing_before_it() {
    let temp = tempfile::tempdir().expect("a temporary directory");
    let mut first = start(temp.path(), Options::default());
    write(&mut first, 0..90);
    // The power goes while the last ten are written: nobody has noted that they are safe.
    let noted = fs::read(temp.path().join("raft.synced")).expect("readable");
    write(&mut first, 90..100);
    let whole = first.view();
    drop(first);
    fs::write(temp.path().join("raft.synced"), noted).expect("writable");
    let log = write_ahead_log(temp.path());
    let length = fs::metadata(&log).expect("exists").len();
    // The last turn wrote ten entries of more than a hundred bytes each: cut into its middle.
    OpenOptions::new().write(true).open(&log).and_then(|file| file.set_len(length - 500)).expect("cut");
    let mut again = start(temp.path(), Options::default());
    settle(&mut again);
    let left = again.view();
    assert!(left.is_subset(&whole) && left.len() >= 89, "{} of {} left", left.len(), whole.len());
    assert!(left.len() < whole.len(), "the cut hit something");
    write(&mut again, 200..210);
}

#[test]
fn damage_before_the_tail_is_an_error_and_not_a_shorter_log() {
    let temp = tempfile::tempdir().expect("a temporary directory");
    let mut first = start(temp.path(), Options::default());
    write(&mut first, 0..1_000);
    drop(first);
    let log = write_ahead_log(temp.path());
    let mut bytes = fs::read(&log).expect("readable");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    fs::write(&log, bytes).expect("writable");
    let error = RocksDisk::open(temp.path(), Arc::new(|_| {})).err().expect("must not open").to_string();
    assert!(error.contains("Corruption") && error.contains("raft"), "{error}");
}

/// What a master finds on a disk: its state, or the sentence it refuses to start with.
fn found_in(path: &Path, options: &Options) -> Result<u64, String> {
    let disk = RocksDisk::open(path, Arc::new(|_| {})).map_err(|error| error.to_string())?;
    let mut replica =
        Replica::<Tally, _>::open(disk, NODE, options.clone()).map_err(|error| error.to_string())?;
    replica.turn(&mut Vec::new()).map_err(|error| error.to_string())?;
    Ok(replica.digest())
}

fn files_below(path: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(path).expect("a directory") {
        let path = entry.expect("readable").path();
        if path.is_dir() { files.extend(files_below(&path)) } else { files.push(path) }
    }
    files.sort();
    files
}

/// Puts every file back as it was, and removes what has come since.
fn restore(path: &Path, whole: &[(PathBuf, Vec<u8>)]) {
    for file in files_below(path) {
        fs::remove_file(file).expect("writable");
    }
    for (file, bytes) in whole {
        fs::write(file, bytes).expect("writable");
    }
}

/// One flipped bit in any file, tables and logs and snapshots and notes alike: the master refuses with a sentence, or it
/// comes up with all that was acknowledged. It never comes up with less.
#[test]
fn a_flipped_bit_anywhere_on_the_disk_is_refused_or_costs_nothing() {
    let temp = tempfile::tempdir().expect("a temporary directory");
    let options = Options { snapshot_log_bytes: 4_000, keep_entries: 20, ..Options::default() };
    let mut first = start(temp.path(), options.clone());
    write(&mut first, 0..200);
    drop(first);
    // Opened once more, the first half is in tables; what follows is in the write-ahead log.
    let mut again = start(temp.path(), options.clone());
    write(&mut again, 200..230);
    let digest = again.digest();
    drop(again);
    let whole: Vec<(PathBuf, Vec<u8>)> = files_below(temp.path())
        .into_iter()
        .map(|file| (file.clone(), fs::read(&file).expect("readable")))
        .collect();
    let (mut refused, mut unharmed) = (0, 0);
    for (file, bytes) in &whole {
        // Spread over the file, and densely where a damaged length looks like a write that was cut off.
        let step = (bytes.len() / 8).max(1);
        let tail = bytes.len().saturating_sub(1_300)..bytes.len();
        let spread = (0..bytes.len()).step_by(step);
        let dense = tail.step_by(if file.ends_with(write_ahead_log(temp.path())) { 40 } else { usize::MAX });
        for at in spread.chain(dense) {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << (at % 8);
            fs::write(file, flipped).expect("writable");
            match found_in(temp.path(), &options) {
                Ok(found) => {
                    assert_eq!(found, digest, "byte {at} of {}: less was found", file.display());
                    unharmed += 1;
                }
                Err(sentence) => {
                    assert!(sentence.len() > 20, "{sentence}");
                    refused += 1;
                }
            }
            restore(temp.path(), &whole);
        }
    }
    assert!(refused > 20 && unharmed > 5, "{refused} refused, {unharmed} unharmed");
}

/// The length of the last record says that it goes on behind the end of the file, as one that was cut off does.
#[test]
fn a_last_write_that_was_safe_and_looks_cut_off_is_refused() {
    let temp = tempfile::tempdir().expect("a temporary directory");
    let mut first = start(temp.path(), Options::default());
    write(&mut first, 0..50);
    drop(first);
    let log = write_ahead_log(temp.path());
    let length = fs::metadata(&log).expect("exists").len();
    OpenOptions::new().write(true).open(&log).and_then(|file| file.set_len(length - 1)).expect("cut");
    let sentence = found_in(temp.path(), &Options::default()).expect_err("acknowledged writes are gone");
    assert!(sentence.contains("were safe on this disk") && sentence.contains("raft"), "{sentence}");
}

#[test]
fn a_second_opening_of_the_log_is_refused() {
    let temp = tempfile::tempdir().expect("a temporary directory");
    let _first = start(temp.path(), Options::default());
    assert!(RocksDisk::open(temp.path(), Arc::new(|_| {})).is_err());
}

#[test]
fn a_damaged_snapshot_stops_the_start_with_its_name() {
    let temp = tempfile::tempdir().expect("a temporary directory");
    drop(start(temp.path(), Options::default()));
    let file = fs::read_dir(temp.path().join("snapshots"))
        .expect("a directory")
        .next()
        .expect("the founding snapshot")
        .expect("readable")
        .path();
    let mut bytes = fs::read(&file).expect("readable");
    bytes[9] ^= 1;
    fs::write(&file, bytes).expect("writable");
    let error =
        Replica::<Tally, _>::open(open(temp.path()), NODE, Options::default()).err().expect("must not open");
    assert!(error.to_string().contains("snapshot"), "{error}");
}

/// A replica of its own on a thread; `gate` is asked for before each sync.
fn threaded(
    path: &Path,
    syncs: &Arc<AtomicUsize>,
    gate: &Arc<Mutex<()>>,
) -> (Handle<Tally>, std::thread::JoinHandle<()>, Receiver<Event<Tally>>) {
    let (counter, gate) = (syncs.clone(), gate.clone());
    let mut disk = RocksDisk::open(
        path,
        Arc::new(move |_| {
            drop(gate.lock().expect("not poisoned"));
            counter.fetch_add(1, Ordering::Relaxed);
        }),
    )
    .expect("a writable directory");
    found::<Tally, _>(&mut disk, &alone()).expect("a writable directory");
    let replica = Replica::open(disk, NODE, Options::default()).expect("opens");
    let (events, received) = channel();
    let outlet = move |event| {
        // The test may have heard enough.
        let _ = events.send(event);
    };
    let (handle, thread) = spawn(replica, Duration::from_millis(50), outlet).expect("a thread");
    (handle, thread, received)
}

#[test]
fn the_thread_commits_what_waits_together_and_stops_when_told() {
    let temp = tempfile::tempdir().expect("a temporary directory");
    let syncs = Arc::new(AtomicUsize::new(0));
    let gate = Arc::new(Mutex::new(()));
    let (handle, thread, events) = threaded(temp.path(), &syncs, &gate);
    let leads = |event| matches!(event, Event::Output(Output::Role(Role::Leading { .. })));
    assert!(events.iter().any(leads));
    // One sync at most is under way while they are proposed.
    let held = gate.lock().expect("not poisoned");
    let before = syncs.load(Ordering::Relaxed);
    for number in 0..5_000 {
        handle.propose(Ticket(number), Note { number, weight: 50 }).expect("the queue holds them");
    }
    drop(held);
    let mut answered = 0;
    for event in &events {
        match event {
            Event::Output(Output::Applied { ticket: Some(_), .. }) => answered += 1,
            Event::Refused(ticket, why) => panic!("{ticket:?} refused: {why}"),
            _ => {}
        }
        if answered == 5_000 {
            break;
        }
    }
    let syncs = syncs.load(Ordering::Relaxed) - before;
    assert!(syncs < 100, "{syncs} syncs for 5000 commits");
    handle.stop();
    assert!(events.iter().any(|event| matches!(event, Event::Stopped(Ok(())))));
    thread.join().expect("ended in order");
    assert!(handle.propose(Ticket(1), Note { number: 1, weight: 0 }).is_err(), "nobody is there any more");
}

#[test]
fn digests_are_of_the_state_and_not_of_its_history() {
    let mut one = Tally::default();
    let mut two = Tally::default();
    for number in [1, 2, 3] {
        one.apply(1, Note { number, weight: 0 });
    }
    for number in [3, 1, 2, 2] {
        two.apply(9, Note { number, weight: 7 });
    }
    assert_eq!(one.digest(), two.digest());
    assert_ne!(one.digest(), Tally::default().digest());
}
