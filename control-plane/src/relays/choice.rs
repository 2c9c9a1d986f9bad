//! Which of the relays that serve a participant is told of.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use medmesh_base::{ParticipantId, Region};

use crate::config::ExternalRelay;

/// Relays a browser is told of beside those of its edges: it gathers candidates from each, and its
/// gathering slows down from five servers on.
pub(super) const HANDED_MAX: usize = 2;

/// The best of the relays that may be used, at most [`HANDED_MAX`]: those for the region of the first edge
/// before those for its fall-backs, and equals by turns, so that participants spread over them.
pub(super) fn choose<'a, T>(
    relays: impl Iterator<Item = (&'a ExternalRelay, T)>,
    edges: &[&Region],
    residency: &[Region],
    participant: ParticipantId,
) -> Vec<(&'a ExternalRelay, T)> {
    let may = |relay: &ExternalRelay| residency.is_empty() || residency.contains(&relay.region);
    let mut ranked: Vec<_> = relays
        .filter(|(relay, _)| may(relay))
        .filter_map(|(relay, with)| {
            let place = edges.iter().position(|region| relay.is_for(region))?;
            Some(((place, turn_of(relay, participant)), (relay, with)))
        })
        .collect();
    ranked.sort_by_key(|(rank, _)| *rank);
    ranked
        .into_iter()
        .take(HANDED_MAX)
        .map(|(_, chosen)| chosen)
        .collect()
}

/// Rendezvous: each participant has an order of their own, which does not change when a relay comes or goes.
fn turn_of(relay: &ExternalRelay, participant: ParticipantId) -> u64 {
    let mut hasher = DefaultHasher::new();
    (participant.to_string(), &relay.name).hash(&mut hasher);
    hasher.finish()
}
