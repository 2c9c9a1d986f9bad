//! A participant's connection at work: it speaks, shows, listens and counts.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use str0m::channel::ChannelId;
use str0m::format::Codec;
use str0m::media::Mid;
use str0m::net::{Protocol, Receive};
use str0m::rtp::{ExtensionValues, RtpWrite};
use str0m::{Event, Input, Output, Rtc};
use tokio::sync::Notify;

use super::way::Way;
use super::{Equipment, Of, Seen};
use crate::relayed::Received;

/// One packet of sound.
const AUDIO: Duration = Duration::from_millis(20);
/// One picture, a packet each: enough to be forwarded, little enough for many people on one machine.
const PICTURE: Duration = Duration::from_millis(100);
const LARGEST_DATAGRAM: usize = 2048;
/// Bytes of a packet of sound and of a picture.
const AUDIO_BYTES: usize = 80;
const PICTURE_BYTES: usize = 500;

pub(super) struct Driver {
    pub(super) rtc: Rtc,
    pub(super) way: Way,
    /// Where packets are for that come in.
    pub(super) local: SocketAddr,
    pub(super) voice: Mid,
    pub(super) pictures: Vec<(Of, Mid)>,
    pub(super) equipment: Equipment,
    /// Of sound.
    pub(super) sequence: u64,
    /// Of pictures, of each source.
    pub(super) picture: u64,
    pub(super) channel: Option<ChannelId>,
    pub(super) seen: Arc<Mutex<Seen>>,
    pub(super) refresh: Arc<Notify>,
}

impl Driver {
    pub(super) async fn run(&mut self) {
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
