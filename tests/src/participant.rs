//! Somebody in a visit: a WebRTC connection over real UDP that speaks, may show themselves and their
//! screen, listens and watches, and records what the edge says on the control channel.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use medmesh_api_types::signaling::{IceServer, SignalingSession};
use parking_lot::Mutex;
use serde_json::Value;
use str0m::change::{SdpAnswer, SdpPendingOffer};
use str0m::channel::ChannelId;
use str0m::format::Codec;
use str0m::media::{Direction, MediaKind, Mid};
use str0m::net::{Protocol, Receive};
use str0m::rtp::{ExtensionValues, RtpWrite};
use str0m::{Candidate, Event, Input, Output, Rtc};
use tokio::net::UdpSocket;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::relayed::{Received, Relayed};

/// One packet of sound.
const AUDIO: Duration = Duration::from_millis(20);
/// One picture, a packet each: enough to be forwarded, little enough for many people on one machine.
const PICTURE: Duration = Duration::from_millis(100);
const LARGEST_DATAGRAM: usize = 2048;
/// Slots for other people's sound, of somebody who only speaks.
const SLOTS: usize = 3;
/// Slots of each kind, as the portals offer them.
const PORTAL_SLOTS: usize = 6;
/// Bytes of a packet of sound and of a picture.
const AUDIO_BYTES: usize = 80;
const PICTURE_BYTES: usize = 500;

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

/// How a participant's packets go.
enum Way {
    Direct(UdpSocket),
    Relayed(Relayed),
}

impl Way {
    /// The candidate it is told of, and the address packets are for that come back.
    fn candidate(&self) -> (Candidate, SocketAddr) {
        match self {
            Self::Direct(socket) => {
                let local = socket.local_addr().expect("a bound socket has an address");
                let host = Candidate::host(local, "udp");
                (host.expect("an address is a candidate"), local)
            }
            Self::Relayed(relayed) => {
                let candidate = Candidate::relayed(relayed.address(), relayed.local(), "udp");
                (candidate.expect("an address is a candidate"), relayed.address())
            }
        }
    }

    /// An edge that has gone answers with ICMP; that is not the participant's fault.
    async fn send(&self, bytes: &[u8], to: SocketAddr) {
        match self {
            Self::Direct(socket) => drop(socket.send_to(bytes, to).await),
            Self::Relayed(relayed) => relayed.send(to, bytes).await,
        }
    }

    async fn receive(&self, buffer: &mut [u8]) -> std::io::Result<Received> {
        match self {
            Self::Direct(socket) => {
                let (size, source) = socket.recv_from(buffer).await?;
                Ok(Received::Packet(size, source))
            }
            Self::Relayed(relayed) => relayed.receive(buffer).await,
        }
    }
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
struct Prepared {
    rtc: Rtc,
    voice: Mid,
    pictures: Vec<(Of, Mid)>,
    offer: String,
    pending: SdpPendingOffer,
}

/// A connection that offers one voice, what the equipment sends, room for others, and the control channel.
fn prepared(candidate: Candidate, equipment: Equipment) -> Prepared {
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
fn candidates(sdp: &str) -> Vec<SocketAddr> {
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

struct Driver {
    rtc: Rtc,
    way: Way,
    /// Where packets are for that come in.
    local: SocketAddr,
    voice: Mid,
    pictures: Vec<(Of, Mid)>,
    equipment: Equipment,
    /// Of sound.
    sequence: u64,
    /// Of pictures, of each source.
    picture: u64,
    channel: Option<ChannelId>,
    seen: Arc<Mutex<Seen>>,
    refresh: Arc<Notify>,
}

impl Driver {
    async fn run(&mut self) {
        let local = self.local;
        let mut buffer = vec![0; LARGEST_DATAGRAM];
        let (mut speak_at, mut show_at) = (Instant::now(), Instant::now());
        while let Some(due) = self.settle().await {
            let connected = self.seen.lock().connected;
            let until = if connected { due.min(speak_at) } else { due };
            let pause = until.saturating_duration_since(Instant::now());
            let received = tokio::select! {
                () = self.refresh.notified() => {
                    if let Way::Relayed(relayed) = &self.way {
                        relayed.refresh().await;
                    }
                    None
                }
                received = tokio::time::timeout(pause, self.way.receive(&mut buffer)) => received.ok()
            };
            match received {
                Some(Ok(Received::Packet(size, source))) => {
                    if let Ok(receive) = Receive::new(Protocol::Udp, source, local, &buffer[..size]) {
                        self.input(Input::Receive(Instant::now(), receive));
                    }
                }
                Some(Ok(Received::Refreshed(code))) => self.seen.lock().refreshed.push(code),
                _ => self.input(Input::Timeout(Instant::now())),
            }
            let now = Instant::now();
            if connected && now >= speak_at {
                speak_at = now + AUDIO;
                if self.settle().await.is_none() {
                    return;
                }
                self.speak(now);
                if self.settle().await.is_none() {
                    return;
                }
                self.say();
                self.say_goodbye();
            }
            if connected && now >= show_at {
                show_at = now + PICTURE;
                self.picture += 1;
                for (of, mid) in self.pictures.clone() {
                    if of == Of::Screen && !self.equipment.screen {
                        continue;
                    }
                    if self.settle().await.is_none() {
                        return;
                    }
                    self.show(now, of, mid);
                }
            }
        }
    }

    fn input(&mut self, input: Input<'_>) {
        if self.rtc.handle_input(input).is_err() {
            self.rtc.disconnect();
        }
    }

    /// Sends what is to be sent; the instant of the next timeout, `None` at the end.
    async fn settle(&mut self) -> Option<Instant> {
        loop {
            match self.rtc.poll_output().ok()? {
                Output::Timeout(at) if self.rtc.is_alive() => return Some(at),
                Output::Timeout(_) => return None,
                Output::Transmit(transmit) => {
                    self.way.send(&transmit.contents, transmit.destination).await;
                }
                Output::Event(event) => self.note(event),
            }
        }
    }

    fn note(&mut self, event: Event) {
        let mut seen = self.seen.lock();
        match event {
            Event::Connected => seen.connected = true,
            Event::ChannelOpen(id, _) => self.channel = Some(id),
            Event::ChannelData(data) => {
                let said = serde_json::from_slice(&data.data).expect("edges speak JSON");
                seen.said.push(said);
            }
            Event::RtpPacket(packet) => {
                seen.packets += 1;
                if let [.., of, mark] = packet.payload[..]
                    && let Some(of) = Of::ALL.get(usize::from(of))
                {
                    *seen.marked.entry((mark, *of)).or_default() += 1;
                }
            }
            _ => {}
        }
    }

    fn say(&mut self) {
        let Some(mut channel) = self.channel.and_then(|id| self.rtc.channel(id)) else {
            return;
        };
        let text = self.seen.lock().to_say.pop_front();
        // A message the channel has no room for is lost; whoever waits for an answer says it again.
        let _ = text.map(|text| channel.write(false, text.as_bytes()));
    }

    fn say_goodbye(&mut self) {
        if !self.seen.lock().leaving {
            return;
        }
        if let Some(mut channel) = self.channel.and_then(|id| self.rtc.channel(id)) {
            // Said again until the edge ends the connection.
            let _ = channel.write(false, br#"{"type":"leave"}"#);
        }
    }

    fn speak(&mut self, now: Instant) {
        self.sequence += 1;
        let opus = self.rtc.codec_config().find(|p| p.spec().codec.is_audio());
        let pt = opus.expect("the default codecs have sound").pt();
        let level = ExtensionValues {
            audio_level: Some(-20),
            voice_activity: Some(true),
            ..ExtensionValues::default()
        };
        let time = (self.sequence * 960) as u32;
        let payload = self.mark(vec![0x78; AUDIO_BYTES], Of::Voice);
        let packet = RtpWrite::new(pt, self.sequence.into(), time, now, payload).ext_vals(level);
        let mut direct = self.rtc.direct_api();
        if let Some(stream) = direct.stream_tx_by_mid(self.voice, None) {
            stream.write_rtp(packet);
        }
    }

    fn show(&mut self, now: Instant, of: Of, mid: Mid) {
        let vp8 = self.rtc.codec_config().find(|p| p.spec().codec == Codec::Vp8);
        let pt = vp8.expect("the default codecs have VP8").pt();
        let time = (self.picture * 9_000) as u32;
        let payload = self.mark(keyframe(self.picture), of);
        let packet = RtpWrite::new(pt, self.picture.into(), time, now, payload).marker(true);
        let mut direct = self.rtc.direct_api();
        if let Some(stream) = direct.stream_tx_by_mid(mid, None) {
            stream.write_rtp(packet);
        }
    }

    /// Writes into a packet whose it is and what of, and counts it.
    fn mark(&self, mut payload: Vec<u8>, of: Of) -> Vec<u8> {
        let end = payload.len() - 2;
        payload[end..].copy_from_slice(&[of as u8, self.equipment.mark]);
        *self.seen.lock().sent.entry(of).or_default() += 1;
        payload
    }
}

/// A picture of one packet (RFC 7741), 320 × 180: a keyframe (RFC 6386 section 9.1), so that anybody may
/// begin with it.
fn keyframe(picture: u64) -> Vec<u8> {
    let mut payload = vec![0; PICTURE_BYTES];
    let id = (picture & 0x7fff) as u16;
    payload[..2].copy_from_slice(&[0x90, 0xe0]);
    payload[2..4].copy_from_slice(&(0x8000 | id).to_be_bytes());
    payload[4] = id as u8;
    payload[6] = 0x10;
    payload[9..12].copy_from_slice(&[0x9d, 0x01, 0x2a]);
    payload[12..14].copy_from_slice(&320_u16.to_le_bytes());
    payload[14..16].copy_from_slice(&180_u16.to_le_bytes());
    payload
}
