//! Writes the seeds: what well-behaved peers say, in each target's own form, so that the
//! fuzzer starts behind the first checks. `tests/fuzz/run seeds`. Files named `find_…` are
//! what once broke a promise; they are kept by hand.

mod agreed;
mod answers;
mod kept;
mod link;
mod media;
mod relay;
mod relay_parsers;
mod requests;
mod trust;

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
    trust::passkeys();
    trust::events();
    trust::logs();
    trust::machines();
    requests::bodies();
    requests::queries();
    requests::headers();
    answers::assertions();
    answers::providers();
    answers::storages();
    answers::clients();
    kept::texts();
    kept::sealed();
    kept::files();
    agreed::messages();
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
        ("code", "0123-4567-89AB-CDEF-GHJK-MNPQ"),
        ("secret", "JBSW Y3DP EHPK 3PXP JBSW Y3DP EHPK 3PXP"),
        ("npi", "1234567893"),
        ("dea", "AB1234563\nny"),
        ("license", "a-12.345/b\nNY"),
        ("scopes", "system/Appointment.rs system/Appointment.cu"),
        (
            "browser",
            "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
        ),
        ("text", "first line\n\tsecond line\u{301}"),
    ] {
        write("clinic_text", name, text);
    }
}
