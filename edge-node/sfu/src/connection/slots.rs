//! Receive slots: the m-lines a subscriber gets things on.

use std::time::Duration;

use str0m::Rtc;
use str0m::media::Mid;
use str0m::rtp::Ssrc;

use crate::control::LayerReason;
use crate::forward::Forwarder;
use crate::track::TrackKey;

/// Packets older than this are not sent again: browsers give up on a packet after ten
/// requests, a round trip apart, and the nearest edge is within 100 ms.
const RTX_CACHE_AGE: Duration = Duration::from_secs(1);
/// Most of what is sent on a slot may be repairs; beyond, the link is full and they make it worse.
const RTX_SHARE_MAX: Option<f32> = Some(0.15);

/// A receive slot: an m-line of the subscriber, and what it shows.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) mid: Mid,
    pub(super) ssrc: Ssrc,
    pub(crate) track: Option<TrackKey>,
    pub(crate) forwarder: Forwarder,
    /// Height the subscriber has use for, pixels.
    pub(crate) height: u32,
    /// Place in the order of importance; 0 first.
    pub(crate) importance: usize,
    /// Why the layer is what it is.
    pub(crate) reason: LayerReason,
}

/// The receive slots, by kind.
#[derive(Debug, Default)]
pub(crate) struct Slots {
    pub(crate) audio: Vec<Slot>,
    pub(crate) video: Vec<Slot>,
}

/// Video slots are numbered after this in subscriber lists.
pub(crate) const VIDEO_SLOT_BASE: u8 = 128;

impl Slots {
    /// By the number of a subscriber list.
    pub(crate) fn get_mut(&mut self, number: u8) -> Option<&mut Slot> {
        if number >= VIDEO_SLOT_BASE {
            self.video.get_mut(usize::from(number - VIDEO_SLOT_BASE))
        } else {
            self.audio.get_mut(usize::from(number))
        }
    }

    pub(crate) fn get(&self, number: u8) -> Option<&Slot> {
        if number >= VIDEO_SLOT_BASE {
            self.video.get(usize::from(number - VIDEO_SLOT_BASE))
        } else {
            self.audio.get(usize::from(number))
        }
    }

    /// With the numbers of subscriber lists.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u8, &Slot)> {
        let audio = self.audio.iter().enumerate().map(|(i, s)| (i as u8, s));
        audio.chain(
            self.video
                .iter()
                .enumerate()
                .map(|(i, s)| (VIDEO_SLOT_BASE + i as u8, s)),
        )
    }
}

pub(super) fn make_slots(
    rtc: &mut Rtc,
    mids: &[Mid],
    video: bool,
    first_sequence: u16,
    rtx_cache_packets: usize,
) -> Vec<Slot> {
    let mut direct = rtc.direct_api();
    let mut slots = Vec::with_capacity(mids.len());
    for (index, mid) in mids.iter().enumerate() {
        let Some(stream) = direct.stream_tx_by_mid(*mid, None) else {
            continue;
        };
        stream.set_rtx_cache(rtx_cache_packets, RTX_CACHE_AGE, RTX_SHARE_MAX);
        // Slots start apart so that a mix-up shows.
        let first = first_sequence.wrapping_add(index as u16 * 1_001);
        slots.push(Slot {
            mid: *mid,
            ssrc: stream.ssrc(),
            track: None,
            forwarder: Forwarder::new(video, first),
            height: 0,
            importance: usize::MAX,
            reason: LayerReason::Layout,
        });
    }
    slots
}
