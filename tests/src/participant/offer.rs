//! What a participant offers their edge, and what is in its answer.

use std::net::SocketAddr;
use std::time::Instant;

use str0m::change::SdpPendingOffer;
use str0m::media::{Direction, MediaKind, Mid};
use str0m::{Candidate, Rtc};

use super::{Equipment, Of};

/// Slots for other people's sound, of somebody who only speaks.
const SLOTS: usize = 3;
/// Slots of each kind, as the portals offer them.
const PORTAL_SLOTS: usize = 6;

/// What a browser that speaks and listens offers an edge, for offers that are sent by hand.
///
/// # Panics
/// Never: it is our own.
#[must_use]
pub fn offer() -> String {
    let nowhere = SocketAddr::from(([127, 0, 0, 1], 9));
    let candidate = Candidate::host(nowhere, "udp").expect("an address is a candidate");
    prepared(candidate, Equipment::default()).offer
}

/// A connection that is about to be offered.
pub(super) struct Prepared {
    pub(super) rtc: Rtc,
    pub(super) voice: Mid,
    pub(super) pictures: Vec<(Of, Mid)>,
    pub(super) offer: String,
    pub(super) pending: SdpPendingOffer,
}

/// A connection that offers one voice, what the equipment sends, room for others, and the control channel.
pub(super) fn prepared(candidate: Candidate, equipment: Equipment) -> Prepared {
    let mut rtc = Rtc::builder().set_rtp_mode(true).build(Instant::now());
    rtc.add_local_candidate(candidate);
    let mut api = rtc.sdp_api();
    let voice = api.add_media(MediaKind::Audio, Direction::SendOnly, None, None, None);
    // The edge takes the first picture line for the camera and the second for the screen.
    let pictures = equipment.camera.then(|| {
        [Of::Camera, Of::Screen].map(|of| {
            (
                of,
                api.add_media(MediaKind::Video, Direction::SendOnly, None, None, None),
            )
        })
    });
    let (audio, video) = if equipment.camera {
        (PORTAL_SLOTS, PORTAL_SLOTS)
    } else {
        (SLOTS, 0)
    };
    for _ in 0..audio {
        api.add_media(MediaKind::Audio, Direction::RecvOnly, None, None, None);
    }
    for _ in 0..video {
        api.add_media(MediaKind::Video, Direction::RecvOnly, None, None, None);
    }
    api.add_channel("control".to_owned());
    let (offer, pending) = api.apply().expect("there are changes");
    Prepared {
        rtc,
        voice,
        pictures: pictures.into_iter().flatten().collect(),
        offer: offer.to_sdp_string(),
        pending,
    }
}

/// The addresses of an SDP's candidates (RFC 8839 §5.1).
pub(super) fn candidates(sdp: &str) -> Vec<SocketAddr> {
    let lines = sdp.lines().filter_map(|line| line.strip_prefix("a=candidate:"));
    let addresses = lines.filter_map(|line| {
        let mut words = line.split(' ').skip(4);
        let (ip, port) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        Some(SocketAddr::new(ip, port))
    });
    let mut found: Vec<SocketAddr> = addresses.collect();
    found.sort_unstable();
    found.dedup();
    found
}
