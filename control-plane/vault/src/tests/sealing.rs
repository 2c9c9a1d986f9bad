//! Fields and objects open where they belong and nowhere else.

use medmesh_base::ClinicId;
use proptest::prelude::*;
use uuid::Uuid;

use crate::envelope::OVERHEAD_BYTES;
use crate::stream::{CHUNK_BYTES, ObjectOpener, ObjectSealer};
use crate::{DataKey, Field, Header, Key, KeyKind, SEALS_PER_KEY_MAX, VaultError};

fn key(kind: KeyKind, version: u32) -> Key {
    Key::new(kind, version, DataKey::generate().unwrap(), 0).unwrap()
}

fn place(row: Uuid) -> Field<'static> {
    Field {
        clinic: Some(ClinicId::from_uuid(Uuid::from_u128(7))),
        table: "person",
        row,
        column: "display_name",
        version: 3,
    }
}

#[test]
fn a_field_opens_in_its_place_and_nowhere_else() {
    let key = key(KeyKind::Patient, 2);
    let here = place(Uuid::from_u128(1));
    let sealed = key.seal(&here, b"Paula").unwrap();
    assert_eq!(sealed.len(), 5 + OVERHEAD_BYTES);
    assert_eq!(*key.open(&here, &sealed).unwrap(), b"Paula");
    assert!(!sealed.windows(5).any(|part| part == b"Paula"));
    let elsewhere = [
        Field { clinic: None, ..here },
        Field {
            clinic: Some(ClinicId::from_uuid(Uuid::from_u128(8))),
            ..here
        },
        Field {
            table: "persons",
            ..here
        },
        Field {
            row: Uuid::from_u128(2),
            ..here
        },
        Field {
            column: "email",
            ..here
        },
        // The border between table and column moves, the bytes together stay.
        Field {
            table: "persond",
            column: "isplay_name",
            ..here
        },
        Field { version: 2, ..here },
        Field { version: 4, ..here },
    ];
    for field in elsewhere {
        assert!(
            matches!(key.open(&field, &sealed), Err(VaultError::Sealed)),
            "{field:?}"
        );
    }
    for other in [
        self::key(KeyKind::Patient, 2),
        self::key(KeyKind::Patient, 3),
        self::key(KeyKind::Clinic, 2),
    ] {
        assert!(other.open(&here, &sealed).is_err());
    }
    assert_ne!(sealed, key.seal(&here, b"Paula").unwrap(), "nonces are fresh");
}

#[test]
fn keys_are_wrapped_for_one_place() {
    let above = key(KeyKind::Clinic, 1);
    let below = DataKey::generate().unwrap();
    let here = place(Uuid::from_u128(1));
    let wrapped = above.wrap(&here, &below).unwrap();
    assert_eq!(above.unwrap(&here, &wrapped).unwrap().expose(), below.expose());
    assert!(above.unwrap(&place(Uuid::from_u128(2)), &wrapped).is_err());
    // A field is no key.
    let field = above.seal(&here, b"short").unwrap();
    assert!(above.unwrap(&here, &field).is_err());
    assert!(!format!("{above:?} {below:?}").contains(|c: char| c.is_ascii_digit() && c > '1'));
}

#[test]
fn a_key_stops_at_its_bound_and_reports_what_it_sealed() {
    let key = Key::new(
        KeyKind::Clinic,
        1,
        DataKey::generate().unwrap(),
        SEALS_PER_KEY_MAX - 2,
    )
    .unwrap();
    let here = place(Uuid::nil());
    key.seal(&here, b"one").unwrap();
    key.seal(&here, b"two").unwrap();
    assert!(matches!(key.seal(&here, b"three"), Err(VaultError::Exhausted)));
    let count = key.count();
    let taken = count.take();
    assert_eq!((taken, count.take()), (3, 0));
    count.give_back(taken);
    assert_eq!((count.take(), count.total()), (3, SEALS_PER_KEY_MAX + 1));
    count.learn(7);
    assert_eq!(count.total(), SEALS_PER_KEY_MAX + 1, "a count never falls");
}

#[test]
fn what_is_no_envelope_is_refused() {
    for bytes in [&b""[..], b"short", &[0; 64], &[1; 33], &[9; 64]] {
        assert!(
            matches!(Header::read(bytes), Err(VaultError::Sealed)),
            "{bytes:?}"
        );
    }
}

fn seal_object(key: &Key, field: &Field<'_>, plain: &[u8], piece: usize) -> Vec<u8> {
    let (mut sealer, mut sealed) = ObjectSealer::begin(key, field).unwrap();
    for part in plain.chunks(piece.max(1)) {
        sealed.extend(sealer.push(part).unwrap());
    }
    sealed.extend(sealer.finish().unwrap());
    sealed
}

fn open_object(key: &Key, field: &Field<'_>, sealed: &[u8], piece: usize) -> Result<Vec<u8>, VaultError> {
    let mut opener = ObjectOpener::new(key, *field);
    let mut plain = Vec::new();
    for part in sealed.chunks(piece.max(1)) {
        plain.extend_from_slice(&opener.push(part)?);
    }
    plain.extend_from_slice(&opener.finish()?);
    Ok(plain)
}

const SEALED_CHUNK: usize = CHUNK_BYTES + 16;
const PREFIX: usize = 38;

#[test]
fn objects_of_every_length_come_back() {
    let key = key(KeyKind::Patient, 1);
    let here = place(Uuid::from_u128(5));
    for length in [
        0,
        1,
        CHUNK_BYTES - 1,
        CHUNK_BYTES,
        CHUNK_BYTES + 1,
        3 * CHUNK_BYTES,
    ] {
        let plain: Vec<u8> = (0..length).map(|n| (n % 251) as u8).collect();
        let sealed = seal_object(&key, &here, &plain, 40_000);
        assert_eq!(
            open_object(&key, &here, &sealed, 70_000).unwrap(),
            plain,
            "{length}"
        );
    }
}

#[test]
fn chunks_left_out_repeated_swapped_or_cut_do_not_open() {
    let key = key(KeyKind::Patient, 1);
    let here = place(Uuid::from_u128(5));
    let plain = vec![7; 3 * CHUNK_BYTES + 100];
    let sealed = seal_object(&key, &here, &plain, CHUNK_BYTES);
    let chunk = |n: usize| PREFIX + n * SEALED_CHUNK..PREFIX + (n + 1) * SEALED_CHUNK;
    let mut forged: Vec<(&str, Vec<u8>)> = Vec::new();
    let without = |range: std::ops::Range<usize>| [&sealed[..range.start], &sealed[range.end..]].concat();
    forged.push(("first chunk left out", without(chunk(0))));
    forged.push(("middle chunk left out", without(chunk(1))));
    forged.push(("cut at a chunk's border", sealed[..chunk(2).end].to_vec()));
    forged.push(("cut inside a chunk", sealed[..chunk(2).end - 9].to_vec()));
    forged.push(("last byte cut", sealed[..sealed.len() - 1].to_vec()));
    forged.push(("only the header", sealed[..PREFIX].to_vec()));
    forged.push(("nothing", Vec::new()));
    let repeated = [
        &sealed[..chunk(1).end],
        &sealed[chunk(1)],
        &sealed[chunk(2).start..],
    ]
    .concat();
    forged.push(("chunk repeated", repeated));
    let swapped = [
        &sealed[..PREFIX],
        &sealed[chunk(1)],
        &sealed[chunk(0)],
        &sealed[chunk(2).start..],
    ];
    forged.push(("chunks swapped", swapped.concat()));
    forged.push(("something appended", [&sealed[..], b"more"].concat()));
    let other = seal_object(&key, &here, &plain, CHUNK_BYTES);
    let mixed = [
        &sealed[..chunk(1).start],
        &other[chunk(1)],
        &sealed[chunk(2).start..],
    ]
    .concat();
    forged.push(("chunk of another object", mixed));
    for (what, forged) in forged {
        let opened = open_object(&key, &here, &forged, 50_000);
        assert!(matches!(opened, Err(VaultError::Sealed)), "{what}");
    }
    for field in [
        place(Uuid::from_u128(6)),
        Field { version: 4, ..here },
        Field { clinic: None, ..here },
    ] {
        assert!(open_object(&key, &field, &sealed, 50_000).is_err());
    }
}

proptest! {
    /// Whatever single byte of an envelope changes, it does not open.
    #[test]
    fn an_altered_field_does_not_open(
        plain in proptest::collection::vec(any::<u8>(), 0..80), at in any::<usize>(), flip in 1u8..,
    ) {
        let key = key(KeyKind::Clinic, 1);
        let here = place(Uuid::from_u128(1));
        let mut sealed = key.seal(&here, &plain).unwrap();
        let at = at % sealed.len();
        sealed[at] ^= flip;
        prop_assert!(key.open(&here, &sealed).is_err());
        prop_assert!(key.open(&here, &sealed[..at]).is_err());
    }
}
