//! Writes the seeds: what well-behaved peers say, in each target's own form, so that the
//! fuzzer starts behind the first checks. `tests/fuzz/run seeds`. Files named `find_…` are
//! what once broke a promise; they are kept by hand.

mod agreed;
mod link;
mod media;
mod relay;
mod relay_parsers;

use std::fs;
use std::path::Path;

// Its runtime is what the instrumentation of this build links against.
use libfuzzer_sys as _;

fn main() {
    relay::turn();
    relay_parsers::turn();
    media::signalling();
    media::sfu();
    link::links();
    link::meshes();
    agreed::raft();
    agreed::ledger();
    clinic();
}

fn write(target: &str, name: &str, bytes: impl AsRef<[u8]>) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds").join(target);
    fs::create_dir_all(&directory).expect("a checkout to write into");
    fs::write(directory.join(name), bytes).expect("a checkout to write into");
}

/// Parts one after the other.
fn join(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

fn clinic() {
    for (name, text) in [
        ("email", "Ana.Lopez+a@example.org"),
        ("name", "  Ana López "),
        ("zone", "Europe/Madrid"),
        ("region", "eu-west"),
        ("id", "00000000-0000-0001-0000-000000000001"),
        ("text", "first line\n\tsecond line\u{301}"),
    ] {
        write("clinic_text", name, text);
    }
}
