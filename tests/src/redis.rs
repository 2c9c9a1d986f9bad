//! A real Redis for a test: its own process, gone with the value.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A starting server listens within milliseconds; this is for a busy machine.
const START_PATIENCE: Duration = Duration::from_secs(10);

/// A running `redis-server` that keeps nothing.
#[derive(Debug)]
pub struct Redis {
    child: Child,
    port: u16,
}

impl Redis {
    /// Starts a server on a free loopback port.
    ///
    /// # Panics
    /// When `redis-server` is not installed or does not start.
    #[must_use]
    pub fn start() -> Self {
        let free = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
        Self::start_on(free.expect("loopback has free ports").port())
    }

    /// Starts a server on this port.
    ///
    /// # Panics
    /// As [`Redis::start`].
    #[must_use]
    pub fn start_on(port: u16) -> Self {
        Self::run(port, &["--port", &port.to_string()])
    }

    /// Starts a server that speaks TLS and nothing else, with this certificate.
    ///
    /// # Panics
    /// As [`Redis::start`]; also when `redis-server` was built without TLS.
    #[must_use]
    pub fn start_tls(cert: &Path, key: &Path) -> Self {
        let free = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
        let port = free.expect("loopback has free ports").port();
        let (cert, key) = (cert.display().to_string(), key.display().to_string());
        let tls = [
            "--tls-cert-file",
            &cert,
            "--tls-key-file",
            &key,
            "--tls-auth-clients",
            "no",
        ];
        // Its own connections need an authority to be named; nobody presents a certificate to it.
        let ports = [
            "--port",
            "0",
            "--tls-port",
            &port.to_string(),
            "--tls-ca-cert-file",
            &cert,
        ];
        Self::run(port, &[&ports[..], &tls[..]].concat())
    }

    fn run(port: u16, arguments: &[&str]) -> Self {
        let child = Command::new("redis-server")
            .args(["--bind", "127.0.0.1"])
            .args(arguments)
            .args(["--save", "", "--appendonly", "no"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("redis-server is installed");
        let started = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(started.elapsed() < START_PATIENCE, "redis-server listens");
            std::thread::yield_now();
        }
        Self { child, port }
    }

    /// Its port.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Its URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Its URL, where it speaks TLS: by the name that stands in certificates of tests.
    #[must_use]
    pub fn tls_url(&self) -> String {
        format!("rediss://localhost:{}", self.port)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        // Errors mean that it is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
