//! The parsers beside messages: frames of a stream, the files of an operator, what relays answer.

use crate::codec::{FRAME_BYTES_MAX, FrameError, Framer, Frames};
use crate::credential::{Secret, Secrets, Username};
use crate::peers_file;
use crate::policy::{PeerPolicy, PeerRule};
use crate::probe::{Outcome, Probe, Step};
use crate::secrets_file::{self, SECRET_CHARACTERS_MIN};

/// As a connection without an allocation has it.
const FRAME_MAX: usize = 4096;
/// Beyond it a conversation would not end.
const ANSWERS_MAX: usize = 16;

/// Reads `data` as a stream, whole and in pieces whose lengths its first bytes say: cut as it may be,
/// the same frames come out, and the same end.
pub fn stream(data: &[u8]) {
    let (cuts, bytes) = data.split_at(data.len().min(8));
    let mut whole = Vec::new();
    let whole_end = frames(bytes, &mut whole);

    let mut framer = Framer::new();
    let mut buffer = vec![0; 2 * FRAME_BYTES_MAX];
    let (mut pieces, mut taken, mut rest) = (Vec::new(), 0, bytes);
    let mut cuts = cuts.iter().cycle();
    let mut end = None;
    while !rest.is_empty() && end.is_none() {
        let cut = cuts.next().map_or(1, |cut| usize::from(*cut) + 1);
        let (piece, later) = rest.split_at(rest.len().min(cut));
        rest = later;
        let kept = framer.resume(&mut buffer);
        let filled = kept + piece.len();
        buffer[kept..filled].copy_from_slice(piece);
        let mut found = Frames::new(&buffer[..filled], FRAME_MAX);
        end = loop {
            match found.next() {
                Ok(Some(range)) => pieces.push(buffer[range].to_vec()),
                Ok(None) => break None,
                Err(error) => break Some(error),
            }
        };
        taken += piece.len();
        if end.is_none() {
            framer.suspend(found.rest());
        }
    }
    // What is wrong is seen with its first wrong byte: what comes after it changes nothing.
    assert_eq!(end, whole_end, "after {taken} bytes");
    assert_eq!(pieces, whole);
}

fn frames(bytes: &[u8], into: &mut Vec<Vec<u8>>) -> Option<FrameError> {
    let mut found = Frames::new(bytes, FRAME_MAX);
    loop {
        match found.next() {
            Ok(Some(range)) => into.push(bytes[range].to_vec()),
            Ok(None) => return None,
            Err(error) => return Some(error),
        }
    }
}

/// Reads `data` as what operators and clients write: secrets, rules for peers, user names.
pub fn text(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    match secrets_file::parse(text) {
        Ok(secrets) => {
            let epochs = secrets.epochs();
            assert!((1..=2).contains(&epochs.len()), "{epochs:?}");
            assert!(epochs.windows(2).all(|pair| pair[0] > pair[1]), "newest first");
        }
        Err(fault) => {
            let said = fault.to_string();
            let long = |word: &&str| word.len() >= SECRET_CHARACTERS_MIN;
            for word in text.split_whitespace().filter(long) {
                assert!(!said.contains(word), "an error says what is in the file");
            }
        }
    }
    if let Ok(rules) = peers_file::parse(text) {
        assert!(rules.allow.len() + rules.deny.len() <= peers_file::RULES_MAX);
        let line = |(word, rule): (&str, &PeerRule)| format!("{word} {rule}\n");
        let allow = rules.allow.iter().map(|rule| line(("allow", rule)));
        let deny = rules.deny.iter().map(|rule| line(("deny", rule)));
        let written: String = allow.chain(deny).chain(["end\n".to_owned()]).collect();
        assert_eq!(peers_file::parse(&written), Ok(rules), "what is written is read");
        let cut = written.len() - "end\n".len();
        assert!(peers_file::parse(&written[..cut]).is_err(), "a part is no file");
    }
    if let Ok(rule) = text.parse::<PeerRule>() {
        let again: PeerRule = rule.to_string().parse().expect("what is written is read");
        assert_eq!(again, rule);
        let policy = PeerPolicy::allow_list(vec![rule]);
        assert!(!policy.permits("127.0.0.1:0".parse().expect("an address")));
        assert!(!policy.permits("[::ffff:127.0.0.1]:7".parse().expect("an address")));
    }
    if let Some(name) = Username::parse(text) {
        assert!(text.ends_with(name.opaque) && !name.opaque.is_empty());
    }
}

/// Answers a probe with what `data` says, with the transaction of its request where the first byte of a
/// piece is even: it ends, and finds a relay that serves only where somebody knew the secret.
pub fn probe(data: &[u8]) {
    let secrets = Secrets::new(Secret::new(2, "new"), Some(Secret::new(1, "old")));
    let mut probe = Probe::new(&secrets, "1800000000:probe".to_owned());
    let mut transaction = [1; 12];
    probe.first(transaction);
    let (mut bytes, mut answers) = (data, 0);
    while let Some((&[kind, length], rest)) = bytes.split_first_chunk() {
        let (piece, rest) = rest.split_at(rest.len().min(length.into()));
        bytes = rest;
        let mut answer = piece.to_vec();
        if kind % 2 == 0 && answer.len() >= 20 {
            answer[4..8].copy_from_slice(&crate::codec::MAGIC_COOKIE.to_be_bytes());
            answer[8..20].copy_from_slice(&transaction);
        }
        let next = [transaction[0].wrapping_add(1); 12];
        match probe.handle(&answer, next) {
            None => {}
            Some(Step::Send(request)) => {
                assert!(
                    request.len() < 1_000 + 2 * 255,
                    "it says back what it was told, once"
                );
                transaction = next;
                answers += 1;
                assert!(answers < ANSWERS_MAX, "it ends");
            }
            Some(Step::Done(outcome)) => {
                let serves = matches!(outcome, Outcome::Serves { .. });
                assert!(!serves, "nobody here knows the secret");
                return;
            }
        }
    }
}
