//! The `control` data channel: JSON text messages, and when state is said again.

use std::time::{Duration, Instant};

use medmesh_base::media_token::Source;
use medmesh_base::{ParticipantId, RoomId};
use serde::{Deserialize, Serialize};
use str0m::channel::ChannelId;

/// The channel's name in the browser.
pub(crate) const LABEL: &str = "control";
/// Bound of one message either way.
pub(crate) const MESSAGE_BYTES_MAX: usize = 16 * 1024;
/// How often clients ping.
pub(crate) const HEARTBEAT: Duration = Duration::from_millis(500);
/// Messages a client may send in a burst and per second: pings take 2 of them.
const RATE_BURST: f64 = 60.0;
const RATE_PER_SECOND: f64 = 30.0;
/// More wishes than tiles fit on any screen.
const WISHES_MAX: usize = 64;

/// Server to client.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum Said {
    Welcome {
        participant: ParticipantId,
        room: RoomId,
        epoch: u64,
        heartbeat_ms: u64,
    },
    Roster {
        participants: Vec<RosterEntry>,
    },
    Slots {
        audio: Vec<Option<SlotEntry>>,
        video: Vec<Option<SlotEntry>>,
    },
    Speaker {
        participant: Option<ParticipantId>,
    },
    Layer {
        slot: usize,
        rid: Option<String>,
        reason: LayerReason,
    },
    Quality {
        estimate_bps: u64,
        loss_ratio: f32,
        rtt_ms: u64,
        state: QualityState,
    },
    Pong {
        t: serde_json::Value,
    },
    Migrate {
        reason: String,
    },
    Ended {
        reason: String,
    },
    Error {
        code: &'static str,
        message: &'static str,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct RosterEntry {
    pub(crate) participant: ParticipantId,
    pub(crate) tracks: Vec<RosterTrack>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct RosterTrack {
    pub(crate) source: Source,
    pub(crate) active: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct SlotEntry {
    pub(crate) mid: String,
    pub(crate) participant: ParticipantId,
    pub(crate) source: Source,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LayerReason {
    /// The link does not carry more.
    Bandwidth,
    /// The tile is not larger.
    Layout,
    /// The publisher sends nothing.
    Paused,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum QualityState {
    Good,
    Fair,
    Poor,
    AudioOnly,
}

/// Client to server. Types we do not know are ignored.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum Heard {
    Ping {
        t: serde_json::Value,
    },
    Source {
        source: Source,
        active: bool,
    },
    Wish {
        video: Vec<Wish>,
    },
    Leave,
    #[serde(other)]
    Unknown,
}

/// A picture the client wants, and how tall its tile is.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Wish {
    pub(crate) participant: ParticipantId,
    pub(crate) source: Source,
    /// CSS pixels times device pixel ratio.
    pub(crate) height: u32,
}

/// Reads a message; `None` when it is not one.
pub(crate) fn parse(bytes: &[u8]) -> Option<Heard> {
    if bytes.len() > MESSAGE_BYTES_MAX {
        return None;
    }
    match serde_json::from_slice(bytes).ok()? {
        Heard::Wish { mut video } => {
            video.truncate(WISHES_MAX);
            Some(Heard::Wish { video })
        }
        other => Some(other),
    }
}

/// One participant's end of the channel.
#[derive(Debug, Default)]
pub(crate) struct Control {
    pub(crate) channel: Option<ChannelId>,
    /// The last of each kind of state that was accepted by the channel.
    pub(crate) roster: Option<String>,
    pub(crate) slots: Option<String>,
    pub(crate) speaker: Option<String>,
    pub(crate) layers: Vec<Option<String>>,
    pub(crate) quality_at: Option<Instant>,
    rate: Option<(Instant, f64)>,
}

impl Control {
    /// A new channel knows nothing of what was said on an older one.
    pub(crate) fn open(&mut self, channel: ChannelId) {
        *self = Self {
            channel: Some(channel),
            rate: self.rate,
            ..Self::default()
        };
    }

    /// Takes one message off the allowance.
    pub(crate) fn admit(&mut self, now: Instant) -> bool {
        let (at, tokens) = self.rate.unwrap_or((now, RATE_BURST));
        let earned = now.saturating_duration_since(at).as_secs_f64() * RATE_PER_SECOND;
        let tokens = (tokens + earned).min(RATE_BURST);
        let admitted = tokens >= 1.0;
        self.rate = Some((now, if admitted { tokens - 1.0 } else { tokens }));
        admitted
    }
}
