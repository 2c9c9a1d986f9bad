//! Every command a manual shows is one that the programs take.

use std::path::{Path, PathBuf};

use clap::Parser as _;
use clap::error::ErrorKind;
use medmesh_cli::command::Cli;
use medmesh_control::command::Arguments;

/// What stands for an id in a manual.
const IDS: [&str; 6] = ["ID", "CLINIC", "PATIENT", "ROOM", "LEAF", "UUID"];
const AN_ID: &str = "01934a4e-7c00-7000-8000-000000000001";
/// Fewer than there are, by far: a search that finds nothing is a defect.
const COMMANDS_MIN: usize = 30;

fn manuals(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            if !matches!(name.as_str(), "node_modules" | "target") && !name.starts_with('.') {
                manuals(&path, found);
            }
        } else if path.extension().is_some_and(|kind| kind == "md") {
            found.push(path);
        }
    }
}

/// Lines of shell blocks, and what stands in backticks, that call one of the programs.
fn commands(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (number, block) in text.split("```").enumerate() {
        if number % 2 == 1 {
            if let Some(lines) = block.strip_prefix("sh\n") {
                found.extend(lines.replace("\\\n", " ").lines().map(str::to_owned));
            }
        } else {
            // A span may go over the end of a line.
            let spans = block.split('`').skip(1).step_by(2);
            found.extend(spans.map(|span| span.replace('\n', " ")));
        }
    }
    let ours = |line: &String| line.starts_with("medmesh ") || line.starts_with("medmesh-control ");
    found.retain(|line| ours(line) && !line.contains('…'));
    found
}

/// As a shell takes it apart, without what is the shell's: comments, redirections, `&`.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quoted) = (Vec::new(), String::new(), false);
    for letter in line.chars() {
        match letter {
            '"' => quoted = !quoted,
            '#' | '>' | '|' | '&' | ';' if !quoted => break,
            ' ' if !quoted => words.push(std::mem::take(&mut word)),
            other => word.push(other),
        }
    }
    words.push(word);
    words.retain(|word| !word.is_empty());
    let id = |word: String| match IDS.contains(&word.as_str()) {
        true => AN_ID.to_owned(),
        false => word,
    };
    words.into_iter().map(id).collect()
}

/// Why the programs do not take it. A group of commands may be named without one of them, and a command
/// without anything it is given.
fn refused(line: &str) -> Option<String> {
    let words = words(line);
    let taken = match words[0].as_str() {
        "medmesh" => Cli::try_parse_from(&words).map(drop),
        _ => Arguments::try_parse_from(&words).map(drop),
    };
    let error = taken.err()?;
    let only_named = matches!(
        error.kind(),
        ErrorKind::MissingSubcommand
            | ErrorKind::DisplayHelp
            | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
    );
    let is_bare = words
        .iter()
        .skip(1)
        .all(|word| word.starts_with(|c: char| c.is_ascii_lowercase()));
    let only_named = only_named || (is_bare && error.kind() == ErrorKind::MissingRequiredArgument);
    (!only_named).then(|| error.to_string())
}

#[test]
fn no_command_in_a_manual_is_a_usage_error() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut found = Vec::new();
    manuals(root, &mut found);
    let (mut read, mut wrong) = (0, String::new());
    for manual in found {
        let text = std::fs::read_to_string(&manual).unwrap();
        for line in commands(&text) {
            read += 1;
            if let Some(why) = refused(&line) {
                let place = manual.strip_prefix(root).unwrap().display();
                wrong += &format!("{place}: {line}\n{why}\n");
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert!(read >= COMMANDS_MIN, "{read} commands");
}

#[test]
fn what_no_program_takes_is_found() {
    let text = "Say `medmesh keys restored --clinic ID` (`medmesh keys restored`), or\n```sh\nmedmesh nodes   # all\nmedmesh nodez > list\n```\n";
    let commands = commands(text);
    let wrong: Vec<&String> = commands.iter().filter(|line| refused(line).is_some()).collect();
    assert_eq!(commands.len(), 4);
    assert_eq!(
        wrong,
        ["medmesh keys restored --clinic ID", "medmesh nodez > list"]
    );
}
