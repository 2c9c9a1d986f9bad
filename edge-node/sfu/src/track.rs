//! Published tracks and their layers: what is known about them, who gets them.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use medmesh_base::media_token::Source;
use medmesh_base::{EdgeId, ParticipantId};

use crate::codec::CodecTag;
use crate::connection::ConnectionKey;
use crate::keyframe::Keyframes;

/// Most layers a simulcast track may have.
pub(crate) const LAYERS_MAX: usize = 3;
/// Bitrates are averaged over this time: longer than a keyframe's burst.
const METER_WINDOW: Duration = Duration::from_secs(1);
/// A layer from which nothing came for so long is not offered to anybody.
const LAYER_SILENCE: Duration = Duration::from_millis(1_500);

/// Bitrates that drift are said again at most this often.
const ANNOUNCE_INTERVAL: Duration = Duration::from_secs(2);

/// A track of a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct TrackKey {
    pub(crate) participant: ParticipantId,
    pub(crate) source: Source,
}

impl TrackKey {
    pub(crate) fn is_audio(self) -> bool {
        self.source == Source::Mic
    }
}

/// Where a track's packets come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    Local(ConnectionKey),
    Remote(EdgeId),
}

/// One published track.
#[derive(Debug)]
pub(crate) struct Track {
    pub(crate) origin: Origin,
    /// Muted or stopped tracks keep their place in the roster, not their slots.
    pub(crate) active: bool,
    /// The participant said so, packets no longer do.
    pub(crate) told: bool,
    pub(crate) codec: Option<CodecTag>,
    /// Lowest first.
    pub(crate) layers: Vec<Layer>,
    /// Local slots that show it.
    pub(crate) subscribers: Vec<(ConnectionKey, u8)>,
}

impl Track {
    pub(crate) fn new(origin: Origin, rids: impl IntoIterator<Item = String>) -> Self {
        let layers: Vec<Layer> = rids.into_iter().take(LAYERS_MAX).map(Layer::new).collect();
        Self {
            origin,
            active: false,
            told: false,
            codec: None,
            layers,
            subscribers: Vec::new(),
        }
    }

    pub(crate) fn is_local(&self) -> bool {
        matches!(self.origin, Origin::Local(_))
    }

    pub(crate) fn layer_by_rid(&self, rid: &str) -> Option<u8> {
        self.layers.iter().position(|l| l.rid == rid).map(|i| i as u8)
    }
}

/// One encoding of a track.
#[derive(Debug)]
pub(crate) struct Layer {
    /// Empty where there is no simulcast.
    pub(crate) rid: String,
    /// Pixels; 0 while unknown.
    pub(crate) height: u32,
    /// What the origin says of a remote layer.
    pub(crate) told_bps: u64,
    meter: Meter,
    last_packet: Option<Instant>,
    /// What peers were last told, and when.
    announced: Option<(Instant, u64)>,
    pub(crate) keyframes: Keyframes,
}

impl Layer {
    pub(crate) fn new(rid: String) -> Self {
        Self {
            rid,
            height: 0,
            told_bps: 0,
            meter: Meter::default(),
            last_packet: None,
            announced: None,
            keyframes: Keyframes::default(),
        }
    }

    pub(crate) fn note_packet(&mut self, now: Instant, bytes: usize) {
        self.last_packet = Some(now);
        self.meter.add(now, bytes);
    }

    /// Packets come in (or the origin says so).
    pub(crate) fn live(&self, now: Instant) -> bool {
        self.told_bps > 0
            || self
                .last_packet
                .is_some_and(|t| now.saturating_duration_since(t) < LAYER_SILENCE)
    }

    /// What sending it takes: measured, or said by the origin, or (before there is a
    /// second of it) what browsers give such a layer.
    pub(crate) fn cost_bps(&mut self, now: Instant) -> u64 {
        let settled = self
            .meter
            .first
            .is_some_and(|t| now.saturating_duration_since(t) >= METER_WINDOW);
        let measured = self.meter.bitrate_bps(now);
        match (settled && measured > 0, self.told_bps, self.rid.as_str()) {
            (true, ..) => measured,
            // A peer that says 1 has just begun to measure.
            (false, told @ 2.., _) => told,
            (false, _, "q") => 150_000,
            (false, _, "h") => 500_000,
            (false, _, "f") => 1_200_000,
            // A screen, or a camera without layers: optimistic, because it has nothing smaller.
            (false, _, _) => 400_000,
        }
    }

    /// What to tell peers: 0 when nothing comes in.
    pub(crate) fn announce_bps(&mut self, now: Instant) -> u32 {
        let bps = self.current_bps(now);
        self.announced = Some((now, bps));
        u32::try_from(bps).unwrap_or(u32::MAX)
    }

    /// Peers' idea of the layer is off by more than they should have to bear.
    pub(crate) fn announce_due(&mut self, now: Instant) -> bool {
        let bps = self.current_bps(now);
        let Some((at, told)) = self.announced else {
            return bps > 0;
        };
        let changed = (bps == 0) != (told == 0);
        let drifted = bps.abs_diff(told) * 3 > told;
        changed || (drifted && now.saturating_duration_since(at) >= ANNOUNCE_INTERVAL)
    }

    fn current_bps(&mut self, now: Instant) -> u64 {
        let live = self.live(now);
        if live {
            self.meter.bitrate_bps(now).max(1)
        } else {
            0
        }
    }

    /// Pixels, guessed from the layer's name where the stream does not say: browsers
    /// scale a 720-line camera by 4, 2 and 1.
    pub(crate) fn height_or_guess(&self) -> u32 {
        match (self.height, self.rid.as_str()) {
            (0, "q") => 180,
            (0, "h") => 360,
            (0, _) => 720,
            (height, _) => height,
        }
    }
}

/// Bytes over a sliding second.
#[derive(Debug, Default)]
struct Meter {
    /// 100 ms buckets, oldest first.
    buckets: VecDeque<(Instant, u64)>,
    first: Option<Instant>,
}

impl Meter {
    const BUCKET: Duration = Duration::from_millis(100);

    fn add(&mut self, now: Instant, bytes: usize) {
        self.first.get_or_insert(now);
        match self.buckets.back_mut() {
            Some((at, sum)) if now.saturating_duration_since(*at) < Self::BUCKET => *sum += bytes as u64,
            _ => {
                self.expire(now);
                self.buckets.push_back((now, bytes as u64));
            }
        }
    }

    fn expire(&mut self, now: Instant) {
        while self
            .buckets
            .front()
            .is_some_and(|(at, _)| now.saturating_duration_since(*at) >= METER_WINDOW)
        {
            self.buckets.pop_front();
        }
    }

    fn bitrate_bps(&mut self, now: Instant) -> u64 {
        self.expire(now);
        let Some(first) = self.first else { return 0 };
        let bytes: u64 = self.buckets.iter().map(|(_, sum)| sum).sum();
        let span = now
            .saturating_duration_since(first)
            .clamp(Self::BUCKET, METER_WINDOW);
        (bytes as f64 * 8.0 / span.as_secs_f64()) as u64
    }
}
