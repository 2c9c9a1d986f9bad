//! A browser: the offer ours makes, made-up media, and a record of what it got.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use medmesh_base::ParticipantId;
use serde_json::Value;
use str0m::change::{SdpAnswer, SdpPendingOffer};
use str0m::channel::ChannelId;
use str0m::media::{Direction, MediaKind, Mid, Rid, Simulcast, SimulcastLayer};
use str0m::net::{Protocol, Receive};
use str0m::rtp::{ExtensionValues, RtpWrite, Vp8Descriptor};
use str0m::{Candidate, Event, Input, Output, Rtc, RtcError};

pub(super) const RIDS: [&str; 3] = ["q", "h", "f"];
/// Packets per frame and bytes per packet of each camera layer at 30 frames a second:
/// about 130 kbit/s, 500 kbit/s and 1.3 Mbit/s.
const LAYERS: [(usize, usize); 3] = [(1, 550), (2, 1_050), (5, 1_100)];
const HEIGHTS: [u16; 3] = [180, 360, 720];
const FRAME: Duration = Duration::from_micros(33_333);
const AUDIO: Duration = Duration::from_millis(20);
/// As libwebrtc: a request that comes earlier after the last one is dropped in silence.
const KEYFRAME_INTERVAL: Duration = Duration::from_millis(300);

/// One packet a client got.
#[derive(Clone, Debug)]
pub(super) struct Got {
    pub(super) sequence: u64,
    pub(super) timestamp: u32,
    pub(super) marker: bool,
    pub(super) payload: Vec<u8>,
    pub(super) level: Option<i8>,
}

impl Got {
    /// The layer a camera packet was made for.
    pub(super) fn layer(&self) -> u8 {
        self.payload[10]
    }
    /// Who made it.
    pub(super) fn sender(&self) -> u8 {
        self.payload[11]
    }
    pub(super) fn picture_id(&self) -> u16 {
        Vp8Descriptor::parse(&self.payload).unwrap().picture_id().unwrap()
    }
}

pub(super) struct Client {
    pub(super) participant: ParticipantId,
    pub(super) tag: u8,
    pub(super) address: SocketAddr,
    pub(super) rtc: Rtc,
    pub(super) pending: Option<SdpPendingOffer>,
    answer: String,
    pub(super) mids: Vec<Mid>,
    pub(super) channel: Option<ChannelId>,
    pub(super) control: Vec<Value>,
    pub(super) got: BTreeMap<Mid, Vec<Got>>,
    pub(super) connected: bool,
    pub(super) closed: bool,
    pub(super) due: Instant,
    /// Keyframe requests received: q, h, f, screen.
    pub(super) keyframe_requests: [u32; 4],
    pub(super) mic: bool,
    pub(super) level: i8,
    pub(super) camera: [bool; 3],
    pub(super) screen: bool,
    /// Bytes of one screen packet: larger ones than any path test splitting.
    pub(super) screen_bytes: usize,
    now: Instant,
    need_key: [bool; 4],
    keyframe_at: [Option<Instant>; 4],
    next_frame: Instant,
    next_audio: Instant,
    /// Sequence numbers: microphone, q, h, f, screen.
    sequences: [u64; 5],
    pictures: [u16; 4],
    frames: u32,
    pub(super) outbox: Vec<(SocketAddr, SocketAddr, Vec<u8>)>,
}

impl Client {
    pub(super) fn new(now: Instant, tag: u8, address: SocketAddr) -> (Self, String) {
        let mut rtc = Rtc::builder().set_rtp_mode(true).build(now);
        rtc.add_local_candidate(Candidate::host(address, "udp").unwrap());
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
        mids.extend((0..6).map(|_| api.add_media(MediaKind::Audio, Direction::RecvOnly, None, None, None)));
        mids.extend((0..6).map(|_| api.add_media(MediaKind::Video, Direction::RecvOnly, None, None, None)));
        api.add_channel("control".to_owned());
        let (offer, pending) = api.apply().unwrap();
        let client = Self {
            participant: ParticipantId::generate(),
            tag,
            address,
            rtc,
            pending: Some(pending),
            answer: String::new(),
            mids,
            channel: None,
            control: Vec::new(),
            got: BTreeMap::new(),
            connected: false,
            closed: false,
            due: now,
            keyframe_requests: [0; 4],
            mic: false,
            level: -127,
            camera: [false; 3],
            screen: false,
            screen_bytes: 1_100,
            now,
            need_key: [true; 4],
            keyframe_at: [None; 4],
            next_frame: now,
            next_audio: now,
            sequences: [u64::from(tag) * 1_000; 5],
            pictures: [100 * u16::from(tag), 7_000, 32_000, 5],
            frames: 0,
            outbox: Vec::new(),
        };
        (client, offer.to_sdp_string())
    }

    pub(super) fn accept(&mut self, answer: &str) {
        self.answer = answer.to_owned();
        let answer = SdpAnswer::from_sdp_string(answer).unwrap();
        self.rtc
            .sdp_api()
            .accept_answer(self.pending.take().unwrap(), answer)
            .unwrap();
    }

    /// New credentials on a new address; returns the fragment for the edge.
    pub(super) fn restart_offer(&mut self, address: SocketAddr) -> String {
        let mut api = self.rtc.sdp_api();
        api.ice_restart(false);
        let (offer, pending) = api.apply().unwrap();
        self.pending = Some(pending);
        self.address = address;
        let offer = offer.to_sdp_string();
        let line = |name: &str| offer.lines().find(|l| l.starts_with(name)).unwrap().to_owned();
        format!("{}\r\n{}\r\n", line("a=ice-ufrag:"), line("a=ice-pwd:"))
    }

    /// The edge's answer to it: the last answer with new credentials.
    pub(super) fn accept_restart(&mut self, fragment: &str) {
        let value = |name: &str| fragment.lines().find(|l| l.starts_with(name)).unwrap().to_owned();
        let (ufrag, password) = (value("a=ice-ufrag:"), value("a=ice-pwd:"));
        let candidates: Vec<&str> = fragment
            .lines()
            .filter(|l| l.starts_with("a=candidate:"))
            .collect();
        let kept = self.answer.lines().filter(|l| !l.starts_with("a=candidate:"));
        let lines = kept.map(|line| {
            if line.starts_with("a=ice-ufrag:") {
                ufrag.clone()
            } else if line.starts_with("a=ice-pwd:") {
                password.clone()
            } else {
                line.to_owned()
            }
        });
        let answer: String = lines.map(|l| l + "\r\n").collect();
        self.accept(&answer);
        for line in candidates {
            self.rtc
                .add_remote_candidate(Candidate::from_sdp_string(&line["a=".len()..]).unwrap());
        }
        self.rtc
            .add_local_candidate(Candidate::host(self.address, "udp").unwrap());
        self.due = self.now;
    }

    pub(super) fn audio_slot(&self, n: usize) -> Mid {
        self.mids[3 + n]
    }

    pub(super) fn video_slot(&self, n: usize) -> Mid {
        self.mids[9 + n]
    }

    pub(super) fn got(&self, mid: Mid) -> &[Got] {
        self.got.get(&mid).map_or(&[], Vec::as_slice)
    }

    /// The newest control message of a type.
    pub(super) fn said(&self, kind: &str) -> Option<&Value> {
        self.control.iter().rev().find(|m| m["type"] == kind)
    }

    pub(super) fn say(&mut self, message: &Value) {
        let id = self.channel.expect("control is open");
        assert!(
            self.rtc
                .channel(id)
                .unwrap()
                .write(false, message.to_string().as_bytes())
                .unwrap()
        );
        self.due = self.now;
    }

    pub(super) fn receive(&mut self, now: Instant, source: SocketAddr, bytes: &[u8]) {
        let Ok(receive) = Receive::new(Protocol::Udp, source, self.address, bytes) else {
            return;
        };
        let _ = self.rtc.handle_input(Input::Receive(now, receive));
        self.poll(now);
    }

    pub(super) fn next_due(&self) -> Instant {
        if self.connected {
            self.due.min(self.next_frame).min(self.next_audio)
        } else {
            self.due
        }
    }

    /// Makes media that is due and drives the connection.
    pub(super) fn run(&mut self, now: Instant) {
        self.now = now;
        if self.connected {
            self.make_media(now);
        }
        if self.due <= now {
            // An error shows again when polling.
            let _ = self.rtc.handle_input(Input::Timeout(now));
            self.poll(now);
        }
    }

    fn poll(&mut self, now: Instant) {
        if self.try_poll(now).is_err() {
            // As a browser: the handshake was given up.
            self.closed = true;
            self.rtc.disconnect();
            self.due = now + Duration::from_secs(3_600);
        }
    }

    fn try_poll(&mut self, now: Instant) -> Result<(), RtcError> {
        loop {
            match self.rtc.poll_output()? {
                Output::Timeout(at) if at <= now => self.rtc.handle_input(Input::Timeout(now))?,
                Output::Timeout(at) => {
                    self.due = at;
                    return Ok(());
                }
                Output::Transmit(t) => self.outbox.push((t.source, t.destination, t.contents.to_vec())),
                Output::Event(event) => self.note(now, event),
            }
        }
    }

    fn note(&mut self, now: Instant, event: Event) {
        match event {
            Event::Connected => {
                self.connected = true;
                self.next_frame = now;
                self.next_audio = now;
            }
            Event::ChannelOpen(id, _) => self.channel = Some(id),
            Event::ChannelData(data) => self.control.push(serde_json::from_slice(&data.data).unwrap()),
            Event::Closed => self.closed = true,
            Event::KeyframeRequest(request) => {
                let layer = request
                    .rid
                    .and_then(|r| RIDS.iter().position(|n| **n == *r))
                    .unwrap_or(3);
                self.keyframe_requests[layer] += 1;
                let deaf = |at| now.saturating_duration_since(at) < KEYFRAME_INTERVAL;
                if !self.keyframe_at[layer].is_some_and(deaf) {
                    self.keyframe_at[layer] = Some(now);
                    self.need_key[layer] = true;
                }
            }
            Event::RtpPacket(packet) => {
                let mid = self
                    .rtc
                    .direct_api()
                    .stream_rx(&packet.header.ssrc)
                    .unwrap()
                    .mid();
                self.got.entry(mid).or_default().push(Got {
                    sequence: *packet.seq_no,
                    timestamp: packet.header.timestamp,
                    marker: packet.header.marker,
                    payload: packet.payload.to_vec(),
                    level: packet.header.ext_vals.audio_level,
                });
            }
            _ => {}
        }
    }

    fn make_media(&mut self, now: Instant) {
        let mut made = false;
        if now >= self.next_audio {
            self.next_audio += AUDIO;
            if self.mic {
                self.write_audio(now);
                made = true;
            }
        }
        if now >= self.next_frame {
            self.next_frame += FRAME;
            self.frames += 1;
            for layer in 0..3 {
                if self.camera[layer] {
                    let (count, bytes) = LAYERS[layer];
                    self.write_frame(now, self.mids[1], Some(RIDS[layer].into()), layer, count, bytes);
                    made = true;
                }
            }
            if self.screen {
                self.write_frame(now, self.mids[2], None, 3, 3, self.screen_bytes);
                made = true;
            }
        }
        if made {
            self.due = now;
        }
    }

    fn write_audio(&mut self, now: Instant) {
        let sequence = self.next_sequence(0);
        let pt = self
            .rtc
            .codec_config()
            .find(|p| p.spec().codec.is_audio())
            .unwrap()
            .pt();
        let time = (sequence * 960) as u32;
        let ext_vals = ExtensionValues {
            audio_level: Some(self.level),
            voice_activity: Some(self.level > -60),
            ..ExtensionValues::default()
        };
        let mut payload = vec![0x78; 80];
        payload[11] = self.tag;
        let mid = self.mids[0];
        let mut direct = self.rtc.direct_api();
        let stream = direct.stream_tx_by_mid(mid, None).unwrap();
        stream.write_rtp(RtpWrite::new(pt, sequence.into(), time, now, payload).ext_vals(ext_vals));
    }

    fn next_sequence(&mut self, index: usize) -> u64 {
        self.sequences[index] += 1;
        self.sequences[index]
    }

    fn write_frame(
        &mut self,
        now: Instant,
        mid: Mid,
        rid: Option<Rid>,
        layer: usize,
        count: usize,
        bytes: usize,
    ) {
        let key = std::mem::take(&mut self.need_key[layer]);
        self.pictures[layer] = (self.pictures[layer] + 1) & 0x7fff;
        let picture = self.pictures[layer];
        // Every layer has its own timestamp offset, as browsers have it.
        let time = self
            .frames
            .wrapping_mul(3_000)
            .wrapping_add(layer as u32 * 0x4000_0000);
        let pt = self
            .rtc
            .codec_config()
            .find(|p| p.spec().codec == str0m::format::Codec::Vp8)
            .unwrap()
            .pt();
        for index in 0..count {
            let sequence = self.next_sequence(layer + 1);
            let payload = vp8_payload(index == 0, key, picture, layer, self.tag, bytes);
            let mut direct = self.rtc.direct_api();
            let stream = direct.stream_tx_by_mid(mid, rid).unwrap();
            stream.write_rtp(
                RtpWrite::new(pt, sequence.into(), time, now, payload)
                    .marker(index + 1 == count)
                    .nackable(true),
            );
        }
    }
}

/// RFC 7741 descriptor with picture id and TL0PICIDX, then a frame header as RFC 6386 has
/// it; bytes 10 and 11 tell who made it.
fn vp8_payload(first: bool, key: bool, picture: u16, layer: usize, tag: u8, bytes: usize) -> Vec<u8> {
    let mut payload = vec![0; bytes];
    payload[0] = if first { 0x90 } else { 0x80 };
    payload[1] = 0xe0;
    payload[2] = 0x80 | (picture >> 8) as u8;
    payload[3] = picture as u8;
    payload[4] = picture as u8;
    payload[6] = if key { 0x10 } else { 0x11 };
    payload[10] = layer as u8;
    payload[11] = tag;
    if key && first && bytes > 20 {
        // The shard looks for the start code near the front; ours is one tag further.
        let height = HEIGHTS.get(layer).copied().unwrap_or(720);
        payload[7..10].copy_from_slice(&[0x9d, 0x01, 0x2a]);
        payload[10..12].copy_from_slice(&[layer as u8, tag]);
        payload[12..14].copy_from_slice(&height.to_le_bytes());
    }
    payload
}
