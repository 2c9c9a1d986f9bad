//! What reaches an edge's signalling and settings: tokens, proofs, resource ids, pushed configurations.
#![no_main]

use libfuzzer_sys::fuzz_target;
use medmesh_edge::fuzz;
use medmesh_sfu::ResourceId;

fuzz_target!(|data: &[u8]| {
    let Some((&what, data)) = data.split_first() else {
        return;
    };
    match what % 4 {
        0 => fuzz::bearer(data),
        1 => fuzz::signed(data),
        2 => fuzz::edge_config(data),
        _ => {
            let text = String::from_utf8_lossy(data);
            if let Ok(resource) = text.parse::<ResourceId>() {
                assert!(resource.to_string().eq_ignore_ascii_case(&text));
            }
        }
    }
});
