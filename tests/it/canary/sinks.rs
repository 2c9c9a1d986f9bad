//! Where nothing may be found, and how it is looked for.

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

/// Every canary begins with this: what is looked for is one word in all its forms. Nothing else
/// on the machine is called so.
pub(super) const MARKER: &str = "zqxkanarie";
/// How much of a file is read at once.
const CHUNK: usize = 1 << 20;
/// More bytes than a canary takes in its longest form, `\\u00xx` for each letter.
const LONGEST_CANARY: usize = 192;
/// Finds in one file that are named; the others are of the same places.
const NAMED_MAX: usize = 64;

static SEARCHED: AtomicU64 = AtomicU64::new(0);

/// The forms the marker takes when somebody encodes a text around it.
pub(super) fn forms() -> Vec<Vec<u8>> {
    forms_of(MARKER)
}

/// The forms a word takes.
fn forms_of(word: &str) -> Vec<Vec<u8>> {
    let bytes = word.as_bytes();
    let mut forms = vec![
        bytes.to_vec(),
        super::hex(bytes).into_bytes(),
        // PostgreSQL's escape, URL encoding of every byte, JSON's escapes.
        bytes
            .iter()
            .flat_map(|b| format!("%{b:02x}").into_bytes())
            .collect(),
        bytes
            .iter()
            .flat_map(|b| format!("\\u00{b:02x}").into_bytes())
            .collect(),
        bytes.iter().flat_map(|b| [*b, 0]).collect(),
        bytes.iter().flat_map(|b| [0, *b]).collect(),
    ];
    for before in 0..3_usize {
        // What base64 makes of the marker depends on where it begins; the letters at the ends also
        // on its neighbours.
        let padded = [&vec![b'x'; before], bytes].concat();
        let skip = (before * 4).div_ceil(3);
        for engine in [&STANDARD_NO_PAD, &URL_SAFE_NO_PAD] {
            let text = engine.encode(&padded).into_bytes();
            let whole = padded.len() * 8 / 6;
            forms.push(text[skip..whole].to_vec());
        }
    }
    forms
}

/// Everything that is kept, copied or shown.
pub(super) struct Sinks {
    pub(super) places: Vec<(&'static str, PathBuf)>,
}

impl Sinks {
    /// Files that hold a form of the marker.
    pub(super) fn search(&mut self) -> Vec<(&'static str, PathBuf)> {
        let forms = forms();
        let mut found = Vec::new();
        for (place, path) in &self.places {
            let mut files = Vec::new();
            walk(path, &mut files);
            let files = files.into_iter().filter(|file| holds(file, &forms));
            found.extend(files.map(|file| (*place, file)));
        }
        found
    }

    /// Bytes looked at so far.
    pub(super) fn searched(&self) -> u64 {
        SEARCHED.load(Ordering::Relaxed)
    }
}

/// What the canaries in a file were made for.
pub(super) fn named(file: &Path, made_for: &HashMap<String, String>) -> BTreeSet<String> {
    let bytes = std::fs::read(file).unwrap_or_default().to_ascii_lowercase();
    let mut around: Vec<&[u8]> = Vec::new();
    for form in forms() {
        let form = form.to_ascii_lowercase();
        let mut at = 0;
        while let Some(next) = position(&bytes[at..], &form) {
            let begin = (at + next).saturating_sub(LONGEST_CANARY);
            at += next + form.len();
            around.push(&bytes[begin..bytes.len().min(at + LONGEST_CANARY)]);
            if around.len() > NAMED_MAX {
                break;
            }
        }
    }
    let mut names = BTreeSet::new();
    for (word, place) in made_for {
        let forms = forms_of(word);
        if around.iter().any(|text| contains(text, &forms)) {
            names.insert(place.clone());
        }
    }
    names
}

fn walk(path: &Path, files: &mut Vec<PathBuf>) {
    if path.is_dir() {
        for entry in std::fs::read_dir(path).unwrap() {
            walk(&entry.unwrap().path(), files);
        }
    } else if path.is_file() {
        files.push(path.to_owned());
    }
}

fn holds(file: &Path, forms: &[Vec<u8>]) -> bool {
    let longest = forms.iter().map(Vec::len).max().unwrap();
    // A server removes temporary files while we look.
    let Ok(mut file) = File::open(file) else {
        return false;
    };
    let mut bytes = Vec::new();
    loop {
        let read = file.by_ref().take(CHUNK as u64).read_to_end(&mut bytes).unwrap();
        SEARCHED.fetch_add(read as u64, Ordering::Relaxed);
        if contains(&bytes, forms) {
            return true;
        }
        if read == 0 {
            return false;
        }
        // A form may lie across the border.
        bytes.drain(..bytes.len().saturating_sub(longest));
    }
}

/// Letters of either case are the same: hexadecimal, and what somebody made lower-case. For base64
/// that finds more than there is, and no less.
pub(super) fn contains(bytes: &[u8], forms: &[Vec<u8>]) -> bool {
    let lower: Vec<u8> = bytes.to_ascii_lowercase();
    forms.iter().any(|form| find(&lower, &form.to_ascii_lowercase()))
}

fn find(bytes: &[u8], form: &[u8]) -> bool {
    position(bytes, form).is_some()
}

fn position(bytes: &[u8], form: &[u8]) -> Option<usize> {
    let (first, rest) = form.split_first().unwrap();
    let mut at = 0;
    while let Some(next) = bytes[at..].iter().position(|byte| byte == first) {
        at += next + 1;
        if bytes[at..].starts_with(rest) {
            return Some(at - 1);
        }
    }
    None
}

/// Arguments and environments of processes that hold the marker; other people's are not ours to read.
pub(super) fn arguments_of_processes() -> Vec<String> {
    let forms = forms();
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        for name in ["cmdline", "environ"] {
            let Ok(bytes) = std::fs::read(entry.path().join(name)) else {
                continue;
            };
            if contains(&bytes, &forms) {
                found.push(String::from_utf8_lossy(&bytes).replace('\0', " "));
            }
        }
    }
    found
}

/// A dump as an operator makes one.
pub(super) fn pg_dump(url: &str, out: &Path) {
    let installed = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten();
    let newest = installed
        .map(|entry| entry.path().join("bin/pg_dump"))
        .filter(|path| path.exists())
        .max();
    let program = newest.unwrap_or_else(|| PathBuf::from("pg_dump"));
    let output = Command::new(program)
        .arg(format!("--dbname={url}"))
        .arg("--file")
        .arg(out)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// The tables whose rows in a dump hold the marker: where to look for the leak.
pub(super) fn tables(dump: &Path) -> Vec<String> {
    let (forms, mut table, mut found) = (forms(), String::new(), Vec::new());
    for line in std::fs::read_to_string(dump).unwrap().lines() {
        if let Some(copied) = line.strip_prefix("COPY ") {
            table = copied.to_owned();
        } else if contains(line.as_bytes(), &forms) {
            found.push(table.clone());
        }
    }
    found.dedup();
    found
}

/// PostgreSQL's own user must be able to reach what is below.
pub(super) fn open_to_postgres(dir: &Path) {
    std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o711)).unwrap();
}

/// Hears every command that Redis is sent, also what it has forgotten when the test ends.
pub(super) struct Listener {
    child: Child,
    port: u16,
}

impl Listener {
    pub(super) fn start(port: u16, out: &Path) -> Self {
        let child = Command::new("redis-cli")
            .args(["-p", &port.to_string(), "monitor"])
            .stdout(File::create(out).unwrap())
            .stderr(Stdio::null())
            .spawn()
            .expect("redis-cli comes with redis-server");
        let listener = Self { child, port };
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
        while !std::fs::read_to_string(out).unwrap().contains("OK") {
            assert!(std::time::Instant::now() < deadline, "redis-cli listens");
            std::thread::yield_now();
        }
        listener
    }

    /// Has Redis keep something, and waits until that was heard.
    pub(super) fn plant(mut self, text: &str) {
        let port = self.port.to_string();
        let set = Command::new("redis-cli")
            .args(["-p", &port, "set", "planted", text])
            .output();
        assert!(set.unwrap().status.success());
        let shutdown = Command::new("redis-cli")
            .args(["-p", &port, "shutdown", "nosave"])
            .output();
        assert!(shutdown.is_ok());
        // With its server gone it has written all it heard.
        self.child.wait().unwrap();
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // An error means that it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn every_form_is_found_wherever_it_lies() {
    let forms = forms();
    for before in 0..7 {
        let text = format!("{}{MARKER}0123456789", "y".repeat(before));
        let bytes = text.as_bytes();
        let utf16: Vec<u16> = text.encode_utf16().collect();
        let written: [(&str, Vec<u8>); 9] = [
            ("plain", bytes.to_vec()),
            ("upper case", text.to_uppercase().into_bytes()),
            ("hex", super::hex(bytes).into_bytes()),
            ("HEX", super::hex(bytes).to_uppercase().into_bytes()),
            ("base64", STANDARD_NO_PAD.encode(bytes).into_bytes()),
            ("base64url", URL_SAFE_NO_PAD.encode(bytes).into_bytes()),
            (
                "UTF-16LE",
                utf16.iter().flat_map(|unit| unit.to_le_bytes()).collect(),
            ),
            (
                "UTF-16BE",
                utf16.iter().flat_map(|unit| unit.to_be_bytes()).collect(),
            ),
            (
                "URL",
                bytes
                    .iter()
                    .flat_map(|b| format!("%{b:02X}").into_bytes())
                    .collect(),
            ),
        ];
        for (form, written) in written {
            assert!(contains(&written, &forms), "{form} after {before} letters");
        }
    }
    assert!(!contains(b"a kanarie and a canary", &forms));
}
