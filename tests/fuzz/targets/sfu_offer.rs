//! An offer, and after a zero byte a trickle-ice-sdpfrag, from anybody with a token.
#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use medmesh_fuzz::shard::{Shard, isolate_dependencies};
use medmesh_sfu::JoinError;

fuzz_target!(init: isolate_dependencies(), |data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    let (offer, fragment) = text.split_once('\0').unwrap_or((&text, ""));
    let mut shard = Shard::default();
    let joined = shard.join(0, 1, offer);
    assert!(!matches!(joined, Err(JoinError::Internal)), "an offer is at fault, not we");
    if let Ok(joined) = joined {
        let restarted = shard.sfu.handle_ice_restart(shard.now, joined.resource, fragment);
        shard.drain();
        if let Ok(restarted) = restarted {
            assert!(restarted.fragment.contains(&restarted.etag));
        }
        // The same person again takes the place of the first connection.
        let _ = shard.join(0, 1, offer);
        shard.wait(Duration::from_secs(1));
    }
    shard.finish();
});
