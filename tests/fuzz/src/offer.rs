//! Offers, as short as they can be.

use std::fmt::Write as _;

/// ICE user name of the browser in these offers.
pub const UFRAG: &str = "EsAw";

const SESSION: &str = "v=0\r\no=- 46117314004300 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n";
const TRANSPORT: &str = "c=IN IP4 0.0.0.0\r\na=ice-ufrag:EsAw\r\na=ice-pwd:bP+XJMM09aR8AiX1jdukzR6Y\r\na=fingerprint:sha-256 7B:8B:F0:65:5F:78:E2:51:3B:AC:6F:F3:3F:46:1B:35:DC:B8:5F:64:1A:24:C2:43:F0:A1:58:D0:A1:2C:19:08\r\na=setup:actpass\r\na=rtcp-mux\r\n";
const EXTENSIONS: &str = "a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level\r\na=extmap:3 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01\r\na=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid\r\na=extmap:10 urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id\r\na=extmap:11 urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id\r\na=extmap:13 urn:3gpp:video-orientation\r\n";
const OPUS: &str =
    "a=rtpmap:111 opus/48000/2\r\na=rtcp-fb:111 transport-cc\r\na=fmtp:111 minptime=10;useinbandfec=1\r\n";
const VIDEO: &str = "a=rtpmap:96 VP8/90000\r\na=rtcp-fb:96 transport-cc\r\na=rtcp-fb:96 nack\r\na=rtcp-fb:96 nack pli\r\na=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\na=rtpmap:102 H264/90000\r\na=fmtp:102 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f\r\na=rtpmap:98 VP9/90000\r\na=fmtp:98 profile-id=0\r\na=rtpmap:45 AV1/90000\r\na=fmtp:45 level-idx=5;profile=0;tier=0\r\n";

/// An m-line of an offer.
#[derive(Clone, Copy)]
pub enum Line {
    /// A microphone, or a slot to hear on.
    Audio {
        /// The browser sends on it.
        sends: bool,
    },
    /// A screen, or a slot to see on.
    Video {
        /// The browser sends on it.
        sends: bool,
    },
    /// A camera in three layers.
    Simulcast,
    /// Data channels.
    Data,
}

/// An offer with these m-lines.
pub fn offer(lines: &[Line]) -> String {
    let mids: Vec<String> = (0..lines.len()).map(|mid| mid.to_string()).collect();
    let mut sdp = format!("{SESSION}a=group:BUNDLE {}\r\n", mids.join(" "));
    for (mid, line) in lines.iter().enumerate() {
        let sends = !matches!(line, Line::Audio { sends: false } | Line::Video { sends: false });
        let direction = if sends { "sendonly" } else { "recvonly" };
        match line {
            Line::Audio { .. } => sdp.push_str("m=audio 9 UDP/TLS/RTP/SAVPF 111\r\n"),
            Line::Video { .. } | Line::Simulcast => {
                sdp.push_str("m=video 9 UDP/TLS/RTP/SAVPF 96 97 102 98 45\r\n");
            }
            Line::Data => sdp.push_str("m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n"),
        }
        write!(sdp, "{TRANSPORT}a=mid:{mid}\r\n").expect("a string grows");
        match line {
            Line::Data => sdp.push_str("a=sctp-port:5000\r\na=max-message-size:262144\r\n"),
            Line::Audio { .. } => write!(sdp, "{EXTENSIONS}a={direction}\r\n{OPUS}").expect("a string grows"),
            Line::Video { .. } | Line::Simulcast => {
                write!(sdp, "{EXTENSIONS}a={direction}\r\n{VIDEO}").expect("a string grows");
            }
        }
        if matches!(line, Line::Simulcast) {
            sdp.push_str("a=rid:q send\r\na=rid:h send\r\na=rid:f send\r\na=simulcast:send q;h;f\r\n");
        }
    }
    sdp
}

/// What our own client offers, with one slot of each kind where it has six.
pub fn visit() -> String {
    offer(&[
        Line::Audio { sends: true },
        Line::Simulcast,
        Line::Video { sends: true },
        Line::Audio { sends: false },
        Line::Video { sends: false },
        Line::Data,
    ])
}
