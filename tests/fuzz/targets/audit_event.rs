//! The bytes an audit leaf commits to: one encoding for each event, and no other.
#![no_main]

use libfuzzer_sys::fuzz_target;
use medmesh_clinic::audit::Event;

fuzz_target!(|data: &[u8]| {
    if let Ok(event) = Event::decode(data) {
        assert_eq!(event.encode(), data);
    }
});
