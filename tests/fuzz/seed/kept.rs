//! What is kept and handed back: cursors and tokens, sealed bytes, files.

use std::path::Path;

use medmesh_fuzz::input::chunk;
use medmesh_store::{AccessToken, Cursor, SessionToken};
use medmesh_vault::stream::ObjectSealer;
use medmesh_vault::{DataKey, Field, Key, KeyKind};
use uuid::Uuid;

use crate::{join, write};

pub(crate) fn texts() {
    let target = "store_text";
    write(target, "cursor", Cursor::by_id(Uuid::from_u128(1)).to_string());
    let token = SessionToken::from_bytes(&[7; 32]).expect("32 bytes").expose();
    write(target, "machine", format!("mm_at_{token}"));
    write(target, "session", token);
    write(target, "key", "0123456789abcdef");
    assert!("mm_at_".parse::<AccessToken>().is_err());
}

pub(crate) fn sealed() {
    let target = "vault_sealed";
    let secret = DataKey::from_slice(&[8; 32]).expect("32 bytes");
    // Not the target's key: it has to be able to refuse.
    let key = Key::new(KeyKind::Patient, 3, secret, 0).expect("a good key");
    let field = Field {
        clinic: None,
        table: "table",
        row: Uuid::from_u128(1),
        column: "column",
        version: 1,
    };
    let envelope = key.seal(&field, b"plain").expect("a fresh key");
    write(target, "envelope", join(&[&[0], &envelope]));
    let (mut sealer, mut object) = ObjectSealer::begin(&key, &field).expect("randomness");
    object.extend(sealer.push(b"plain").expect("a short object"));
    object.extend(sealer.finish().expect("a short object"));
    write(
        target,
        "object",
        join(&[&[1], &chunk(&object[..10]), &chunk(&object[10..])]),
    );
    write(target, "field", join(&[&[2, 0, 0, 20, 0], b"plain"]));
    write(target, "field_altered", join(&[&[2, 0, 0, 20, 1], b"plain"]));
    write(target, "field_cut", join(&[&[2, 1, 0, 20, 1], b"plain"]));
    write(
        target,
        "stream",
        join(&[&[3, 0x80, 0, 0, 99, 0, 40, 0], b"plain"]),
    );
    write(
        target,
        "stream_altered",
        join(&[&[3, 0x80, 0, 0, 99, 0, 40, 7], b"plain"]),
    );
    // {"alg":"ES256","b64":false,"crit":["b64"],"kid":"k"}
    let detached = b"eyJhbGciOiJFUzI1NiIsImI2NCI6ZmFsc2UsImNyaXQiOlsiYjY0Il0sImtpZCI6ImsifQ..AAAA";
    write(
        target,
        "detached",
        join(&[&[4], &chunk(detached), &chunk(b"{}"), b"bytes"]),
    );
    let roots = r#"{"format":1,"unlock":{"by":"credential","salt":"AAAAAAAAAAAAAAAAAAAAAA=="},"keys":[{"version":1,"sealed":"AAAA"}]}"#;
    write("vault_key_file", "credential", roots);
    let stretched = roots.replace(
        r#"{"by":"credential","salt":"#,
        r#"{"by":"passphrase","kib":4294967295,"passes":4294967295,"salt":"#,
    );
    write("vault_key_file", "passphrase", stretched);
}

pub(crate) fn files() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    for (what, name) in [
        (0, "control-plane/control.example.toml"),
        (1, "edge-node/edge.example.toml"),
    ] {
        let text = std::fs::read(root.join(name)).expect("an example");
        let short = name.rsplit('/').next().expect("a name");
        write("config_files", short, join(&[&[what], &text]));
    }
    for (name, rule) in [
        ("rule", "192.0.2.1:10000-10007"),
        ("rule_network", "2001:db8::/32"),
        ("rule_six", "[2001:db8::1]:1-2"),
    ] {
        write("config_files", name, join(&[&[2], rule.as_bytes()]));
    }
    write(
        "config_files",
        "relay",
        b"\x04turns:[2001:db8::1]:443?transport=tcp",
    );
    write("config_files", "network", b"\x0310.0.0.0/8");
    write(
        "config_files",
        "line",
        b"\x00[http]\nlisten = 7\n[node]\nid = \"x\"\n",
    );
    write(
        "config_files",
        "index",
        b"\x00[cluster]\npeers = [{ id = 1 },\n { id = \"y\" }]\n",
    );
}
