//! Who speaks: from the levels that microphones' packets carry (RFC 6464).

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use medmesh_base::ParticipantId;

/// Louder than this is speech; browsers report 127 for silence, 30–50 for talking.
const SPEECH_LEVEL: u8 = 60;
/// Someone else has to be the loudest for so long before the picture changes.
const TAKEOVER: Duration = Duration::from_millis(400);
/// Levels older than this are silence.
const STALE: Duration = Duration::from_secs(1);
/// Weight of a new level (one every 20 ms): follows a syllable, not a click.
const SMOOTHING: f32 = 0.2;

/// Loudness of everyone in a room, and who has the floor.
#[derive(Debug, Default)]
pub(crate) struct Speakers {
    levels: BTreeMap<ParticipantId, Level>,
    floor: Option<ParticipantId>,
    challenger: Option<(ParticipantId, Instant)>,
}

#[derive(Debug)]
struct Level {
    /// 127 minus the RFC 6464 level, smoothed: 0 silent.
    loudness: f32,
    at: Instant,
}

impl Speakers {
    /// A level came with a packet or from another edge.
    pub(crate) fn note(&mut self, now: Instant, participant: ParticipantId, level: u8) {
        let loudness = f32::from(127 - level.min(127));
        let entry = self.levels.entry(participant).or_insert(Level {
            loudness: 0.0,
            at: now,
        });
        entry.loudness += (loudness - entry.loudness) * SMOOTHING;
        entry.at = now;
    }

    /// A level that stands for itself, because levels come rarely.
    pub(crate) fn set(&mut self, now: Instant, participant: ParticipantId, level: u8) {
        self.levels.insert(
            participant,
            Level {
                loudness: f32::from(127 - level.min(127)),
                at: now,
            },
        );
    }

    /// Smoothed RFC 6464 level now.
    pub(crate) fn level(&self, now: Instant, participant: ParticipantId) -> u8 {
        self.levels
            .get(&participant)
            .filter(|l| now.saturating_duration_since(l.at) < STALE)
            .map_or(127, |l| 127 - l.loudness as u8)
    }

    /// Forgets who left.
    pub(crate) fn retain(&mut self, present: impl Fn(ParticipantId) -> bool) {
        self.levels.retain(|p, _| present(*p));
        self.floor = self.floor.filter(|p| present(*p));
    }

    /// Who has the floor. The last speaker keeps it through silence.
    pub(crate) fn floor(&self) -> Option<ParticipantId> {
        self.floor
    }

    /// Gives the floor to who has been loudest for a while. True when it changed.
    pub(crate) fn settle(&mut self, now: Instant) -> bool {
        let loudest = self
            .levels
            .iter()
            .filter(|(p, _)| self.level(now, **p) < SPEECH_LEVEL)
            .max_by(|a, b| a.1.loudness.total_cmp(&b.1.loudness))
            .map(|(p, _)| *p);
        let Some(loudest) = loudest.filter(|l| self.floor != Some(*l)) else {
            self.challenger = None;
            return false;
        };
        let since = match self.challenger {
            Some((who, since)) if who == loudest => since,
            _ => now,
        };
        self.challenger = Some((loudest, since));
        let free = self.floor.is_none_or(|f| self.level(now, f) >= SPEECH_LEVEL);
        if free || now.saturating_duration_since(since) >= TAKEOVER {
            self.floor = Some(loudest);
            self.challenger = None;
            return true;
        }
        false
    }
}

pub(crate) fn is_speech(level: u8) -> bool {
    level < SPEECH_LEVEL
}
