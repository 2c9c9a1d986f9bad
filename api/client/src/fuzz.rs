//! What the fuzzer drives: the answers of a server that is none of ours, and a machine's key file.
//!
//! Compiled for tests and with `--cfg fuzzing` only.

use crate::audit::cursor_of;
use crate::machine::rsa_numbers;
use crate::relay::gauge;
use crate::{MachineKey, events};

/// Reads `data` as an event, as a key's numbers, as metrics, as a link to the next page and as a key file.
pub fn answers(data: &[u8]) {
    let _ = events::parse(data);
    let (n, e) = rsa_numbers(data);
    assert!(n.len() + e.len() <= data.len());
    assert!([n, e].iter().all(|number| number.first() != Some(&0)));
    let text = String::from_utf8_lossy(data);
    if let Some(value) = gauge(&text, "gauge") {
        assert!(
            text.contains("gauge ") && text.contains(char::is_numeric),
            "{value}"
        );
    }
    if let Some(cursor) = cursor_of(&text) {
        assert!(text.contains(&cursor) && !cursor.contains('&') && !cursor.contains('>'));
    }
    let _ = MachineKey::from_pem("k", data);
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_is_none_of_it_breaks_nothing() {
        for bytes in [
            &b""[..],
            b"event: visit\ndata: {",
            b"\x30\x84\xff\xff\xff\xff\x02",
            b"gauge 1\n",
            b"<https://a/?cursor=b&c>; rel=\"next\"",
        ] {
            super::answers(bytes);
        }
    }
}
