//! Opaque text that clients hand back: cursors of pages, tokens of sessions, links and machines.
#![no_main]

use libfuzzer_sys::fuzz_target;
use medmesh_store::{AccessToken, Cursor, IdempotencyKey, LinkToken, SessionToken};

fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    if let Ok(cursor) = text.parse::<Cursor>() {
        assert_eq!(cursor.to_string(), text, "one text for each place");
    }
    if let Ok(token) = text.parse::<SessionToken>() {
        assert_eq!(token.expose(), text);
        assert!(!format!("{token:?}").contains(&*text));
    }
    if let Ok(token) = text.parse::<LinkToken>() {
        assert_eq!(token.expose(), text);
        assert!(!format!("{token:?}").contains(&*text));
    }
    if let Ok(token) = text.parse::<AccessToken>() {
        assert_eq!(token.expose(), text);
        assert!(text.parse::<SessionToken>().is_err(), "no token is two things");
    }
    if let Ok(key) = text.parse::<IdempotencyKey>() {
        assert_eq!(text.parse(), Ok(key.clone()));
        assert_eq!(
            format!("{key:?}"),
            "IdempotencyKey(…)",
            "what is in a key may be a name"
        );
    }
});
