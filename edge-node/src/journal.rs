//! What happens to participants, as log lines: opaque ids, never a name.

use medmesh_sfu::Event;

/// Logs one event of a shard.
pub(crate) fn event(event: &Event) {
    match event {
        Event::Connected {
            room,
            participant,
            after,
        } => {
            let after_ms = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
            tracing::info!(%room, %participant, after_ms, "participant connected");
        }
        Event::Left {
            room,
            participant,
            reason,
            ..
        } => tracing::info!(%room, %participant, reason = reason.as_str(), "participant left"),
        Event::RoomClosed { room } => tracing::info!(%room, "room closed"),
    }
}
