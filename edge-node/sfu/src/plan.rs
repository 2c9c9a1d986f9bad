//! What the m-lines of an offer are for.

use medmesh_base::media_token::Source;
use str0m::Rtc;
use str0m::media::{MediaKind, Mid, Rids};

use crate::join::JoinError;
use crate::track::LAYERS_MAX;

/// Our client sends 16; a bound against nonsense.
const MEDIA_LINES_MAX: usize = 64;
/// Slots of one kind a subscriber may have.
pub(crate) const SLOTS_MAX: usize = 16;

/// What the m-lines of an offer are for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct MediaPlan {
    /// What the participant may send.
    pub(crate) publish: Vec<PublishLine>,
    /// Receive slots, in the order of the offer.
    pub(crate) audio_slots: Vec<Mid>,
    pub(crate) video_slots: Vec<Mid>,
}

/// An m-line the participant sends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PublishLine {
    pub(crate) mid: Mid,
    pub(crate) source: Source,
    /// Lowest first; one empty name where there is no simulcast.
    pub(crate) rids: Vec<String>,
}

impl MediaPlan {
    /// Reads the plan off a connection that has accepted the offer: the first audio line
    /// they send on is the microphone, the first video line the camera, the second the
    /// screen; every line they receive on is a slot.
    pub(crate) fn read(rtc: &Rtc, offer_sdp: &str) -> Result<Self, JoinError> {
        let mut plan = Self::default();
        for mid in mids(offer_sdp)? {
            let Some(media) = rtc.media(mid) else { continue };
            let direction = media.direction();
            if direction.is_sending() {
                let slots = match media.kind() {
                    MediaKind::Audio => &mut plan.audio_slots,
                    MediaKind::Video => &mut plan.video_slots,
                };
                if slots.len() < SLOTS_MAX {
                    slots.push(mid);
                }
            }
            if direction.is_receiving()
                && let Some(source) = plan.next_source(media.kind())
            {
                plan.publish.push(PublishLine {
                    mid,
                    source,
                    rids: layer_names(media.rids_rx()),
                });
            }
        }
        if plan.publish.is_empty() && plan.audio_slots.is_empty() && plan.video_slots.is_empty() {
            return Err(JoinError::BadOffer("no usable media line"));
        }
        Ok(plan)
    }

    fn next_source(&self, kind: MediaKind) -> Option<Source> {
        let taken = |source| self.publish.iter().any(|l| l.source == source);
        let candidates: &[Source] = match kind {
            MediaKind::Audio => &[Source::Mic],
            MediaKind::Video => &[Source::Camera, Source::Screen],
        };
        candidates.iter().copied().find(|s| !taken(*s))
    }

    pub(crate) fn line(&self, mid: Mid) -> Option<&PublishLine> {
        self.publish.iter().find(|l| l.mid == mid)
    }
}

/// The media lines' mids in the order of the offer.
fn mids(offer_sdp: &str) -> Result<Vec<Mid>, JoinError> {
    let lines = offer_sdp.lines().filter(|l| l.starts_with("m=")).count();
    if lines > MEDIA_LINES_MAX {
        return Err(JoinError::BadOffer("too many media lines"));
    }
    Ok(offer_sdp
        .lines()
        .filter_map(|l| l.trim_end().strip_prefix("a=mid:"))
        .map(Mid::from)
        .collect())
}

/// Known names sort lowest first, others keep the order of the offer.
fn layer_names(rids: &Rids) -> Vec<String> {
    const KNOWN: [&str; 3] = ["q", "h", "f"];
    let mut names: Vec<String> = match rids {
        Rids::Specific(rids) => rids.iter().take(LAYERS_MAX).map(ToString::to_string).collect(),
        Rids::None | Rids::Any => vec![String::new()],
    };
    names.sort_by_key(|n| KNOWN.iter().position(|k| k == n).unwrap_or(KNOWN.len()));
    names
}
