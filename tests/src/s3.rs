//! A real S3 server with object lock and checked signatures (PyPI `moto`), started by the test that needs it.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::Value;

use crate::prepared::{prepared, source};

/// A server with one bucket that locks. It ends when this is dropped.
#[derive(Debug)]
pub struct S3 {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    /// Its endpoint.
    pub url: String,
    key_id: String,
    secret: String,
    bucket: String,
}

impl S3 {
    /// Starts one with this bucket; gets its packages into `build_dir` where they are not there yet.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn start(build_dir: &Path, bucket: &str) -> Self {
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("s3");
        let mut child = Command::new(python(build_dir, &sources))
            .arg(sources.join("serve.py"))
            .arg(bucket)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // It logs each request there.
            .stderr(Stdio::null())
            .spawn()
            .expect("python runs");
        let mut output = BufReader::new(child.stdout.take().expect("piped"));
        let said = answer(&mut output);
        let word = |key: &str| said[key].as_str().expect("it says where it is").to_owned();
        Self {
            input: child.stdin.take().expect("piped"),
            url: word("url"),
            key_id: word("key_id"),
            secret: word("secret"),
            bucket: bucket.to_owned(),
            child,
            output,
        }
    }

    /// What `[objects]` says of its bucket; the credentials are written into `dir`. Where it is to lock,
    /// copies go into a bucket `copies`, which has to be made.
    ///
    /// # Panics
    /// When `dir` cannot be written to.
    #[must_use]
    pub fn objects(&self, dir: &Path, lock_days: Option<u32>) -> String {
        self.objects_in(&self.bucket, dir, lock_days)
    }

    /// As [`S3::objects`], of another bucket.
    ///
    /// # Panics
    /// When `dir` cannot be written to.
    #[must_use]
    pub fn objects_in(&self, bucket: &str, dir: &Path, lock_days: Option<u32>) -> String {
        use std::os::unix::fs::OpenOptionsExt as _;
        let (key_id, secret) = (&self.key_id, &self.secret);
        let path = dir.join("s3.credentials");
        let mut file = std::fs::OpenOptions::new();
        let file = file
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&path);
        let text = format!("[default]\naws_access_key_id = {key_id}\naws_secret_access_key = {secret}\n");
        file.and_then(|mut file| file.write_all(text.as_bytes()))
            .expect("the directory is writable");
        let lock = lock_days.map_or_else(String::new, |days| {
            format!("lock_days = {days}\ncopies_bucket = \"copies\"\n")
        });
        format!(
            "[objects.s3]\nbucket = \"{bucket}\"\nregion = \"us-east-1\"\nendpoint = \"{}\"\n\
             credentials_file = \"{}\"\n{lock}",
            self.url,
            path.display()
        )
    }

    /// Gives an order and its answer; see `s3/serve.py`.
    ///
    /// # Panics
    /// When it does not obey.
    pub fn tell(&mut self, order: &str) -> Value {
        writeln!(self.input, "{order}").expect("it listens");
        answer(&mut self.output)
    }
}

impl Drop for S3 {
    fn drop(&mut self) {
        // An error means that it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn answer(output: &mut BufReader<ChildStdout>) -> Value {
    let mut line = String::new();
    output.read_line(&mut line).expect("it answers");
    serde_json::from_str(&line).expect("it obeys")
}

/// An interpreter with the packages, made once per list of packages.
fn python(build_dir: &Path, sources: &Path) -> PathBuf {
    let venv = build_dir.join("s3");
    let list = sources.join("requirements.txt");
    prepared(&venv, &source(&list), || {
        let run = |command: &mut Command| assert!(command.status().expect("it runs").success());
        run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&venv));
        run(Command::new(venv.join("bin/pip"))
            .args(["install", "--quiet", "--disable-pip-version-check", "-r"])
            .arg(&list));
    });
    venv.join("bin/python")
}
