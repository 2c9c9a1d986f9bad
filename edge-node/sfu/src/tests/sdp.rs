//! Offers as Chromium writes them, by hand.

const SESSION: &str = "v=0\r\no=- 4611731400430051336 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n";
const FINGERPRINT: &str = "a=fingerprint:sha-256 7B:8B:F0:65:5F:78:E2:51:3B:AC:6F:F3:3F:46:1B:35:DC:B8:5F:64:1A:24:C2:43:F0:A1:58:D0:A1:2C:19:08\r\na=setup:actpass\r\n";
const ICE: &str = "a=ice-ufrag:EsAw\r\na=ice-pwd:bP+XJMM09aR8AiX1jdukzR6Y\r\na=ice-options:trickle\r\n";
const AUDIO_CODECS: &str = "a=rtpmap:111 opus/48000/2\r\na=rtcp-fb:111 transport-cc\r\na=fmtp:111 minptime=10;useinbandfec=1\r\na=rtpmap:63 red/48000/2\r\na=fmtp:63 111/111\r\na=rtpmap:9 G722/8000\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:13 CN/8000\r\na=rtpmap:110 telephone-event/48000\r\na=rtpmap:126 telephone-event/8000\r\n";
const AUDIO_EXT: &str = "a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level\r\na=extmap:2 http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time\r\na=extmap:3 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01\r\na=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid\r\n";
const VIDEO_EXT: &str = "a=extmap:14 urn:ietf:params:rtp-hdrext:toffset\r\na=extmap:2 http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time\r\na=extmap:13 urn:3gpp:video-orientation\r\na=extmap:3 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01\r\na=extmap:5 http://www.webrtc.org/experiments/rtp-hdrext/playout-delay\r\na=extmap:6 http://www.webrtc.org/experiments/rtp-hdrext/video-content-type\r\na=extmap:7 http://www.webrtc.org/experiments/rtp-hdrext/video-timing\r\na=extmap:8 http://www.webrtc.org/experiments/rtp-hdrext/color-space\r\na=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid\r\na=extmap:10 urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id\r\na=extmap:11 urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id\r\n";
const VIDEO_PTS: &str = "96 97 102 103 104 105 106 107 39 40 45 46 98 99 100 101 49 50 112 113 116";
const VIDEO_CODECS: [(u8, &str, &str); 10] = [
    (96, "VP8/90000", ""),
    (
        102,
        "H264/90000",
        "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42001f",
    ),
    (
        104,
        "H264/90000",
        "level-asymmetry-allowed=1;packetization-mode=0;profile-level-id=42001f",
    ),
    (
        106,
        "H264/90000",
        "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f",
    ),
    (
        39,
        "H264/90000",
        "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=4d001f",
    ),
    (45, "AV1/90000", "level-idx=5;profile=0;tier=0"),
    (98, "VP9/90000", "profile-id=0"),
    (100, "VP9/90000", "profile-id=2"),
    (
        49,
        "H265/90000",
        "level-id=180;profile-id=1;tier-flag=0;tx-mode=SRST",
    ),
    (112, "brandnew/90000", ""),
];

fn video_codecs() -> String {
    let mut lines = String::new();
    for (pt, name, fmtp) in VIDEO_CODECS {
        lines += &format!("a=rtpmap:{pt} {name}\r\n");
        for feedback in ["goog-remb", "transport-cc", "ccm fir", "nack", "nack pli"] {
            lines += &format!("a=rtcp-fb:{pt} {feedback}\r\n");
        }
        if !fmtp.is_empty() {
            lines += &format!("a=fmtp:{pt} {fmtp}\r\n");
        }
        lines += &format!("a=rtpmap:{} rtx/90000\r\na=fmtp:{} apt={pt}\r\n", pt + 1, pt + 1);
    }
    // 113 is the rtx of 112; 116 stands for ulpfec.
    lines + "a=rtpmap:116 ulpfec/90000\r\n"
}

fn audio(mid: usize, direction: &str, first: bool) -> String {
    let candidates = if first {
        "a=candidate:2413160216 1 udp 2113937151 6f0b5a6c-3c54-4b0e-9f3a-1f6f9a1b9d11.local 46154 typ host generation 0 network-cost 999\r\na=candidate:1 1 tcp 1518280447 6f0b5a6c-3c54-4b0e-9f3a-1f6f9a1b9d11.local 9 typ host tcptype active generation 0\r\n"
    } else {
        ""
    };
    let msid = if direction == "sendonly" {
        "a=msid:- 5f8aa3d3-5b33-4a8b-8b3d-0d7c5a8f7a55\r\na=ssrc:3735928559 cname:GdvGv4rX\r\n"
    } else {
        ""
    };
    format!(
        "m=audio 9 UDP/TLS/RTP/SAVPF 111 63 9 0 8 13 110 126\r\nc=IN IP4 0.0.0.0\r\na=rtcp:9 IN IP4 0.0.0.0\r\n{candidates}{ICE}{FINGERPRINT}a=mid:{mid}\r\n{AUDIO_EXT}a={direction}\r\na=rtcp-mux\r\na=rtcp-rsize\r\n{AUDIO_CODECS}{msid}"
    )
}

fn video(mid: usize, direction: &str, simulcast: bool) -> String {
    let rids = if simulcast {
        "a=rid:q send\r\na=rid:h send\r\na=rid:f send\r\na=simulcast:send q;h;f\r\n"
    } else {
        ""
    };
    format!(
        "m=video 9 UDP/TLS/RTP/SAVPF {VIDEO_PTS}\r\nc=IN IP4 0.0.0.0\r\na=rtcp:9 IN IP4 0.0.0.0\r\n{ICE}{FINGERPRINT}a=mid:{mid}\r\n{VIDEO_EXT}a={direction}\r\na=rtcp-mux\r\na=rtcp-rsize\r\n{}{rids}",
        video_codecs()
    )
}

fn session(mids: usize) -> String {
    let group: Vec<String> = (0..mids).map(|m| m.to_string()).collect();
    format!(
        "{SESSION}a=group:BUNDLE {}\r\na=extmap-allow-mixed\r\na=msid-semantic: WMS\r\n",
        group.join(" ")
    )
}

/// Our portal's offer: microphone, camera in layers, screen, six and six slots, data.
pub(super) fn chromium_offer() -> String {
    let mut offer = session(16) + &audio(0, "sendonly", true) + &video(1, "sendonly", true);
    offer += &video(2, "sendonly", false);
    for mid in 3..9 {
        offer += &audio(mid, "recvonly", false);
    }
    for mid in 9..15 {
        offer += &video(mid, "recvonly", false);
    }
    offer
        + &format!(
            "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\n{ICE}{FINGERPRINT}a=mid:15\r\na=sctp-port:5000\r\na=max-message-size:262144\r\n"
        )
}

/// A WHIP publisher: one voice, one picture, no layers.
pub(super) fn whip_offer() -> String {
    session(2) + &audio(0, "sendonly", true) + &video(1, "sendonly", false)
}

/// A WHEP viewer.
pub(super) fn whep_offer() -> String {
    session(2) + &audio(0, "recvonly", true) + &video(1, "recvonly", false)
}
