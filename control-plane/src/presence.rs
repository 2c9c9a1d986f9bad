//! What the media plane sees of people, brought into the record of their visits: who is in it now, who has left.
//!
//! The edges' reports say who is connected; the leader tells the database what changed. The record
//! then answers who holds a seat, whether somebody who only listens is there (the idle lock goes by it), and what
//! the portals show. Nothing here waits for an answer: joining and media go on without it.

use std::collections::BTreeMap;
use std::time::Duration;

use medmesh_base::drain::Drain;
use medmesh_base::{ParticipantId, RequestId, RoomId};
use medmesh_clinic::{Actor, SystemActor};
use medmesh_store::{Store, StoreError};
use tokio::time::{Instant, MissedTickBehavior};

use crate::fleet::{Fleet, Presences};

/// How often reports are compared with what was told: edges report once a second.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Who has not been seen for this long has left: longer than a page takes to load again, than a visit takes to
/// move to another edge, and than the edges take to find a new leader.
const GONE_AFTER: Duration = Duration::from_secs(6);

/// News told in one turn: a new leader tells of everybody once, and the database has other work.
const NEWS_MAX: usize = 64;

type Key = (RoomId, ParticipantId);

/// Tells the record who comes and goes, until the drain stops.
pub(crate) async fn follow(fleet: Fleet, store: Store, drain: Drain) {
    let mut told = Told::default();
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = drain.stopping() => return,
            _ = ticks.tick() => {}
        }
        let Some(present) = fleet.presences() else {
            // Another node leads, and may have told something else since.
            told = Told::default();
            continue;
        };
        for (key, connected) in told.news(&present, Instant::now()) {
            match tell(&store, key, connected).await {
                Ok(()) => told.note(key, connected),
                // It stays news.
                Err(error) => tracing::debug!(%error, "the record hears later who is connected"),
            }
        }
    }
}

async fn tell(store: &Store, (room, participant): Key, connected: bool) -> Result<(), StoreError> {
    // A room without a visit: of a clinic that was erased, of a backup that was put back.
    let Some(located) = store.room_locate(room).await? else {
        return Ok(());
    };
    let media = Actor::System(SystemActor::Media);
    let mut tx = store
        .begin(located.clinic_id, media, RequestId::generate())
        .await?;
    match tx
        .participant_presence(located.visit_id, participant, connected)
        .await
    {
        Ok(Some(_)) => tx.commit().await,
        Ok(None) | Err(StoreError::NotFound) => Ok(()),
        Err(error) => Err(error),
    }
}

/// What the record was told since this node leads.
#[derive(Debug, Default)]
struct Told {
    told: BTreeMap<Key, bool>,
    missing_since: BTreeMap<Key, Instant>,
    /// Whose news went last: the next turn begins behind it, so that news which the database keeps refusing holds
    /// nobody else's back.
    last: Option<Key>,
}

impl Told {
    /// What the record does not know, at most [`NEWS_MAX`].
    fn news(&mut self, present: &Presences, now: Instant) -> Vec<(Key, bool)> {
        self.missing_since
            .retain(|key, _| present.get(key).is_some_and(|connected| !connected));
        // Whose room is over: its visit said so to everybody, and need not hear it again.
        self.told
            .retain(|key, connected| present.contains_key(key) || *connected);
        let over = self.told.keys().filter(|key| !present.contains_key(*key));
        let mut news: Vec<(Key, bool)> = over.map(|key| (*key, false)).collect();
        for (key, connected) in present {
            let settled = *connected || {
                let since = *self.missing_since.entry(*key).or_insert(now);
                now.saturating_duration_since(since) >= GONE_AFTER
            };
            if settled && self.told.get(key) != Some(connected) {
                news.push((*key, *connected));
            }
        }
        news.sort_unstable();
        let behind = news.partition_point(|(key, _)| Some(*key) <= self.last);
        news.rotate_left(behind);
        news.truncate(NEWS_MAX);
        self.last = news.last().map(|(key, _)| *key);
        news
    }

    fn note(&mut self, key: Key, connected: bool) {
        self.told.insert(key, connected);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> Key {
        (RoomId::generate(), ParticipantId::generate())
    }

    fn tell_all(told: &mut Told, present: &Presences, now: Instant) -> Vec<(Key, bool)> {
        let news = told.news(present, now);
        for (key, connected) in &news {
            told.note(*key, *connected);
        }
        news
    }

    #[test]
    fn coming_is_told_at_once_and_once_and_going_after_a_while() {
        let (mut told, one, start) = (Told::default(), key(), Instant::now());
        let here = Presences::from([(one, true)]);
        let away = Presences::from([(one, false)]);
        assert_eq!(tell_all(&mut told, &here, start), [(one, true)]);
        assert_eq!(tell_all(&mut told, &here, start), []);
        // A page that is loaded again.
        let moment = start + GONE_AFTER / 2;
        assert_eq!(tell_all(&mut told, &away, moment), []);
        assert_eq!(tell_all(&mut told, &here, moment + GONE_AFTER), []);
        assert_eq!(tell_all(&mut told, &away, moment + GONE_AFTER), []);
        assert_eq!(
            tell_all(&mut told, &away, moment + GONE_AFTER * 2),
            [(one, false)]
        );
        assert_eq!(tell_all(&mut told, &away, moment + GONE_AFTER * 3), []);
        assert_eq!(tell_all(&mut told, &here, moment + GONE_AFTER * 3), [(one, true)]);
    }

    /// A node that comes to lead knows nothing of what was told, and waits for the edges to find it.
    #[test]
    fn a_new_leader_tells_of_everybody_once_and_of_nobody_gone_too_soon() {
        let (mut told, here, gone, start) = (Told::default(), key(), key(), Instant::now());
        let present = Presences::from([(here, true), (gone, false)]);
        assert_eq!(tell_all(&mut told, &present, start), [(here, true)]);
        assert_eq!(tell_all(&mut told, &present, start + GONE_AFTER), [(gone, false)]);
    }

    #[test]
    fn what_was_not_taken_stays_news_and_a_room_that_is_over_has_nobody_in_it() {
        let (mut told, one, start) = (Told::default(), key(), Instant::now());
        let present = Presences::from([(one, true)]);
        assert_eq!(told.news(&present, start), [(one, true)]);
        assert_eq!(tell_all(&mut told, &present, start), [(one, true)]);
        let over = Presences::new();
        assert_eq!(tell_all(&mut told, &over, start), [(one, false)]);
        assert_eq!(tell_all(&mut told, &over, start), []);
        assert!(told.told.is_empty(), "nothing is kept of it");
    }

    #[test]
    fn news_that_is_refused_holds_nobody_elses_back() {
        let mut told = Told::default();
        let present: Presences = (0..NEWS_MAX * 3).map(|_| (key(), true)).collect();
        let refused: Vec<Key> = present.keys().copied().take(NEWS_MAX).collect();
        for _ in 0..6 {
            for (key, connected) in told.news(&present, Instant::now()) {
                if !refused.contains(&key) {
                    told.note(key, connected);
                }
            }
        }
        let left: Vec<Key> = told
            .news(&present, Instant::now())
            .iter()
            .map(|news| news.0)
            .collect();
        assert_eq!(left.len(), NEWS_MAX);
        assert!(
            left.iter().all(|key| refused.contains(key)),
            "and these stay news"
        );
    }

    #[test]
    fn many_are_told_in_turns() {
        let mut told = Told::default();
        let present: Presences = (0..NEWS_MAX * 2 + 1).map(|_| (key(), true)).collect();
        let turns: Vec<usize> = (0..4)
            .map(|_| tell_all(&mut told, &present, Instant::now()).len())
            .collect();
        assert_eq!(turns, [NEWS_MAX, NEWS_MAX, 1, 0]);
    }
}
