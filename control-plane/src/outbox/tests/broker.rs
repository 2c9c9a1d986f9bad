//! Debian's RabbitMQ as a node of its own: own files, own ports, own port mapper.

use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// Erlang starts slowly, and machines are busy.
const START_DEADLINE: Duration = Duration::from_secs(180);
/// The script itself: the one on the path would change the user.
const SERVER: &str = "/usr/lib/rabbitmq/bin/rabbitmq-server";

pub(super) struct Broker {
    dir: TempDir,
    ports: [u16; 3],
    server: Option<Child>,
}

fn free_ports() -> [u16; 3] {
    let sockets = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    sockets.map(|socket| socket.local_addr().unwrap().port())
}

impl Broker {
    pub(super) fn start() -> Self {
        assert!(
            Path::new(SERVER).exists(),
            "rabbitmq-server; `make test` installs it"
        );
        let mut broker = Self {
            dir: tempfile::tempdir().unwrap(),
            ports: free_ports(),
            server: None,
        };
        broker.restart();
        broker
    }

    pub(super) fn url(&self) -> String {
        format!("amqp://guest:guest@127.0.0.1:{}/%2f", self.ports[0])
    }

    /// Starts it on the files there are.
    pub(super) fn restart(&mut self) {
        let [amqp, distribution, mapper] = self.ports.map(|port| port.to_string());
        let dir = self.dir.path();
        let mut server = Command::new(SERVER);
        server
            .env("HOME", dir)
            .env("RABBITMQ_NODENAME", format!("medmesh{amqp}@localhost"))
            .env("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1")
            .env("RABBITMQ_NODE_PORT", &amqp)
            .env("RABBITMQ_DIST_PORT", &distribution)
            .env("ERL_EPMD_PORT", &mapper)
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            .env("RABBITMQ_SERVER_START_ARGS", "+S 1:1")
            .env("RABBITMQ_LOGS", "-");
        for (name, file) in [
            ("RABBITMQ_MNESIA_BASE", "db"),
            ("RABBITMQ_LOG_BASE", "log"),
            ("RABBITMQ_PID_FILE", "pid"),
            ("RABBITMQ_CONFIG_FILE", "rabbitmq"),
            ("RABBITMQ_CONF_ENV_FILE", "environment"),
            ("RABBITMQ_GENERATED_CONFIG_DIR", "generated"),
            ("RABBITMQ_ENABLED_PLUGINS_FILE", "plugins"),
        ] {
            server.env(name, dir.join(file));
        }
        // A group of its own, so that the script and what it starts end together.
        let server = server
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        self.server = Some(server.spawn().unwrap());
        let deadline = Instant::now() + START_DEADLINE;
        while TcpStream::connect(("127.0.0.1", self.ports[0])).is_err() {
            assert!(Instant::now() < deadline, "RabbitMQ does not start");
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// As a power cut would.
    pub(super) fn kill(&mut self) {
        let Some(mut server) = self.server.take() else {
            return;
        };
        let group = nix::unistd::Pid::from_raw(server.id().cast_signed());
        let _ = nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGKILL);
        let _ = server.wait();
        while TcpStream::connect(("127.0.0.1", self.ports[0])).is_ok() {
            thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.kill();
        let port = self.ports[2].to_string();
        let _ = Command::new("epmd")
            .args(["-port", &port, "-kill"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
    }
}
