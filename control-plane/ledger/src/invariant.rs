//! What holds of every state, however it came to be: checked after each step of random
//! histories, by the tests here and by the fuzzer.
//!
//! Compiled for tests and with `--cfg fuzzing` only.

use std::collections::BTreeMap;

use crate::State;
use crate::limits::{FALLBACKS_MAX, ROOM_PARTICIPANTS_MAX};

/// Panics unless `state` may follow `before`.
pub fn check(state: &State, before: &State) {
    assert!(
        state.now >= before.now && state.epoch >= before.epoch && state.turn.current >= before.turn.current
    );
    for (clinic, log) in &before.audit_logs {
        let now = state
            .audit_logs
            .get(clinic)
            .expect("a witnessed log is never forgotten");
        assert!(now.notices.starts_with(&log.notices), "a notice stays");
        assert!(now.key_epoch >= log.key_epoch, "keys are never taken back");
        if now.generation() == log.generation() {
            assert!(now.newest.size >= log.newest.size, "a log never shrinks");
        } else {
            let left = now.notices.iter().filter_map(|notice| notice.left).next_back();
            assert!(left.is_some() && now.origin != log.origin, "or it says so");
        }
    }
    let mut names = BTreeMap::new();
    for (id, edge) in &state.edges {
        assert_eq!(names.insert(&edge.descriptor.name, id), None, "names are unique");
    }
    for (id, room) in &state.rooms {
        assert!(room.epoch <= state.epoch && room.epoch > 0);
        if let Some(held) = before.rooms.get(id) {
            assert!(room.epoch >= held.epoch, "an epoch never decreases");
            assert!(
                room.epoch > held.epoch || room == held,
                "a change raises the epoch"
            );
        } else {
            assert!(room.epoch > before.epoch, "a new room's epoch is new");
        }
        assert!(room.placements.len() <= ROOM_PARTICIPANTS_MAX);
        for placement in room.placements.values() {
            assert!(placement.fallbacks.len() <= FALLBACKS_MAX);
            for edge in std::iter::once(&placement.edge).chain(&placement.fallbacks) {
                let edge = state.edges.get(edge).expect("no placement on an unknown edge");
                let fits = room.residency.is_empty() || room.residency.contains(&edge.descriptor.region);
                assert!(fits, "no placement outside the residency");
            }
        }
    }
}
