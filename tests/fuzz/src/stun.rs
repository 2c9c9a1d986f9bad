//! Connectivity checks as a browser sends them (RFC 8445 section 7.2.2).

use medmesh_turn::codec::{Builder, Class, IntegrityKind, Method};

const PRIORITY: u16 = 0x0024;
const USE_CANDIDATE: u16 = 0x0025;
const ICE_CONTROLLING: u16 = 0x802A;
const USERNAME: u16 = 0x0006;

/// A check of the browser `theirs` at the edge's credentials `ufrag`, `password`.
pub fn check(ufrag: &str, password: &str, theirs: &str, transaction: u8) -> Vec<u8> {
    Builder::new(Class::Request, Method::BINDING, [transaction; 12])
        .attribute(USERNAME, format!("{ufrag}:{theirs}").as_bytes())
        .attribute(ICE_CONTROLLING, &[7; 8])
        .attribute(USE_CANDIDATE, &[])
        .attribute(PRIORITY, &[0x6E, 0, 0x1E, 0xFF])
        .integrity(IntegrityKind::Sha1, password.as_bytes())
        .fingerprint()
        .finish()
}

/// The value of an SDP attribute, e.g. `a=ice-ufrag:`.
pub fn attribute<'a>(sdp: &'a str, name: &str) -> Option<&'a str> {
    sdp.lines().find_map(|line| line.trim_end().strip_prefix(name))
}
