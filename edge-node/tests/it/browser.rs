//! A browser over real UDP: our portal's offer, made-up media, and a record of what came.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use medmesh_base::media_token::MediaClaims;
use parking_lot::Mutex;
use serde_json::Value;
use str0m::change::{SdpAnswer, SdpPendingOffer};
use str0m::media::{Direction, MediaKind, Mid, Rid, Simulcast, SimulcastLayer};
use str0m::net::{Protocol, Receive};
use str0m::rtp::{ExtensionValues, RtpWrite};
use str0m::{Candidate, Event, Input, Output, Rtc};
use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

use crate::fleet::{Fleet, PATIENCE};
use crate::relayed::Relayed;

const RIDS: [&str; 3] = ["q", "h", "f"];
const FRAME: Duration = Duration::from_micros(33_333);
const AUDIO: Duration = Duration::from_millis(20);
/// Packets and bytes of one frame of each camera layer.
const LAYERS: [(usize, usize); 3] = [(1, 550), (2, 1_050), (4, 1_150)];
const LARGEST_DATAGRAM: usize = 2048;

/// What a browser has seen so far.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) connected: bool,
    pub(crate) packets: BTreeMap<Mid, u64>,
    pub(crate) control: Vec<Value>,
}

/// A joined browser; its media runs in a task until it is dropped.
pub(crate) struct Browser {
    pub(crate) seen: Arc<Mutex<Seen>>,
    pub(crate) location: String,
    pub(crate) token: String,
    mids: Vec<Mid>,
    task: JoinHandle<()>,
}

impl Drop for Browser {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// How packets leave the browser.
pub(crate) enum Path {
    Direct(UdpSocket),
    Relayed(Box<Relayed>),
}

impl Path {
    fn candidate(&self) -> Candidate {
        match self {
            Self::Direct(socket) => Candidate::host(socket.local_addr().unwrap(), "udp").unwrap(),
            Self::Relayed(relayed) => {
                Candidate::relayed(relayed.relayed_address(), relayed.local_address(), "udp").unwrap()
            }
        }
    }

    /// The address str0m knows this path by.
    fn address(&self) -> SocketAddr {
        match self {
            Self::Direct(socket) => socket.local_addr().unwrap(),
            Self::Relayed(relayed) => relayed.relayed_address(),
        }
    }

    async fn send(&mut self, to: SocketAddr, bytes: &[u8]) {
        match self {
            Self::Direct(socket) => {
                socket.send_to(bytes, to).await.unwrap();
            }
            Self::Relayed(relayed) => relayed.send(to, bytes).await,
        }
    }

    async fn receive(&mut self, buffer: &mut [u8]) -> (usize, SocketAddr) {
        match self {
            Self::Direct(socket) => socket.recv_from(buffer).await.unwrap(),
            Self::Relayed(relayed) => relayed.receive(buffer).await,
        }
    }
}

/// The portal's offer: microphone, camera, screen, six slots of each kind, `control`.
pub(crate) fn offer(rtc: &mut Rtc) -> (String, SdpPendingOffer, Vec<Mid>) {
    let mut api = rtc.sdp_api();
    let mut simulcast = Simulcast::new();
    for rid in RIDS {
        simulcast.add_send_layer(SimulcastLayer::new(rid));
    }
    let mut mids = vec![
        api.add_media(MediaKind::Audio, Direction::SendOnly, None, None, None),
        api.add_media(MediaKind::Video, Direction::SendOnly, None, None, Some(simulcast)),
        api.add_media(MediaKind::Video, Direction::SendOnly, None, None, None),
    ];
    for kind in [MediaKind::Audio, MediaKind::Video] {
        mids.extend((0..6).map(|_| api.add_media(kind, Direction::RecvOnly, None, None, None)));
    }
    api.add_channel("control".to_owned());
    let (offer, pending) = api.apply().unwrap();
    (offer.to_sdp_string(), pending, mids)
}

/// An offer nobody will ever connect with.
pub(crate) fn spare_offer() -> String {
    let mut rtc = Rtc::builder().set_rtp_mode(true).build(Instant::now());
    offer(&mut rtc).0
}

impl Browser {
    /// Joins edge `index` with these claims, directly.
    pub(crate) async fn join(fleet: &Fleet, index: usize, claims: &MediaClaims) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        Self::join_by(fleet, index, claims, Path::Direct(socket)).await
    }

    pub(crate) async fn join_by(fleet: &Fleet, index: usize, claims: &MediaClaims, path: Path) -> Self {
        let mut rtc = Rtc::builder().set_rtp_mode(true).build(Instant::now());
        rtc.add_local_candidate(path.candidate());
        let (offer, pending, mids) = offer(&mut rtc);
        let token = fleet.issuer.sign(claims);
        let now = time::OffsetDateTime::now_utc().unix_timestamp();
        let jti = uuid::Uuid::new_v4().to_string();
        // Looked at where the token is for resuming.
        let proof = fleet.holder.proof("POST", &fleet.whip_url(index), now, &jti);
        let request = fleet.post(index, &token, offer).header("dpop", proof);
        let response = request.send().await.unwrap();
        let status = response.status();
        let location = response.headers().get("location").cloned();
        let body = response.text().await.unwrap();
        assert_eq!(status, 201, "{body}");
        let answer = SdpAnswer::from_sdp_string(&body).unwrap();
        rtc.sdp_api().accept_answer(pending, answer).unwrap();
        let seen = Arc::new(Mutex::new(Seen::default()));
        let mut driver = Driver {
            rtc,
            path,
            seen: Arc::clone(&seen),
            mids: mids.clone(),
            sequences: [0; 4],
            frames: 0,
        };
        let base = fleet.edge(index).addresses().signalling_url.clone();
        Self {
            seen,
            location: format!("{base}{}", location.unwrap().to_str().unwrap()),
            token,
            mids,
            task: tokio::spawn(async move { driver.run().await }),
        }
    }

    /// Packets that came on the slots of audio and of video.
    pub(crate) fn received(&self) -> (u64, u64) {
        let seen = self.seen.lock();
        let sum = |mids: &[Mid]| mids.iter().filter_map(|mid| seen.packets.get(mid)).sum();
        (sum(&self.mids[3..9]), sum(&self.mids[9..15]))
    }

    /// Waits until something holds of what it has seen.
    pub(crate) async fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let reached = async {
            while !holds(self) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        if tokio::time::timeout(PATIENCE, reached).await.is_err() {
            let seen = self.seen.lock();
            panic!(
                "{what}: connected {}, packets {:?}, said {:?}",
                seen.connected, seen.packets, seen.control
            );
        }
    }

    /// Waits until sound and picture of somebody else have come.
    pub(crate) async fn until_media(&self, audio: u64, video: u64) {
        self.until("media", |browser| {
            let (heard, watched) = browser.received();
            heard >= audio && watched >= video
        })
        .await;
    }

    /// Whether the edge has said a message of this type.
    pub(crate) fn was_told(&self, kind: &str) -> bool {
        self.seen
            .lock()
            .control
            .iter()
            .any(|message| message["type"] == kind)
    }
}

struct Driver {
    rtc: Rtc,
    path: Path,
    seen: Arc<Mutex<Seen>>,
    mids: Vec<Mid>,
    /// Microphone, q, h, f.
    sequences: [u64; 4],
    frames: u32,
}

impl Driver {
    async fn run(&mut self) {
        let mut buffer = vec![0; LARGEST_DATAGRAM];
        let (mut audio_at, mut frame_at) = (Instant::now(), Instant::now());
        loop {
            let Some(due) = self.settle().await else { return };
            let connected = self.seen.lock().connected;
            let until = if connected {
                due.min(audio_at).min(frame_at)
            } else {
                due
            };
            let pause = until.saturating_duration_since(Instant::now());
            match tokio::time::timeout(pause, self.path.receive(&mut buffer)).await {
                Ok((size, source)) => {
                    let address = self.path.address();
                    if let Ok(receive) = Receive::new(Protocol::Udp, source, address, &buffer[..size]) {
                        self.input(Input::Receive(Instant::now(), receive));
                    }
                }
                Err(_) => self.input(Input::Timeout(Instant::now())),
            }
            let now = Instant::now();
            if connected && now >= audio_at {
                audio_at = now + AUDIO;
                let Some(_) = self.settle().await else { return };
                self.speak(now);
            }
            if connected && now >= frame_at {
                frame_at = now + FRAME;
                self.frames += 1;
                for (layer, (packets, _)) in LAYERS.into_iter().enumerate() {
                    for packet in 0..packets {
                        let Some(_) = self.settle().await else { return };
                        self.film(now, layer, packet);
                    }
                }
            }
        }
    }

    fn input(&mut self, input: Input<'_>) {
        if self.rtc.handle_input(input).is_err() {
            self.rtc.disconnect();
        }
    }

    /// Sends everything that is to be sent; the instant of the next timeout, `None` at the end.
    async fn settle(&mut self) -> Option<Instant> {
        loop {
            match self.rtc.poll_output().ok()? {
                Output::Timeout(at) if self.rtc.is_alive() => return Some(at),
                Output::Timeout(_) => return None,
                Output::Transmit(transmit) => self.path.send(transmit.destination, &transmit.contents).await,
                Output::Event(event) => self.note(event),
            }
        }
    }

    fn note(&mut self, event: Event) {
        let mut seen = self.seen.lock();
        match event {
            Event::Connected => seen.connected = true,
            Event::ChannelData(data) => seen.control.push(serde_json::from_slice(&data.data).unwrap()),
            Event::RtpPacket(packet) => {
                let mid = self
                    .rtc
                    .direct_api()
                    .stream_rx(&packet.header.ssrc)
                    .unwrap()
                    .mid();
                *seen.packets.entry(mid).or_default() += 1;
            }
            _ => {}
        }
    }

    fn speak(&mut self, now: Instant) {
        self.sequences[0] += 1;
        let sequence = self.sequences[0];
        let pt = self
            .rtc
            .codec_config()
            .find(|p| p.spec().codec.is_audio())
            .unwrap()
            .pt();
        let levels = ExtensionValues {
            audio_level: Some(-20),
            voice_activity: Some(true),
            ..ExtensionValues::default()
        };
        let mid = self.mids[0];
        let mut direct = self.rtc.direct_api();
        let stream = direct.stream_tx_by_mid(mid, None).unwrap();
        let time = (sequence * 960) as u32;
        stream.write_rtp(RtpWrite::new(pt, sequence.into(), time, now, vec![0x78; 80]).ext_vals(levels));
    }

    fn film(&mut self, now: Instant, layer: usize, packet: usize) {
        self.sequences[layer + 1] += 1;
        let sequence = self.sequences[layer + 1];
        let (count, bytes) = LAYERS[layer];
        let pt = self
            .rtc
            .codec_config()
            .find(|p| p.spec().codec == str0m::format::Codec::Vp8)
            .unwrap()
            .pt();
        let picture = self.frames & 0x7fff;
        let mid = self.mids[1];
        let rid = Rid::from(RIDS[layer]);
        let mut direct = self.rtc.direct_api();
        let stream = direct.stream_tx_by_mid(mid, Some(rid)).unwrap();
        stream.write_rtp(
            RtpWrite::new(
                pt,
                sequence.into(),
                self.frames.wrapping_mul(3_000),
                now,
                vp8(packet == 0, picture, layer, bytes),
            )
            .marker(packet + 1 == count)
            .nackable(true),
        );
    }
}

/// RFC 7741: every frame a keyframe (RFC 6386 section 9.1), so that any switch may happen at any frame.
fn vp8(first: bool, picture: u32, layer: usize, bytes: usize) -> Vec<u8> {
    const HEIGHTS: [u16; 3] = [180, 360, 720];
    let mut payload = vec![0; bytes];
    payload[0] = if first { 0x90 } else { 0x80 };
    payload[1] = 0xe0;
    payload[2] = 0x80 | (picture >> 8) as u8;
    payload[3] = picture as u8;
    payload[4] = picture as u8;
    if first {
        payload[6] = 0x10;
        payload[9..12].copy_from_slice(&[0x9d, 0x01, 0x2a]);
        payload[12..14].copy_from_slice(&(HEIGHTS[layer] * 16 / 9).to_le_bytes());
        payload[14..16].copy_from_slice(&HEIGHTS[layer].to_le_bytes());
    }
    payload
}
