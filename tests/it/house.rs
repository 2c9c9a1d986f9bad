//! The house keeps its shape: who may depend on whom.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use cargo_metadata::semver::Version;
use cargo_metadata::{DependencyKind, MetadataCommand};

/// Per crate, the workspace crates its production code may use. The drawing is
/// in README.md; an arrow that is not here is a design change and wants its own commit.
const ALLOWED: &[(&str, &[&str])] = &[
    ("medmesh-base", &[]),
    ("medmesh-wire", &[]),
    ("medmesh-tlog", &[]),
    ("medmesh-clinic", &["medmesh-base"]),
    ("medmesh-place", &["medmesh-base"]),
    ("medmesh-ledger", &["medmesh-base", "medmesh-tlog"]),
    ("medmesh-sfu", &["medmesh-base"]),
    ("medmesh-turn", &["medmesh-base"]),
    ("medmesh-vault", &["medmesh-base"]),
    ("medmesh-fhir", &["medmesh-base", "medmesh-clinic"]),
    ("medmesh-link", &["medmesh-base", "medmesh-wire"]),
    (
        "medmesh-store",
        &["medmesh-base", "medmesh-clinic", "medmesh-tlog", "medmesh-vault"],
    ),
    (
        "medmesh-consensus",
        &["medmesh-base", "medmesh-wire", "medmesh-link", "medmesh-ledger"],
    ),
    ("medmesh-api-types", &["medmesh-base"]),
    ("medmesh-api-client", &["medmesh-base", "medmesh-api-types"]),
    (
        "medmesh-cli",
        &[
            "medmesh-base",
            "medmesh-api-types",
            "medmesh-api-client",
            // What a proof says is read as it was written.
            "medmesh-clinic",
            "medmesh-tlog",
        ],
    ),
    (
        "medmesh-control",
        &[
            "medmesh-base",
            "medmesh-wire",
            "medmesh-link",
            "medmesh-api-types",
            "medmesh-place",
            "medmesh-ledger",
            "medmesh-consensus",
            "medmesh-clinic",
            "medmesh-tlog",
            "medmesh-vault",
            "medmesh-fhir",
            // The codec and the secrets file of standalone relays, which it hands out.
            "medmesh-turn",
            "medmesh-store",
        ],
    ),
    (
        "medmesh-edge",
        &[
            "medmesh-base",
            "medmesh-wire",
            "medmesh-link",
            "medmesh-sfu",
            "medmesh-turn",
        ],
    ),
];

/// What the thinking crates must do without, so that they stay free of sockets,
/// databases and frameworks, and quick to build.
const PURE: &[&str] = &[
    "medmesh-tlog",
    "medmesh-clinic",
    "medmesh-fhir",
    "medmesh-place",
    "medmesh-ledger",
    "medmesh-sfu",
];
const NOT_IN_PURE: &[&str] = &[
    "tokio", "axum", "sqlx", "tonic", "openraft", "quinn", "redis", "reqwest", "socket2",
];

/// A second crypto provider is a second thing to audit.
const NOT_IN_PRODUCTION: &[&str] = &["ring", "openssl", "openssl-sys", "native-tls"];

fn production_dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let metadata = MetadataCommand::new()
        .no_deps()
        .exec()
        .expect("cargo metadata runs");
    let direct = |package: &cargo_metadata::Package| {
        let normal = package
            .dependencies
            .iter()
            .filter(|d| d.kind == DependencyKind::Normal);
        normal.map(|d| d.name.clone()).collect()
    };
    metadata
        .packages
        .iter()
        .map(|p| (p.name.to_string(), direct(p)))
        .collect()
}

#[test]
fn dependencies_point_down() {
    let found = production_dependencies();
    let ours = |name: &str| found.contains_key(name);
    for (name, dependencies) in &found {
        if ["medmesh-tests", "medmesh-benches"].contains(&name.as_str()) {
            continue; // proof may use everything
        }
        let allowed = ALLOWED
            .iter()
            .find(|(crate_name, _)| crate_name == name)
            .map(|(_, allowed)| *allowed);
        let allowed = allowed.unwrap_or_else(|| panic!("{name} has no place in the drawing yet"));
        for dependency in dependencies.iter().filter(|d| ours(d)) {
            assert!(
                allowed.contains(&dependency.as_str()),
                "{name} must not depend on {dependency}"
            );
        }
    }
}

#[test]
fn pure_crates_stay_pure() {
    let found = production_dependencies();
    for name in PURE {
        let dependencies = &found[*name];
        for banned in NOT_IN_PURE {
            assert!(
                !dependencies.contains(*banned),
                "{name} is pure and must not depend on {banned}"
            );
        }
    }
}

/// Asks `cargo tree`, because `cargo metadata` unites what production and tests want of a crate.
#[test]
fn there_is_one_crypto_provider() {
    let programs = ["medmesh-control", "medmesh-edge", "medmesh-turn", "medmesh-cli"];
    let mut tree = Command::new(env!("CARGO"));
    tree.args([
        "tree",
        "--locked",
        "--edges",
        "normal,build",
        "--prefix",
        "none",
        "--format",
        "{p}",
    ]);
    tree.args(programs.iter().flat_map(|name| ["--package", name]));
    let output = tree.output().expect("cargo tree runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8(output.stdout).expect("names are text");
    let names: BTreeSet<&str> = text.lines().filter_map(|line| line.split(' ').next()).collect();
    assert!(names.contains("aws-lc-rs"), "cargo tree says nothing we know");
    for banned in NOT_IN_PRODUCTION {
        assert!(!names.contains(banned), "{banned} reached production");
    }
}

/// `tests/fuzz` is a workspace of its own, and nothing but `make fuzz` reads its lock file.
/// What our crates want and what is locked there are compared without asking a registry.
#[test]
fn the_lock_file_of_the_fuzz_targets_is_up_to_date() {
    const HINT: &str = "run `cargo update --workspace` in tests/fuzz";
    let lock = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/Cargo.lock");
    let lock: toml::Table = std::fs::read_to_string(lock)
        .expect("tests/fuzz has a lock file")
        .parse()
        .expect("cargo wrote it");
    let locked: Vec<Locked> = lock["package"]
        .as_array()
        .expect("packages")
        .iter()
        .map(Locked::read)
        .collect();
    let metadata = |manifest: &str| {
        let mut command = MetadataCommand::new();
        command.manifest_path(format!("{}/{manifest}", env!("CARGO_MANIFEST_DIR")));
        command.no_deps().exec().expect("cargo metadata runs")
    };
    let (product, targets) = (metadata("Cargo.toml"), metadata("fuzz/Cargo.toml"));
    let mut compared = 0;
    for package in product.packages.iter().chain(&targets.packages) {
        let Some(found) = locked.iter().find(|other| other.name == package.name.as_str()) else {
            continue; // no target needs it
        };
        compared += 1;
        let wanted = package
            .dependencies
            .iter()
            .filter(|dependency| dependency.kind != DependencyKind::Development);
        for dependency in wanted.clone().filter(|dependency| !dependency.optional) {
            let versions = found.dependencies.iter().filter_map(|text| {
                let (name, version) = text.split_once(' ').unwrap_or((text, ""));
                let same = |other: &&Locked| {
                    other.name == name && (version.is_empty() || other.version.to_string() == version)
                };
                let other = locked.iter().find(same)?;
                (name == dependency.name).then_some(&other.version)
            });
            assert!(
                versions.clone().any(|version| dependency.req.matches(version)),
                "{} wants {} {}, locked is {:?}: {HINT}",
                package.name,
                dependency.name,
                dependency.req,
                versions.collect::<Vec<_>>()
            );
        }
        for text in &found.dependencies {
            let name = text.split(' ').next().unwrap_or_default();
            assert!(
                wanted.clone().any(|dependency| dependency.name == name),
                "{} does not want {name} any more: {HINT}",
                package.name
            );
        }
    }
    assert!(compared > 8, "only {compared} of our crates are in the lock file");
}

/// A package of a lock file.
struct Locked {
    name: String,
    version: Version,
    /// `name`, or `name version` where there are several.
    dependencies: Vec<String>,
}

impl Locked {
    fn read(package: &toml::Value) -> Self {
        let text = |key: &str| package[key].as_str().expect("text");
        let dependencies = package.get("dependencies").and_then(toml::Value::as_array);
        Self {
            name: text("name").to_owned(),
            version: text("version").parse().expect("cargo wrote it"),
            dependencies: dependencies
                .into_iter()
                .flatten()
                .filter_map(|dependency| dependency.as_str().map(str::to_owned))
                .collect(),
        }
    }
}
