//! Programs that judge our audit log and were not written here: the code of Go's checksum database, as it
//! comes with the Go toolchain, with a few lines around it (`tests/outside`).

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use crate::prepared::{prepared, source};

/// Builds one of them into `build_dir`.
///
/// # Panics
/// Without Go, or when it does not compile.
#[must_use]
pub fn go_program(build_dir: &Path, name: &str) -> PathBuf {
    let dir = build_dir.join("outside-programs").join(name);
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("outside").join(name);
    let text = source(&sources.join("main.go"));
    prepared(&dir, &text, || build(&sources, &dir, name));
    dir.join(name)
}

fn build(sources: &Path, dir: &Path, name: &str) {
    let go = |command: &mut Command| {
        let output = command.output().expect("go; `make test` installs it");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{command:?}: {said}");
        String::from_utf8(output.stdout).expect("paths here are text")
    };
    let root = go(Command::new("go").args(["env", "GOROOT"]));
    // The toolchain brings golang.org/x/mod along for itself: nothing is downloaded.
    let vendored = Path::new(root.trim()).join("src/cmd/vendor/golang.org");
    let packages = dir.join("path/src");
    std::fs::create_dir_all(&packages).expect("the build directory is ours");
    let link = packages.join("golang.org");
    let _ = std::fs::remove_file(&link);
    symlink(vendored, link).expect("the build directory is ours");
    go(Command::new("go")
        .current_dir(sources)
        .args(["build", "-o"])
        .arg(dir.join(name))
        .arg(".")
        .env("GO111MODULE", "off")
        .env("GOFLAGS", "")
        .env("GOPATH", dir.join("path"))
        .env("GOCACHE", dir.join("cache")));
}

/// A running witness of transparency logs. It ends when this is dropped.
#[derive(Debug)]
pub struct Witness {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    /// Its submission prefix.
    pub url: String,
    /// Its verifier key.
    pub key: String,
}

impl Witness {
    /// Starts one that trusts no log yet and keeps what it saw in `dir`.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn start(program: &Path, dir: &Path) -> Self {
        let mut child = Command::new(program)
            .arg(dir.join("witness.json"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it was built");
        let mut output = BufReader::new(child.stdout.take().expect("piped"));
        let mut line = String::new();
        output.read_line(&mut line).expect("it says where it is");
        let (url, key) = line.trim().split_once(' ').expect("URL and key");
        Self {
            input: child.stdin.take().expect("piped"),
            url: url.to_owned(),
            key: key.to_owned(),
            child,
            output,
        }
    }

    /// `trust KEY`, `away` or `back`; see `outside/witness`.
    ///
    /// # Panics
    /// When it does not obey.
    pub fn tell(&mut self, order: &str) {
        writeln!(self.input, "{order}").expect("it listens");
        let mut line = String::new();
        self.output.read_line(&mut line).expect("it answers");
        assert_eq!(line.trim(), "done", "{order}");
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        // An error means that it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
