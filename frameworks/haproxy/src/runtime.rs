//! What HAProxy answers on its sockets, read. Pure.

use std::collections::BTreeMap;

use crate::plan::{Standing, State};

/// Why an answer is not what was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unexpected {
    #[error("HAProxy answered '{0}'")]
    Answer(String),
    #[error("HAProxy's list of {0} has an unknown form")]
    Form(&'static str),
}

/// How a runtime command went. HAProxy has no codes: success is silence or a known sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Done,
    /// It was so already; what we believed of HAProxy may be out of date.
    Already,
    /// A server that still has connections is not deleted; to be tried again.
    Busy,
    Failed(String),
}

/// Reads the answer of a command of [`crate::plan::Step::commands`].
pub fn verdict(answer: &str) -> Verdict {
    let answer = answer.trim();
    match answer {
        "" | "New server registered." | "Server deleted." => Verdict::Done,
        "No such server." => Verdict::Already,
        _ if answer.starts_with("Already exists a server with the same name") => Verdict::Already,
        _ if answer.starts_with("Server still has connections attached") => Verdict::Busy,
        _ => Verdict::Failed(answer.lines().next().unwrap_or_default().to_owned()),
    }
}

/// The servers of each backend, from `show servers state`. Backends without servers are not in it.
pub fn servers_state(answer: &str) -> Result<BTreeMap<String, BTreeMap<String, Standing>>, Unexpected> {
    let form = Unexpected::Form("servers");
    let mut backends: BTreeMap<String, BTreeMap<String, Standing>> = BTreeMap::new();
    let mut lines = answer.lines();
    if lines.next().map(str::trim) != Some("1") {
        return Err(Unexpected::Answer(answer.lines().next().unwrap_or_default().to_owned()));
    }
    for line in lines.filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let fields: Vec<&str> = line.split(' ').collect();
        let field = |at: usize| fields.get(at).copied().ok_or(form.clone());
        let (backend, server) = (field(1)?, field(3)?);
        let admin: u32 = field(6)?.parse().map_err(|_| form.clone())?;
        let (Ok(address), Ok(port)) = (field(4)?.parse(), field(18)?.parse()) else {
            // A server without an address is not one of ours, and takes no traffic.
            continue;
        };
        // Bits of the administrative state: 1 and 4 are maintenance, 8 and 16 draining.
        let state = match admin {
            _ if admin & 0b111 != 0 => State::Maintenance,
            _ if admin & 0b1_1000 != 0 => State::Drain,
            _ => State::Ready,
        };
        let servers = backends.entry(backend.to_owned()).or_default();
        servers.insert(server.to_owned(), Standing { address, port, state });
    }
    Ok(backends)
}

/// The connections in use of each server, from `show servers conn`, by `backend/server`.
pub fn servers_conn(answer: &str) -> Result<BTreeMap<String, u64>, Unexpected> {
    let form = Unexpected::Form("connections");
    let mut lines = answer.lines();
    let header = lines.next().unwrap_or_default();
    let column = header.split_whitespace().position(|name| name == "used_cur").ok_or(form.clone())?;
    // The header's first word is a lone `#`.
    let column = if header.starts_with("# ") { column - 1 } else { column };
    let mut used = BTreeMap::new();
    for line in lines.filter(|line| !line.is_empty()) {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (Some(name), Some(count)) = (fields.first(), fields.get(column)) else { return Err(form) };
        used.insert((*name).to_owned(), count.parse().map_err(|_| form.clone())?);
    }
    Ok(used)
}

/// The processes of a master, from `show proc` on its socket.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Processes {
    pub master: u32,
    pub reloads: u32,
    /// Reloads that failed since the last good one.
    pub failed: u32,
    pub workers: Vec<u32>,
    /// Workers of older configurations that still finish connections.
    pub old_workers: Vec<u32>,
}

/// Reads `show proc`.
pub fn processes(answer: &str) -> Result<Processes, Unexpected> {
    let form = Unexpected::Form("processes");
    let mut found = Processes::default();
    let mut old = false;
    for line in answer.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if let Some(title) = line.strip_prefix('#') {
            old = title.trim() == "old workers";
            continue;
        }
        let fields: Vec<&str> = line.split_whitespace().collect();
        let pid: u32 = fields.first().and_then(|pid| pid.parse().ok()).ok_or(form.clone())?;
        match fields.get(1) {
            Some(&"master") => {
                found.master = pid;
                found.reloads = fields.get(2).and_then(|count| count.parse().ok()).ok_or(form.clone())?;
                let failed = fields.iter().position(|word| *word == "[failed:");
                let failed =
                    failed.and_then(|at| fields.get(at + 1)).map(|count| count.trim_end_matches(']'));
                found.failed = failed.and_then(|count| count.parse().ok()).unwrap_or(0);
            }
            Some(&"worker") if old => found.old_workers.push(pid),
            Some(&"worker") => found.workers.push(pid),
            _ => {}
        }
    }
    if found.master == 0 { Err(form) } else { Ok(found) }
}

/// The process id in `show info`.
pub fn pid(answer: &str) -> Option<u32> {
    answer.lines().find_map(|line| line.strip_prefix("Pid: "))?.trim().parse().ok()
}

/// The fingerprint of the structure HAProxy was given, in `show info`.
pub fn structure(answer: &str) -> Option<&str> {
    let line = answer.lines().find(|line| line.to_ascii_lowercase().starts_with("description:"))?;
    line.split_once(':')?.1.trim().strip_prefix("stoa-")
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn answers_without_codes_are_told_apart() {
        assert_eq!(verdict("\n"), Verdict::Done);
        assert_eq!(verdict("New server registered.\n\n"), Verdict::Done);
        assert_eq!(verdict("No such server.\n"), Verdict::Already);
        let busy = "Server still has connections attached to it, cannot remove it.\n";
        assert_eq!(verdict(busy), Verdict::Busy);
        assert_eq!(verdict("No such backend.\n"), Verdict::Failed("No such backend.".into()));
    }

    #[test]
    fn server_states_are_read() {
        let answer = "1\n# be_id be_name srv_id srv_name srv_addr ...\n\
            3 b 1 s1 127.0.0.1 2 0 0 0 2 1 0 2 0 0 0 0 - 9 - 0 0 - - 0\n\
            3 b 2 s2 127.0.0.1 0 5 1 1 2 1 0 0 8 0 0 0 - 10 - 0 0 - - 0\n\
            3 b 3 s3 ::1 2 8 1 1 2 1 0 0 8 0 0 0 - 11 - 0 0 - - 0\n\
            4 c 1 s4 - 0 5 1 1 2 1 0 0 8 0 0 0 name 12 - 0 0 - - 0\n\n";
        expect![[r#"
            {
                "b": {
                    "s1": Standing {
                        address: 127.0.0.1,
                        port: 9,
                        state: Ready,
                    },
                    "s2": Standing {
                        address: 127.0.0.1,
                        port: 10,
                        state: Maintenance,
                    },
                    "s3": Standing {
                        address: ::1,
                        port: 11,
                        state: Drain,
                    },
                },
            }
        "#]]
        .assert_debug_eq(&servers_state(answer).unwrap());
        assert!(servers_state("Unknown command\n").is_err());
        assert!(servers_state("1\nshort line\n").is_err());
    }

    #[test]
    fn connections_are_counted() {
        let answer = "# bkname/svname bkid/svid addr port - purge_delay used_cur used_max\n\
            b/s1 3/1 127.0.0.1 9 - 5000 0 0\nb/d1 3/3 127.0.0.1 8080 - 5000 7 9\n\n";
        assert_eq!(
            servers_conn(answer).unwrap().into_iter().collect::<Vec<_>>(),
            [("b/d1".to_owned(), 7), ("b/s1".to_owned(), 0)]
        );
    }

    #[test]
    fn processes_are_read() {
        let answer = "#<PID>          <type>          <reloads>       <uptime>        <version>      \n\
            6676            master          3 [failed: 1]   0d00h00m04s     2.6.12-1+deb12u4\n\
            # workers\n9533            worker          0               0d00h00m01s     2.6.12-1+deb12u4\n\
            # old workers\n9500            worker          2               0d00h00m03s     2.6.12-1+deb12u4\n\
            # programs\n\n";
        let expected =
            Processes { master: 6676, reloads: 3, failed: 1, workers: vec![9533], old_workers: vec![9500] };
        assert_eq!(processes(answer), Ok(expected));
        assert!(processes("").is_err());
    }
}
