//! Messages of the `control` channel: each alone, and as a history of two participants.
#![no_main]

use std::sync::OnceLock;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use medmesh_fuzz::{input::Input, offer, shard::Shard, shard::isolate_dependencies};

fuzz_target!(init: isolate_dependencies(), |data: &[u8]| {
    static OFFER: OnceLock<String> = OnceLock::new();
    let mut shard = Shard::default();
    for who in [0, 1] {
        let joined = shard.join(who, 1, OFFER.get_or_init(offer::visit)).expect("a good offer");
        shard.sfu.fuzz_connect(joined.resource);
        shard.drain();
    }
    let mut input = Input(data);
    while !input.is_empty() {
        let who = input.byte();
        let message = input.chunk();
        medmesh_sfu::fuzz::control_message(message);
        let resource = shard.pick(who).expect("two joined").resource;
        shard.sfu.fuzz_control(shard.now, resource, message);
        shard.drain();
        shard.wait(Duration::from_millis(u64::from(who >> 1)));
    }
    shard.finish();
});
