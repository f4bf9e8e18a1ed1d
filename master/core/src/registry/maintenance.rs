//! Planned maintenance: which machines are to be away and when, and which are away now.
//!
//! A machine is *draining* from the moment it stands in the schedule: its agents' offers say when they end, and
//! frameworks are asked to leave. The operator takes it *down*, and *up* again, which takes it off the schedule.

use core::net::IpAddr;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use wire::registry::{self as wire_registry, Record, record};
use wire::v1::{DurationInfo, TimeInfo};

use super::limits::{ID_BYTES, Limits};
use super::refusal::check_text;
use super::table::{Fact, Table};
use super::{Outcome, Refusal, Text};

/// A machine as operators name it: by the hostname of its agents, their address, or both. What is left out fits any.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Machine {
    /// In lower case; may be empty.
    pub hostname: Text,
    /// As programs print it; may be empty.
    pub ip: Text,
}

impl Machine {
    /// Names are compared without regard to case, addresses whatever way they are written.
    #[must_use]
    pub fn new(hostname: &str, ip: &str) -> Self {
        let ip = ip.parse::<IpAddr>().map_or_else(|_| ip.into(), |ip| ip.to_string().into());
        Self { hostname: hostname.to_ascii_lowercase().into(), ip }
    }

    fn check(&self, field: &str) -> Result<(), Refusal> {
        if self.hostname.is_empty() && self.ip.is_empty() {
            return Err(Refusal::invalid(field, "must have a hostname or an ip"));
        }
        if !self.hostname.is_empty() {
            check_text(format_args!("{field}.hostname"), &self.hostname, ID_BYTES)?;
        }
        if !self.ip.is_empty() && self.ip.parse::<IpAddr>().is_err() {
            return Err(Refusal::invalid(format!("{field}.ip"), "must be an address"));
        }
        Ok(())
    }
}

impl std::fmt::Display for Machine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (&*self.hostname, &*self.ip) {
            (hostname, "") => f.write_str(hostname),
            ("", ip) => f.write_str(ip),
            (hostname, ip) => write!(f, "{hostname} ({ip})"),
        }
    }
}

/// When a machine is to be away: nanoseconds, as the operator gave them. Nothing here happens by the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unavailability {
    pub start: i64,
    /// Absent: for good.
    pub duration: Option<i64>,
}

impl From<Unavailability> for wire::v1::Unavailability {
    fn from(away: Unavailability) -> Self {
        Self {
            start: TimeInfo { nanoseconds: away.start },
            duration: away.duration.map(|nanoseconds| DurationInfo { nanoseconds }),
        }
    }
}

/// Machines that are away together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    pub machines: Vec<Machine>,
    pub unavailability: Unavailability,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MaintenanceCommand {
    /// The whole schedule, in place of the one before.
    Schedule { windows: Vec<Window> },
    /// Scheduled machines go away.
    Down { machines: Vec<Machine> },
    /// Machines that are away are back, and off the schedule.
    Up { machines: Vec<Machine> },
}

/// A machine's place in the schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scheduled {
    pub machine: Machine,
    pub unavailability: Unavailability,
    /// It is away: its agents may not register.
    pub down: bool,
    /// Its window, and its place there, so that the schedule is read as it was written.
    window: u32,
    place: u32,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Maintenance {
    table: Table<Machine, Scheduled>,
}

impl Maintenance {
    /// As many machines as agents may be scheduled.
    pub(crate) fn check(&self, command: &MaintenanceCommand, limits: &Limits) -> Result<(), Refusal> {
        match command {
            MaintenanceCommand::Schedule { windows } => self.check_schedule(windows, limits),
            MaintenanceCommand::Down { machines } => self.check_machines(machines, |known| match known {
                Some(known) if known.down => Err("is down already"),
                Some(_) => Ok(()),
                None => Err("is not in the maintenance schedule"),
            }),
            MaintenanceCommand::Up { machines } => self.check_machines(machines, |known| match known {
                Some(known) if known.down => Ok(()),
                _ => Err("is not down"),
            }),
        }
    }

    fn check_schedule(&self, windows: &[Window], limits: &Limits) -> Result<(), Refusal> {
        let mut named = BTreeSet::new();
        for (at, window) in windows.iter().enumerate() {
            let field = format!("windows[{at}]");
            if window.machines.is_empty() {
                return Err(Refusal::invalid(format!("{field}.machine_ids"), "must not be empty"));
            }
            if window.unavailability.duration.is_some_and(|duration| duration < 0) {
                return Err(Refusal::invalid(
                    format!("{field}.unavailability.duration"),
                    "must not be negative",
                ));
            }
            for (place, machine) in window.machines.iter().enumerate() {
                let field = format!("{field}.machine_ids[{place}]");
                machine.check(&field)?;
                if !named.insert(machine) {
                    return Err(Refusal::invalid(field, format!("names machine '{machine}' a second time")));
                }
            }
        }
        if named.len() as u64 > limits.agents {
            return Err(Refusal::Full { what: "machines in the maintenance schedule", limit: limits.agents });
        }
        match self.table.iter().find(|known| known.down && !named.contains(&known.machine)) {
            Some(known) => Err(Refusal::invalid(
                "windows",
                format!("must keep machine '{}', which is down: stop its maintenance first", known.machine),
            )),
            None => Ok(()),
        }
    }

    fn check_machines(
        &self,
        machines: &[Machine],
        judge: impl Fn(Option<&Arc<Scheduled>>) -> Result<(), &'static str>,
    ) -> Result<(), Refusal> {
        if machines.is_empty() {
            return Err(Refusal::invalid("machines", "must not be empty"));
        }
        let mut named = BTreeSet::new();
        for (place, machine) in machines.iter().enumerate() {
            let field = format!("machines[{place}]");
            machine.check(&field)?;
            if !named.insert(machine) {
                return Err(Refusal::invalid(field, format!("names machine '{machine}' a second time")));
            }
            judge(self.table.get(machine)).map_err(|fault| {
                Refusal::invalid(field, format!("names machine '{machine}', which {fault}"))
            })?;
        }
        Ok(())
    }

    pub(crate) fn apply(&mut self, command: MaintenanceCommand) -> Outcome {
        match command {
            MaintenanceCommand::Schedule { windows } => self.replace(windows),
            MaintenanceCommand::Down { machines } => {
                for machine in machines {
                    let Some(known) = self.table.get(&machine) else { continue };
                    let down = Scheduled { down: true, ..(**known).clone() };
                    self.table.insert(machine, down);
                }
                Outcome::Changed
            }
            MaintenanceCommand::Up { machines } => {
                for machine in machines {
                    self.table.remove(&machine);
                }
                Outcome::Changed
            }
        }
    }

    fn replace(&mut self, windows: Vec<Window>) -> Outcome {
        let mut table = Table::default();
        for (number, window) in (0..).zip(windows) {
            for (place, machine) in (0..).zip(window.machines) {
                let down = self.table.get(&machine).is_some_and(|known| known.down);
                let unavailability = window.unavailability;
                let scheduled =
                    Scheduled { machine: machine.clone(), unavailability, down, window: number, place };
                table.insert(machine, scheduled);
            }
        }
        if table.len() == self.table.len() && table.iter().eq(self.table.iter()) {
            return Outcome::Unchanged;
        }
        self.table = table;
        Outcome::Changed
    }

    /// Where a machine stands that has this name and address: the entry that names both goes before those that name
    /// one.
    pub(crate) fn of(&self, hostname: &str, ip: &str) -> Option<&Arc<Scheduled>> {
        if self.table.is_empty() {
            return None;
        }
        let whole = Machine::new(hostname, ip);
        let named = Machine { ip: "".into(), ..whole.clone() };
        let addressed = Machine { hostname: "".into(), ..whole.clone() };
        [whole, named, addressed].iter().find_map(|machine| self.table.get(machine))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Scheduled>> {
        self.table.iter()
    }

    /// The schedule as the operator wrote it, without the machines that are back.
    pub(crate) fn windows(&self) -> Vec<Window> {
        let mut windows: BTreeMap<u32, BTreeMap<u32, &Arc<Scheduled>>> = BTreeMap::new();
        for scheduled in self.table.iter() {
            windows.entry(scheduled.window).or_default().insert(scheduled.place, scheduled);
        }
        let window = |machines: BTreeMap<u32, &Arc<Scheduled>>| {
            let unavailability = machines.values().next()?.unavailability;
            let machines = machines.into_values().map(|scheduled| scheduled.machine.clone()).collect();
            Some(Window { machines, unavailability })
        };
        windows.into_values().filter_map(window).collect()
    }

    pub(crate) fn digest(&self) -> u64 {
        self.table.digest()
    }

    pub(crate) fn into_records(self) -> impl Iterator<Item = Record> {
        self.table.into_records()
    }

    /// Takes a machine from a snapshot; false when it is there already.
    pub(crate) fn restore(&mut self, known: wire_registry::ScheduledMachine) -> bool {
        let machine = machine_from_wire(known.machine);
        let scheduled = Scheduled {
            machine: machine.clone(),
            unavailability: Unavailability { start: known.start_ns, duration: known.duration_ns },
            down: known.down,
            window: known.window,
            place: known.place,
        };
        self.table.insert(machine, scheduled).is_none()
    }
}

impl Fact for Scheduled {
    fn record(&self) -> Record {
        let scheduled = wire_registry::ScheduledMachine {
            machine: machine_to_wire(&self.machine),
            window: self.window,
            place: self.place,
            start_ns: self.unavailability.start,
            duration_ns: self.unavailability.duration,
            down: self.down,
        };
        Record { record: Some(record::Record::Machine(scheduled)) }
    }
}

pub(crate) fn to_wire(command: &MaintenanceCommand) -> wire_registry::MaintenanceCommand {
    use wire_registry::maintenance_command::Command as C;
    let all = |machines: &[Machine]| wire_registry::Machines {
        machines: machines.iter().map(machine_to_wire).collect(),
    };
    let command = match command {
        MaintenanceCommand::Schedule { windows } => {
            let window = |window: &Window| wire_registry::MaintenanceWindow {
                machines: window.machines.iter().map(machine_to_wire).collect(),
                start_ns: window.unavailability.start,
                duration_ns: window.unavailability.duration,
            };
            C::Schedule(wire_registry::MaintenanceSchedule { windows: windows.iter().map(window).collect() })
        }
        MaintenanceCommand::Down { machines } => C::Down(all(machines)),
        MaintenanceCommand::Up { machines } => C::Up(all(machines)),
    };
    wire_registry::MaintenanceCommand { command: Some(command) }
}

/// `None` for a command of a newer version.
pub(crate) fn from_wire(command: wire_registry::MaintenanceCommand) -> Option<MaintenanceCommand> {
    use wire_registry::maintenance_command::Command as C;
    let all = |machines: Vec<wire_registry::Machine>| machines.into_iter().map(machine_from_wire).collect();
    Some(match command.command? {
        C::Schedule(schedule) => {
            let window = |window: wire_registry::MaintenanceWindow| Window {
                machines: all(window.machines),
                unavailability: Unavailability { start: window.start_ns, duration: window.duration_ns },
            };
            MaintenanceCommand::Schedule { windows: schedule.windows.into_iter().map(window).collect() }
        }
        C::Down(down) => MaintenanceCommand::Down { machines: all(down.machines) },
        C::Up(up) => MaintenanceCommand::Up { machines: all(up.machines) },
    })
}

fn machine_to_wire(machine: &Machine) -> wire_registry::Machine {
    wire_registry::Machine { hostname: machine.hostname.to_string(), ip: machine.ip.to_string() }
}

fn machine_from_wire(machine: wire_registry::Machine) -> Machine {
    Machine { hostname: machine.hostname.into(), ip: machine.ip.into() }
}
