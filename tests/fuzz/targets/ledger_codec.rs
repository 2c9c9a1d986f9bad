//! Bytes of the ledger, and histories of whatever they say.
#![no_main]

use libfuzzer_sys::fuzz_target;
use medmesh_fuzz::{fleet, input::Input};
use medmesh_ledger::{Command, Response, State, invariant};

fuzz_target!(|data: &[u8]| {
    let Some((&what, data)) = data.split_first() else {
        return;
    };
    match what % 4 {
        0 => {
            if let Ok(command) = Command::decode(data) {
                assert_eq!(Command::decode(&command.encode()), Ok(command));
            }
        }
        1 => {
            if let Ok(response) = Response::decode(data) {
                assert_eq!(Response::decode(&response.encode()), Ok(response));
            }
        }
        2 => {
            if let Ok(state) = State::decode(data) {
                assert_eq!(State::decode(&state.encode()), Ok(state));
            }
        }
        _ => history(Input(data)),
    }
});

/// Two nodes apply the same commands, one of them with a snapshot before each.
fn history(mut input: Input<'_>) {
    let mut one = State::default();
    let mut two = State::default();
    while !input.is_empty() {
        let Ok(mut command) = Command::decode(input.chunk()) else {
            continue;
        };
        fleet::fold(&mut command, &one);
        let before = one.clone();
        let applied = one.apply(&command);
        if matches!(applied.response, Response::Refused(_)) {
            assert_eq!(one, before, "a refusal changes nothing");
        }
        invariant::check(&one, &before);
        two = State::decode(&two.encode()).expect("what we write we read");
        assert_eq!(two.apply(&command), applied);
    }
    assert_eq!(one, two, "nodes agree");
}
