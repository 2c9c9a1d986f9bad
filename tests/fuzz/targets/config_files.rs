//! Files an operator writes: a control node's, an edge's, a relay's rules and networks.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use medmesh_turn::{Network, PeerRule};

fuzz_target!(|data: &[u8]| {
    let Some((&what, data)) = data.split_first() else {
        return;
    };
    let text = String::from_utf8_lossy(data);
    match what % 4 {
        0 => medmesh_control::fuzz::files(data),
        1 => {
            if let Err(error) = medmesh_edge::Config::from_text(Path::new("edge.toml"), &text) {
                assert!(error.to_string().starts_with("edge.toml"), "{error}");
            }
        }
        2 => {
            let _ = text.parse::<PeerRule>();
        }
        _ => {
            let _ = text.parse::<Network>();
        }
    }
});
