//! The committed code is what the `.proto` files say.

use std::fs;
use std::path::Path;

#[test]
fn generated_code_matches_the_protos() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let protos = root.parent().unwrap();
    let descriptors =
        protox::compile(["fleet.proto", "consensus.proto", "mesh.proto"], [protos]).expect("protos compile");
    let out = tempfile::tempdir().unwrap();
    tonic_prost_build::configure()
        .bytes(".medmesh.consensus.v1")
        .out_dir(out.path())
        .compile_fds(descriptors)
        .unwrap();
    for entry in fs::read_dir(out.path()).unwrap() {
        let fresh = entry.unwrap().path();
        let committed = root.join("src/generated").join(fresh.file_name().unwrap());
        let text = fs::read_to_string(&fresh).unwrap();
        if std::env::var_os("UPDATE_WIRE").is_some() {
            fs::write(&committed, &text).unwrap();
        }
        let found = fs::read_to_string(&committed).unwrap_or_default();
        assert!(
            found == text,
            "{committed:?} is stale: UPDATE_WIRE=1 cargo test -p medmesh-wire"
        );
    }
}
