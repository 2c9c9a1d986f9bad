//! Every parser of ours has a fuzz target, or a reason: the list in `tests/fuzz/README.md` against the
//! sources and the targets.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Where the product's sources are.
const ROOTS: [&str; 5] = ["api", "control-plane", "edge-node", "proto", "turn-relay"];
/// What a parser is called, alone or before an underscore.
const NAMES: [&str; 9] = [
    "decode",
    "parse",
    "read",
    "open",
    "verify",
    "from_bytes",
    "from_slice",
    "from_pem",
    "from_text",
];
/// What it reads first.
const READS: [&str; 3] = ["[u8]", "str", "Bytes"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Sources below a folder, tests and what the fuzzer drives left out.
fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            if !["tests", "fuzz", "generated", "target", "node_modules", "dist"].contains(&name.as_str()) {
                sources(&path, found);
            }
        } else if name.ends_with(".rs") && !["tests.rs", "fuzz.rs"].contains(&name.as_str()) {
            found.push(path);
        }
    }
}

/// Whether the text after a function's name is its parameters, of which the first beside the receiver
/// is borrowed bytes or text.
fn reads_bytes(parameters: &str) -> bool {
    let Some((_, rest)) = parameters.split_once('(') else {
        return false;
    };
    let Some((inside, _)) = rest.split_once(')') else {
        return false;
    };
    let mut typed = inside.split(',').filter_map(|one| one.split_once(':'));
    let Some(kind) = typed.next().and_then(|(_, kind)| kind.trim().strip_prefix('&')) else {
        return false;
    };
    let bare = match kind.strip_prefix('\'') {
        Some(named) => named.split_once(' ').map_or(kind, |(_, bare)| bare),
        None => kind,
    };
    READS.contains(&bare.trim())
}

/// The parsers of a source, by name.
fn parsers(text: &str) -> Vec<String> {
    let text = text.split("#[cfg(test)]\nmod ").next().unwrap();
    let mut found = Vec::new();
    if text.contains("FromStr for ") {
        found.push("FromStr".to_owned());
    }
    for (at, _) in text.match_indices("fn ") {
        let rest = &text[at + 3..];
        let end = rest
            .find(|c: char| !c.is_alphanumeric() && c != '_')
            .unwrap_or(rest.len());
        let (name, parameters) = rest.split_at(end);
        let is_called_so = |known: &str| {
            name.strip_prefix(known)
                .is_some_and(|tail| tail.is_empty() || tail.starts_with('_'))
        };
        if NAMES.iter().any(|known| is_called_so(known)) && reads_bytes(parameters) {
            found.push(name.to_owned());
        }
    }
    found
}

/// The rows of the table below a heading: file, and what stands beside it.
fn table(readme: &str, heading: &str) -> BTreeMap<String, String> {
    let below = readme.split_once(heading).expect("the heading").1;
    let below = below.split("\n## ").next().unwrap();
    let rows = below.lines().filter_map(|line| {
        let (file, beside) = line.strip_prefix("| ")?.strip_suffix(" |")?.split_once(" | ")?;
        (file != "file").then(|| (file.to_owned(), beside.to_owned()))
    });
    rows.collect()
}

#[test]
fn every_parser_has_a_fuzz_target_or_a_reason() {
    let root = root();
    let readme = fs::read_to_string(root.join("tests/fuzz/README.md")).unwrap();
    let fuzzed = table(&readme, "## What is fuzzed");
    let exempt = table(&readme, "## What is not, and why");
    let mut files = Vec::new();
    for folder in ROOTS {
        sources(&root.join(folder), &mut files);
    }
    let mut with_parsers = BTreeSet::new();
    for file in files {
        let name = file.strip_prefix(&root).unwrap().to_string_lossy().into_owned();
        let found = parsers(&fs::read_to_string(&file).unwrap());
        if !found.is_empty() {
            assert!(
                fuzzed.contains_key(&name) || exempt.contains_key(&name),
                "{name} reads what comes from outside ({found:?}) and is not listed in tests/fuzz/README.md"
            );
            with_parsers.insert(name);
        }
    }
    assert!(with_parsers.len() > 50, "{with_parsers:?}");
    for (file, reason) in &exempt {
        assert!(with_parsers.contains(file), "{file} is exempt, and is no parser");
        assert!(!fuzzed.contains_key(file) && !reason.is_empty(), "{file}");
    }
    for file in fuzzed.keys() {
        assert!(root.join(file).is_file(), "{file} is listed, and is not there");
    }
}

#[test]
fn every_fuzz_target_is_listed_built_and_has_seeds() {
    let fuzz = root().join("tests/fuzz");
    let readme = fs::read_to_string(fuzz.join("README.md")).unwrap();
    let listed: BTreeSet<String> = table(&readme, "## What is fuzzed")
        .values()
        .flat_map(|targets| targets.split(", ").map(str::to_owned))
        .collect();
    let names = fs::read_dir(fuzz.join("targets")).unwrap().map(|entry| {
        let path = entry.unwrap().path();
        path.file_stem().unwrap().to_string_lossy().into_owned()
    });
    let targets: BTreeSet<String> = names.collect();
    assert_eq!(listed, targets);
    let manifest = fs::read_to_string(fuzz.join("Cargo.toml")).unwrap();
    for target in &targets {
        assert!(
            manifest.contains(&format!("path = \"targets/{target}.rs\"")),
            "{target} is not built"
        );
        let seeds = fs::read_dir(fuzz.join("seeds").join(target));
        assert!(
            seeds.is_ok_and(|mut seeds| seeds.next().is_some()),
            "{target} has no seeds"
        );
    }
}

#[test]
fn a_parser_is_known_by_its_name_and_what_it_reads() {
    let found = |text: &str| parsers(text);
    assert_eq!(found("fn parse(text: &str) -> u8"), ["parse"]);
    assert_eq!(found("fn decode_all(&self, bytes: &'a [u8]) {"), ["decode_all"]);
    assert_eq!(found("impl std::str::FromStr for Id {"), ["FromStr"]);
    assert!(found("fn ready(text: &str) fn read(now: Instant) fn parses(text: &str)").is_empty());
    assert!(found("#[cfg(test)]\nmod tests { fn parse(text: &str) {} }").is_empty());
}
