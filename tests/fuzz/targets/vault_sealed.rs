//! Sealed fields and objects: what was altered, cut or made up does not open; what was not, does,
//! in whatever pieces it comes.
#![no_main]

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use medmesh_fuzz::input::Input;
use medmesh_vault::stream::{ObjectOpener, ObjectSealer};
use medmesh_vault::{DataKey, Field, Header, Jwks, Key, KeyKind, verify_detached};
use uuid::Uuid;

const FIELD: Field<'static> = Field {
    clinic: None,
    table: "table",
    row: Uuid::from_u128(1),
    column: "column",
    version: 1,
};
/// More than a chunk, so that objects have several.
const LARGEST: usize = 200_000;

fn key() -> &'static Key {
    static KEY: OnceLock<Key> = OnceLock::new();
    KEY.get_or_init(|| {
        let secret = DataKey::from_slice(&[7; 32]).expect("32 bytes");
        Key::new(KeyKind::Patient, 3, secret, 0).expect("a good key")
    })
}

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    match input.byte() % 5 {
        0 => {
            let header = Header::read(input.0);
            // The key and its kind are in the clear; they alone open nothing.
            let opened = key().open(&FIELD, input.0);
            assert!(opened.is_err(), "nobody sealed this: {header:?}");
        }
        1 => {
            let mut opener = ObjectOpener::new(key(), FIELD);
            let mut opened = 0;
            while !input.is_empty() {
                match opener.push(input.chunk()) {
                    Ok(part) => opened += part.len(),
                    Err(_) => return,
                }
            }
            assert!(opened == 0 && opener.finish().is_err(), "nobody sealed this");
        }
        2 => field(input),
        3 => object(input),
        _ => detached(input),
    }
});

/// A detached signature of a file, by a key of a set or by none.
fn detached(mut input: Input<'_>) {
    const KEY: &str = r#"{"kty":"EC","crv":"P-256","alg":"ES256","kid":"k","x":"YP7UuiVanTHJYet0xjVtaMBJuJI7Yfps5mliLmDyn7Y","y":"eQP-EAi4vJmkGunpViii8ZPLJg0l6gx0fnXvEBf5TiQ"}"#;
    let signature = String::from_utf8_lossy(input.chunk()).into_owned();
    let keys = String::from_utf8_lossy(input.chunk()).into_owned();
    for keys in [Jwks::from_keys([KEY]), Jwks::from_keys(keys.split('\n'))] {
        assert!(
            verify_detached(&keys, &signature, input.0).is_err(),
            "nobody signed this"
        );
    }
}

/// The place and the change of an alteration; none when it changes nothing.
fn alter(input: &mut Input<'_>, sealed: &mut Vec<u8>) -> bool {
    let (cut, at, change) = (input.byte() & 1 == 1, input.short(), input.byte());
    let at = usize::from(at) % sealed.len();
    if cut {
        sealed.truncate(at);
        return true;
    }
    sealed[at] ^= change;
    change != 0
}

fn field(mut input: Input<'_>) {
    let mut head = Input(input.take(4));
    let plain = input.0;
    let mut sealed = key().seal(&FIELD, plain).expect("a key that is not used up");
    let is_altered = alter(&mut head, &mut sealed);
    match key().open(&FIELD, &sealed) {
        Ok(opened) => assert!(!is_altered && opened.as_slice() == plain),
        Err(_) => assert!(is_altered),
    }
    let other = Field { version: 2, ..FIELD };
    assert!(key().open(&other, &sealed).is_err(), "of another place");
}

fn object(mut input: Input<'_>) {
    let mut head = Input(input.take(4));
    let (length, pieces) = (usize::from(input.short()) * 4 % LARGEST, input.short());
    let plain: Vec<u8> = input
        .0
        .iter()
        .copied()
        .cycle()
        .take(length.min(input.0.len() * length))
        .collect();
    let (mut sealer, mut sealed) = ObjectSealer::begin(key(), &FIELD).expect("randomness");
    sealed.extend(sealer.push(&plain).expect("a short object"));
    sealed.extend(sealer.finish().expect("a short object"));
    let is_altered = alter(&mut head, &mut sealed);
    let mut opener = ObjectOpener::new(key(), FIELD);
    let mut opened = Vec::new();
    for piece in sealed.chunks(usize::from(pieces) + 1) {
        match opener.push(piece) {
            Ok(part) => opened.extend_from_slice(&part),
            Err(_) => return assert!(is_altered),
        }
    }
    match opener.finish() {
        Ok(part) => {
            opened.extend_from_slice(&part);
            assert!(!is_altered && opened == plain);
        }
        Err(_) => assert!(is_altered),
    }
}
