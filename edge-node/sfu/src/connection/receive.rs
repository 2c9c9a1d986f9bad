//! What comes in on a connection, and what str0m makes of it.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use str0m::bwe::BweKind;
use str0m::net::{Protocol, Receive};
use str0m::rtp::{RtpPacket, Ssrc};
use str0m::{Event as RtcEvent, IceConnectionState, Input, Output as RtcOutput};

use super::{Connection, Ingress, Notice};
use crate::event::{LeaveReason, Transmit};
use crate::packet::MediaPacket;

/// Addresses one connection may be heard from at once: IPv4, IPv6, Wi-Fi, cellular, relay.
const ADDRESSES_MAX: usize = 8;
/// Turns of one flush; far above any real backlog, it only stops a timer that never advances.
const FLUSH_TURNS_MAX: usize = 10_000;

/// Timers so close are taken with what is due now. str0m's pacer lets one packet go per
/// step of its clock, a microsecond apart: woken for each of them, a picture would leave
/// packet by packet, each with a turn of the loop and a call to the kernel of its own. Far
/// below what a pacer or an estimator can see (5 ms).
const TIMER_SLACK: Duration = Duration::from_micros(250);

/// Where a connection's outputs are collected while it is borrowed.
pub(crate) struct Sink<'a> {
    pub(crate) transmits: &'a mut VecDeque<Transmit>,
    pub(crate) notices: &'a mut Vec<Notice>,
    pub(crate) bytes_out: &'a mut u64,
    pub(crate) datagrams_out: &'a mut u64,
}

impl Sink<'_> {
    fn transmit(&mut self, transmit: Transmit) {
        *self.bytes_out += transmit.contents.len() as u64;
        *self.datagrams_out += 1;
        self.transmits.push_back(transmit);
    }

    fn notice(&mut self, notice: Notice) {
        self.notices.push(notice);
    }
}

impl Connection {
    /// Whether a STUN message is from this connection's browser. False also when it is unreadable.
    pub(crate) fn accepts(
        &mut self,
        now: Instant,
        source: SocketAddr,
        local: SocketAddr,
        bytes: &[u8],
    ) -> bool {
        let accepted = self.guard(|c| {
            let Ok(receive) = Receive::new(Protocol::Udp, source, local, bytes) else {
                return Ok(false);
            };
            Ok(c.rtc.accepts(&Input::Receive(now, receive)))
        });
        accepted.unwrap_or(false)
    }

    /// Remembers an authenticated address; returns the one that had to go for it.
    pub(crate) fn bind(&mut self, address: SocketAddr) -> Option<SocketAddr> {
        if self.addresses.contains(&address) {
            return None;
        }
        self.addresses.push_back(address);
        if self.addresses.len() > ADDRESSES_MAX {
            self.addresses.pop_front()
        } else {
            None
        }
    }

    /// Takes a datagram in. False when it is nothing str0m reads.
    pub(crate) fn receive(
        &mut self,
        now: Instant,
        source: SocketAddr,
        local: SocketAddr,
        bytes: &[u8],
        out: &mut Sink<'_>,
    ) -> bool {
        let read = self.guard(|c| {
            #[cfg(test)]
            assert!(!std::mem::take(&mut c.panic_next), "injected fault");
            let Ok(receive) = Receive::new(Protocol::Udp, source, local, bytes) else {
                return Ok(false);
            };
            c.rtc.handle_input(Input::Receive(now, receive))?;
            c.drain(now, out)?;
            Ok(true)
        });
        read.unwrap_or(true)
    }

    /// Moves time to `now` and everything written since out.
    pub(crate) fn flush(&mut self, now: Instant, out: &mut Sink<'_>) {
        self.dirty = false;
        self.flushed_at = now;
        self.guard(|c| {
            c.rtc.handle_input(Input::Timeout(now))?;
            c.drain(now, out)
        });
    }

    /// Polls until str0m has nothing to do at `now`. Its clock may end up ahead by
    /// [`TIMER_SLACK`]; an input that comes before that time is taken at that time.
    fn drain(&mut self, now: Instant, out: &mut Sink<'_>) -> Result<(), str0m::RtcError> {
        for _ in 0..FLUSH_TURNS_MAX {
            match self.rtc.poll_output()? {
                RtcOutput::Transmit(t) => out.transmit(Transmit {
                    source: t.source,
                    destination: t.destination,
                    contents: t.contents.into(),
                }),
                RtcOutput::Event(event) => self.note(now, event, out),
                RtcOutput::Timeout(at) if at <= now + TIMER_SLACK => {
                    self.rtc.handle_input(Input::Timeout(at.max(now)))?;
                }
                RtcOutput::Timeout(at) => {
                    self.due = at;
                    return Ok(());
                }
            }
        }
        self.due = now + Duration::from_millis(1);
        Ok(())
    }

    fn note(&mut self, now: Instant, event: RtcEvent, out: &mut Sink<'_>) {
        match event {
            RtcEvent::RtpPacket(packet) => self.note_rtp(now, packet, out),
            RtcEvent::Connected => {
                self.connected_at = Some(now);
                self.heard_at = now;
                out.notice(Notice::Connected);
            }
            RtcEvent::IceConnectionStateChange(IceConnectionState::Disconnected) => {
                tracing::debug!("ice disconnected");
            }
            RtcEvent::ChannelOpen(id, label) if label == crate::control::LABEL => {
                out.notice(Notice::ChannelOpen(id));
            }
            RtcEvent::ChannelData(data) if self.control.channel == Some(data.id) => {
                self.heard_at = now;
                out.notice(Notice::ControlMessage(data.data));
            }
            RtcEvent::ChannelClose(id) => out.notice(Notice::ChannelClosed(id)),
            RtcEvent::KeyframeRequest(request) => out.notice(Notice::KeyframeWanted { mid: request.mid }),
            RtcEvent::EgressBitrateEstimate(BweKind::Twcc { estimate, .. }) => {
                self.link.estimate_bps = estimate.as_u64();
            }
            RtcEvent::PeerStats(stats) => {
                self.link.rtt = stats.rtt.or(self.link.rtt);
                self.link.loss_ratio = stats.egress_loss_fraction.unwrap_or(0.0);
                self.link.remote = stats
                    .selected_candidate_pair
                    .map(|p| p.remote.addr)
                    .or(self.link.remote);
                out.notice(Notice::Quality);
            }
            RtcEvent::Closed => self.ended = self.ended.or(Some(LeaveReason::Closed)),
            _ => {}
        }
    }

    fn note_rtp(&mut self, now: Instant, packet: RtpPacket, out: &mut Sink<'_>) {
        self.heard_at = now;
        let ssrc = packet.header.ssrc;
        let ingress = match self.ingress.iter().find(|(s, _)| *s == ssrc) {
            Some((_, ingress)) => *ingress,
            None => self.learn(ssrc),
        };
        let (source, layer) = match ingress {
            Ingress::Track { source, layer } => (source, layer),
            Ingress::NotGranted => return out.notice(Notice::NotGranted),
            Ingress::Unknown => return out.notice(Notice::UnknownTrack),
        };
        let payload_type = usize::from(*packet.header.payload_type);
        let Some(codec) = self.codecs.get(payload_type).copied().flatten() else {
            return out.notice(Notice::UnknownTrack);
        };
        let ext = &packet.header.ext_vals;
        let media = MediaPacket {
            sequence: *packet.seq_no,
            timestamp: packet.header.timestamp,
            marker: packet.header.marker,
            codec,
            audio_level: ext.audio_level.map(|l| l.unsigned_abs().min(127)),
            voice: ext.voice_activity.unwrap_or(false),
            orientation: ext.video_orientation,
            arrived: now,
            keyframe: false,
            vp8: None,
            payload: packet.payload,
        };
        out.notice(Notice::Media {
            source,
            layer,
            packet: media.inspect(),
        });
    }

    /// Finds out which track and layer a new SSRC is.
    fn learn(&mut self, ssrc: Ssrc) -> Ingress {
        /// Three camera layers, screen, microphone; more are resets of the browser's encoder.
        const INGRESS_MAX: usize = 32;
        let stream = self.rtc.direct_api().stream_rx(&ssrc).map(|s| (s.mid(), s.rid()));
        let ingress = match stream.and_then(|(mid, rid)| Some((self.plan.line(mid)?, rid))) {
            None => Ingress::Unknown,
            Some((line, _)) if !self.grants.publish.contains(&line.source) => Ingress::NotGranted,
            Some((line, rid)) => {
                let rid = rid.map(|r| r.to_string()).unwrap_or_default();
                match line.rids.iter().position(|r| *r == rid) {
                    Some(layer) => Ingress::Track {
                        source: line.source,
                        layer: layer as u8,
                    },
                    None => Ingress::Unknown,
                }
            }
        };
        if self.ingress.len() >= INGRESS_MAX {
            self.ingress.remove(0);
        }
        self.ingress.push((ssrc, ingress));
        ingress
    }
}
