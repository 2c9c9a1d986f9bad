//! Somebody in a visit: a WebRTC connection over real UDP that speaks, may show themselves and their
//! screen, listens and watches, and records what the edge says on the control channel.

mod driver;
mod offer;
mod way;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use medmesh_api_types::signaling::{IceServer, SignalingSession};
use parking_lot::Mutex;
use serde_json::Value;
use str0m::change::SdpAnswer;
use tokio::net::UdpSocket;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::relayed::Relayed;
use driver::Driver;
use offer::{Prepared, candidates, prepared};
use way::Way;

pub use offer::offer;

/// What a packet is of, as its sender wrote into it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Of {
    /// Their microphone.
    Voice,
    /// Their camera.
    Camera,
    /// Their screen.
    Screen,
}

impl Of {
    const ALL: [Self; 3] = [Self::Voice, Self::Camera, Self::Screen];
}

/// What somebody brings beside a microphone.
#[derive(Clone, Copy, Debug, Default)]
pub struct Equipment {
    /// Is written into each of their packets, so that others know whose it is.
    pub mark: u8,
    /// Sends pictures of themselves, and takes those of others.
    pub camera: bool,
    /// Shows their screen.
    pub screen: bool,
}

#[derive(Default)]
struct Seen {
    connected: bool,
    leaving: bool,
    packets: u64,
    sent: BTreeMap<Of, u64>,
    marked: BTreeMap<(u8, Of), u64>,
    said: Vec<Value>,
    to_say: VecDeque<String>,
    refreshed: Vec<u16>,
}

/// A joined participant; their media runs in a task until this is dropped.
pub struct Participant {
    seen: Arc<Mutex<Seen>>,
    refresh: Arc<Notify>,
    task: JoinHandle<()>,
}

impl Drop for Participant {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Participant {
    /// Joins the home edge of a session with its join token.
    ///
    /// # Panics
    /// When the edge refuses.
    pub async fn join(session: &SignalingSession) -> Self {
        Self::join_with(session, Equipment::default()).await
    }

    /// As [`Participant::join`], with a camera or a screen.
    ///
    /// # Panics
    /// When the edge refuses.
    pub async fn join_with(session: &SignalingSession, equipment: Equipment) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0")
            .await
            .expect("loopback has free ports");
        Self::join_by(session, equipment, Way::Direct(socket), |offer| offer).await
    }

    /// As [`Participant::join`], with what `edit` makes of the offer.
    ///
    /// # Panics
    /// When the edge refuses.
    pub async fn join_offering(session: &SignalingSession, edit: impl FnOnce(String) -> String) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0")
            .await
            .expect("loopback has free ports");
        Self::join_by(session, Equipment::default(), Way::Direct(socket), edit).await
    }

    /// Joins with no candidate but one on this relay, with the credentials that came with it.
    ///
    /// # Errors
    /// The error code of the relay.
    ///
    /// # Panics
    /// When the edge refuses, or the relay does not let its packets to it.
    pub async fn join_relayed(session: &SignalingSession, relay: &IceServer) -> Result<Self, u16> {
        let relayed = Relayed::allocate(relay).await?;
        let way = Way::Relayed(relayed);
        Ok(Self::join_by(session, Equipment::default(), way, |offer| offer).await)
    }

    async fn join_by(
        session: &SignalingSession,
        equipment: Equipment,
        way: Way,
        edit: impl FnOnce(String) -> String,
    ) -> Self {
        let (candidate, local) = way.candidate();
        let Prepared {
            mut rtc,
            voice,
            pictures,
            offer,
            pending,
        } = prepared(candidate, equipment);
        let url = &session.edges.first().expect("a session names its edges").whip_url;
        let response = reqwest::Client::new()
            .post(url)
            .bearer_auth(session.join_token.expose())
            .header("content-type", "application/sdp")
            .body(edit(offer))
            .send()
            .await
            .expect("the edge answers");
        let status = response.status();
        let body = response.text().await.expect("the answer is text");
        assert_eq!(status, 201, "{body}");
        if let Way::Relayed(relayed) = &way {
            for peer in candidates(&body) {
                assert_eq!(relayed.permit(peer).await, 0, "the relay reaches {peer}");
            }
        }
        let answer = SdpAnswer::from_sdp_string(&body).expect("an SDP answer");
        rtc.sdp_api()
            .accept_answer(pending, answer)
            .expect("it answers the offer");
        let seen = Arc::new(Mutex::new(Seen::default()));
        let refresh = Arc::new(Notify::new());
        let mut driver = Driver {
            rtc,
            way,
            local,
            voice,
            pictures,
            equipment,
            sequence: 0,
            picture: 0,
            channel: None,
            seen: Arc::clone(&seen),
            refresh: Arc::clone(&refresh),
        };
        Self {
            seen,
            refresh,
            task: tokio::spawn(async move { driver.run().await }),
        }
    }

    /// Says this on the control channel, once that is open.
    pub fn say(&self, text: String) {
        self.seen.lock().to_say.push_back(text);
    }

    /// Packets of other people's sound so far.
    #[must_use]
    pub fn heard(&self) -> u64 {
        self.seen.lock().packets
    }

    /// Packets of each source of each sender so far, by the marks in them.
    #[must_use]
    pub fn received(&self) -> BTreeMap<(u8, Of), u64> {
        self.seen.lock().marked.clone()
    }

    /// Packets of each of their own sources so far.
    #[must_use]
    pub fn sent(&self) -> BTreeMap<Of, u64> {
        self.seen.lock().sent.clone()
    }

    /// Says goodbye to the edge.
    pub fn leave(&self) {
        self.seen.lock().leaving = true;
    }

    /// How many messages of this type the edge has said.
    #[must_use]
    pub fn said_times(&self, kind: &str) -> usize {
        let seen = self.seen.lock();
        seen.said.iter().filter(|message| message["type"] == kind).count()
    }

    /// Whether ICE and DTLS came up.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.seen.lock().connected
    }

    /// Has a relayed participant's allocation refreshed, with the credentials it was made with.
    pub fn refresh(&self) {
        self.refresh.notify_one();
    }

    /// What the relay said to each of those refreshes so far: 0 or an error code.
    #[must_use]
    pub fn refreshed(&self) -> Vec<u16> {
        self.seen.lock().refreshed.clone()
    }

    /// The last message of this type from the edge.
    #[must_use]
    pub fn said(&self, kind: &str) -> Option<Value> {
        let seen = self.seen.lock();
        seen.said
            .iter()
            .rev()
            .find(|message| message["type"] == kind)
            .cloned()
    }
}
