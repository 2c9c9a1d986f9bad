//! Files an operator writes: a control node's, an edge's, a relay's rules and networks.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use medmesh_control::relays::TurnUrl;
use medmesh_turn::{Network, PeerRule};

fuzz_target!(|data: &[u8]| {
    let Some((&what, data)) = data.split_first() else {
        return;
    };
    let text = String::from_utf8_lossy(data);
    match what % 5 {
        0 => medmesh_control::fuzz::files(data),
        1 => {
            if let Err(error) = medmesh_edge::Config::from_text(Path::new("edge.toml"), &text) {
                assert!(error.to_string().starts_with("edge.toml"), "{error}");
            }
        }
        2 => {
            let _ = text.parse::<PeerRule>();
        }
        3 => {
            let _ = text.parse::<Network>();
        }
        _ => {
            if let Ok(url) = text.parse::<TurnUrl>() {
                assert_eq!(url.to_string().parse(), Ok(url));
            }
        }
    }
});
