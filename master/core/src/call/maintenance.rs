//! The calls that plan maintenance, as the registry takes them; the legacy endpoints have the same bodies.

use wire::maintenance::Schedule;
use wire::v1::MachineId;

use crate::registry::{Machine, MaintenanceCommand, Unavailability, Window};

impl MaintenanceCommand {
    /// `UPDATE_MAINTENANCE_SCHEDULE`: the whole schedule.
    #[must_use]
    pub fn schedule(schedule: Schedule) -> Self {
        let window = |window: wire::maintenance::Window| Window {
            machines: machines(window.machine_ids),
            unavailability: Unavailability {
                start: window.unavailability.start.nanoseconds,
                duration: window.unavailability.duration.map(|duration| duration.nanoseconds),
            },
        };
        Self::Schedule { windows: schedule.windows.into_iter().map(window).collect() }
    }

    /// `START_MAINTENANCE`.
    #[must_use]
    pub fn down(ids: Vec<MachineId>) -> Self {
        Self::Down { machines: machines(ids) }
    }

    /// `STOP_MAINTENANCE`.
    #[must_use]
    pub fn up(ids: Vec<MachineId>) -> Self {
        Self::Up { machines: machines(ids) }
    }
}

fn machines(ids: Vec<MachineId>) -> Vec<Machine> {
    let machine = |id: MachineId| {
        Machine::new(id.hostname.as_deref().unwrap_or_default(), id.ip.as_deref().unwrap_or_default())
    };
    ids.into_iter().map(machine).collect()
}
