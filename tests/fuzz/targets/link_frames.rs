//! What links read before anything is trusted: datagrams, stream classes, join tokens, certificates.
#![no_main]

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use medmesh_fuzz::input::Input;
use medmesh_link::{Datagram, JoinToken, PeerIdentity, Probe, ProbeTracker, StreamClass};
use rustls_pki_types::CertificateDer;

fuzz_target!(|data: &[u8]| {
    let Some((&what, data)) = data.split_first() else {
        return;
    };
    let text = String::from_utf8_lossy(data);
    match what % 6 {
        0 => datagram(data),
        1 => join_token(&text),
        2 => join_token(&format!("mmj1.{}", URL_SAFE_NO_PAD.encode(data))),
        3 => {
            if let Ok(identity) = PeerIdentity::from_uri(&text) {
                assert_eq!(identity.to_uri(), text, "one machine has one name");
            }
        }
        4 => {
            let _ = PeerIdentity::from_certificate(&CertificateDer::from(data));
        }
        _ => probes(Input(data)),
    }
});

fn datagram(data: &[u8]) {
    if let Some(datagram) = Datagram::parse(&Bytes::copy_from_slice(data)) {
        assert_eq!(datagram.to_bytes(), data);
    }
    if let Some(class) = data.first().and_then(|byte| StreamClass::from_byte(*byte)) {
        assert_eq!(Some(class.byte()), data.first().copied());
    }
}

fn join_token(text: &str) {
    if let Ok(token) = text.parse::<JoinToken>() {
        assert_eq!(token.to_text().parse(), Ok(token));
    }
}

/// A peer that sends back what it likes.
fn probes(mut input: Input<'_>) {
    let mut tracker = ProbeTracker::new();
    let mut now_us = 0;
    let mut sent = Vec::new();
    while !input.is_empty() {
        now_us += u64::from(input.short()) * 100;
        match input.byte() % 3 {
            0 => sent.push(tracker.next_probe(now_us)),
            1 => {
                let number = usize::from(input.byte());
                if let Some(probe) = sent.get(number % sent.len().max(1)) {
                    tracker.handle_echo(*probe, now_us);
                }
            }
            _ => {
                let probe = Probe {
                    sequence: u32::from_be_bytes(input.array()),
                    clock_us: u64::from_be_bytes(input.array()),
                };
                tracker.handle_echo(probe, now_us);
            }
        }
        let _ = tracker.quality(now_us);
    }
}
