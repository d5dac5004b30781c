//! Real guests in instances, without a room around them.

mod replay;
mod tape;

use super::samples::SampleSource;
use super::{Code, CodeCaches, LiveSamples, SharedEngine};
use room_core::clock::Clock;
use room_core::id::{PartyName, RoomId};
use room_core::limits::Limits;
use room_core::logs::Logs;
use std::sync::Arc;

/// Sets limits under which a machine that is busy with other tests does not stop a guest.
fn limits() -> Arc<Limits> {
    let limits = Limits {
        rooms_active_max: 4,
        door_instances_max: 1,
        turn_ms_max: 60_000,
        turn_wall_ms_max: 60_000,
        ..Limits::default()
    };
    Arc::new(limits)
}

/// Compiles the puppet.
fn puppet(limits: &Arc<Limits>) -> Code {
    let cache = room_test_guest::target_dir().join("guests/compiled");
    let caches = CodeCaches { folder: Some(&cache), functions: false };
    let logs = Logs::new(limits, Clock::system());
    let engine = SharedEngine::new(limits, caches).unwrap().for_project(limits.clone(), logs);
    Code {
        module: engine.load(&room_test_guest::guest("puppet").into()).unwrap(),
        vars: Arc::default(),
        mint: None,
    }
}

fn room() -> RoomId {
    RoomId::new(PartyName::parse("main").unwrap(), "lobby", 256).unwrap()
}

fn seeded(seed: u64) -> Box<dyn SampleSource> {
    LiveSamples::seeded(Clock::system(), seed)
}
