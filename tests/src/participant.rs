//! Somebody in a visit: a WebRTC connection over real UDP that speaks, listens, and records what
//! the edge says on the control channel.

use std::sync::Arc;
use std::time::{Duration, Instant};

use medmesh_api_types::signaling::SignalingSession;
use parking_lot::Mutex;
use serde_json::Value;
use str0m::change::SdpAnswer;
use str0m::media::{Direction, MediaKind, Mid};
use str0m::net::{Protocol, Receive};
use str0m::rtp::{ExtensionValues, RtpWrite};
use str0m::{Candidate, Event, Input, Output, Rtc};
use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

/// One packet of sound.
const AUDIO: Duration = Duration::from_millis(20);
const LARGEST_DATAGRAM: usize = 2048;
/// Slots for other people's sound.
const SLOTS: usize = 3;

#[derive(Default)]
struct Seen {
    connected: bool,
    packets: u64,
    said: Vec<Value>,
}

/// A joined participant; their media runs in a task until this is dropped.
pub struct Participant {
    seen: Arc<Mutex<Seen>>,
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
        let socket = UdpSocket::bind("127.0.0.1:0")
            .await
            .expect("loopback has free ports");
        let local = socket.local_addr().expect("a bound socket has an address");
        let mut rtc = Rtc::builder().set_rtp_mode(true).build(Instant::now());
        rtc.add_local_candidate(Candidate::host(local, "udp").expect("an address is a candidate"));
        let mut api = rtc.sdp_api();
        let voice = api.add_media(MediaKind::Audio, Direction::SendOnly, None, None, None);
        for _ in 0..SLOTS {
            api.add_media(MediaKind::Audio, Direction::RecvOnly, None, None, None);
        }
        api.add_channel("control".to_owned());
        let (offer, pending) = api.apply().expect("there are changes");
        let url = &session.edges.first().expect("a session names its edges").whip_url;
        let response = reqwest::Client::new()
            .post(url)
            .bearer_auth(session.join_token.expose())
            .header("content-type", "application/sdp")
            .body(offer.to_sdp_string())
            .send()
            .await
            .expect("the edge answers");
        let status = response.status();
        let body = response.text().await.expect("the answer is text");
        assert_eq!(status, 201, "{body}");
        let answer = SdpAnswer::from_sdp_string(&body).expect("an SDP answer");
        rtc.sdp_api()
            .accept_answer(pending, answer)
            .expect("it answers the offer");
        let seen = Arc::new(Mutex::new(Seen::default()));
        let mut driver = Driver {
            rtc,
            socket,
            voice,
            sequence: 0,
            seen: Arc::clone(&seen),
        };
        Self {
            seen,
            task: tokio::spawn(async move { driver.run().await }),
        }
    }

    /// Packets of other people's sound so far.
    #[must_use]
    pub fn heard(&self) -> u64 {
        self.seen.lock().packets
    }

    /// Whether ICE and DTLS came up.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.seen.lock().connected
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

struct Driver {
    rtc: Rtc,
    socket: UdpSocket,
    voice: Mid,
    sequence: u64,
    seen: Arc<Mutex<Seen>>,
}

impl Driver {
    async fn run(&mut self) {
        let local = self.socket.local_addr().expect("a bound socket has an address");
        let mut buffer = vec![0; LARGEST_DATAGRAM];
        let mut speak_at = Instant::now();
        while let Some(due) = self.settle().await {
            let connected = self.seen.lock().connected;
            let until = if connected { due.min(speak_at) } else { due };
            let pause = until.saturating_duration_since(Instant::now());
            match tokio::time::timeout(pause, self.socket.recv_from(&mut buffer)).await {
                Ok(Ok((size, source))) => {
                    if let Ok(receive) = Receive::new(Protocol::Udp, source, local, &buffer[..size]) {
                        self.input(Input::Receive(Instant::now(), receive));
                    }
                }
                _ => self.input(Input::Timeout(Instant::now())),
            }
            let now = Instant::now();
            if connected && now >= speak_at {
                speak_at = now + AUDIO;
                if self.settle().await.is_none() {
                    return;
                }
                self.speak(now);
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
                    // An edge that has gone answers with ICMP; that is not the participant's fault.
                    let _ = self
                        .socket
                        .send_to(&transmit.contents, transmit.destination)
                        .await;
                }
                Output::Event(Event::Connected) => self.seen.lock().connected = true,
                Output::Event(Event::ChannelData(data)) => {
                    let said = serde_json::from_slice(&data.data).expect("edges speak JSON");
                    self.seen.lock().said.push(said);
                }
                Output::Event(Event::RtpPacket(_)) => self.seen.lock().packets += 1,
                Output::Event(_) => {}
            }
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
        let packet = RtpWrite::new(pt, self.sequence.into(), time, now, vec![0x78; 80]).ext_vals(level);
        let mut direct = self.rtc.direct_api();
        if let Some(stream) = direct.stream_tx_by_mid(self.voice, None) {
            stream.write_rtp(packet);
        }
    }
}
