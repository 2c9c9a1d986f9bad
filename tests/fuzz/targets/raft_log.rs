//! The Raft log's bytes, and what befalls its files.
#![no_main]

use std::path::PathBuf;
use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    medmesh_consensus::fuzz::records(data);
    medmesh_consensus::fuzz::recovery(directory(), data);
});

/// An empty directory of this process; `run` has temporary ones in memory, as an fsync is not what is tested.
fn directory() -> &'static PathBuf {
    static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();
    DIRECTORY.get_or_init(|| {
        let directory = std::env::temp_dir().join(format!("medmesh-fuzz-{}", std::process::id()));
        std::fs::create_dir_all(&directory).expect("a temporary directory");
        directory
    })
}
