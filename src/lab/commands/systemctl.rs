//! `systemctl`: units of a node or container.

use crate::lab::files::Files;
use crate::lab::world::{Place, World};

/// Starts what is enabled, as a boot does.
pub fn boot(_world: &mut World, _files: &Files, _place: &Place) {}

/// Everything ends with the machine: nothing is active any more.
pub fn halt(world: &mut World, place: &Place) {
    let Some(system) = world.system_mut(place) else { return };
    for unit in system.units.values_mut() {
        unit.active = None;
        unit.failed = false;
        unit.main_pid = 0;
    }
}
