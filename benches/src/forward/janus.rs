//! The peer: Debian's Janus with its videoroom, tuned (`event_loops`, ICE-lite, no
//! plugins but the one).

use std::net::{IpAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::Context as _;
use nix::sys::socket::SockaddrIn;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::clients::{Client, Clients, Load, Measured};
use super::process::Server;

const ROOM: u64 = 1_234;
/// Janus' libnice leaves loopback addresses out, so media uses another of the host's own.
const FIRST_FEED: u64 = 100;

/// One run under `load`.
pub(crate) fn run(load: &Load, time: Duration) -> anyhow::Result<Measured> {
    let janus = Janus::start()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let mut api = Api {
        base: format!("http://127.0.0.1:{}/janus", janus.port),
        http: reqwest::Client::new(),
    };
    let mut clients = Clients::new(*load);
    runtime.block_on(api.create_room(load.publishers))?;
    for index in 0..load.publishers {
        let (mut client, offer) = Client::publisher(janus.ip)?;
        let feed = FIRST_FEED + index as u64;
        let answer = runtime.block_on(api.publish(feed, &offer))?;
        client.accept_answer(&answer)?;
        clients.push(client);
        clients.drive(Duration::from_millis(300))?;
    }
    for _ in 0..load.subscribers {
        let mut client = Client::subscriber(janus.ip, load)?;
        let (handle, offer) = runtime.block_on(api.subscribe(load.publishers))?;
        let answer = client.accept_offer(&offer)?;
        runtime.block_on(api.start(&handle, &answer))?;
        clients.push(client);
        clients.drive(Duration::from_millis(20))?;
    }
    clients.measure(&[&janus.server], time)
}

struct Janus {
    server: Server,
    port: u16,
    ip: IpAddr,
    _dir: TempDir,
}

impl Janus {
    fn start() -> anyhow::Result<Self> {
        let dir = tempfile::tempdir()?;
        let port = std::net::TcpListener::bind(("127.0.0.1", 0))?
            .local_addr()?
            .port();
        let ip = own_address()?;
        write_configuration(dir.path(), port, ip)?;
        let log = std::fs::File::create(dir.path().join("janus.log"))?;
        let mut command = Command::new("janus");
        command
            .arg("-F")
            .arg(dir.path())
            .arg("-N")
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(Stdio::null());
        let mut server = Server::start(&mut command)?;
        server
            .wait(|| TcpStream::connect(("127.0.0.1", port)).ok())
            .context("Janus (apt install janus)")?;
        Ok(Self {
            server,
            port,
            ip,
            _dir: dir,
        })
    }
}

/// An address of this host that is not loopback; packets to it stay inside all the same.
fn own_address() -> anyhow::Result<IpAddr> {
    for interface in nix::ifaddrs::getifaddrs()? {
        let address = interface
            .address
            .and_then(|a| a.as_sockaddr_in().map(SockaddrIn::ip));
        if let Some(ip) = address.filter(|ip| !ip.is_loopback()) {
            return Ok(ip.into());
        }
    }
    anyhow::bail!("Janus needs an IPv4 address besides loopback")
}

fn write_configuration(dir: &Path, port: u16, ip: IpAddr) -> anyhow::Result<()> {
    // Multi-arch libraries are where Debian has them.
    let library = format!("/usr/lib/{}-linux-gnu/janus", std::env::consts::ARCH);
    let main = format!(
        r#"general: {{
  configs_folder = "{0}"
  plugins_folder = "{library}/plugins"
  transports_folder = "{library}/transports"
  events_folder = "{library}/events"
  loggers_folder = "{library}/loggers"
  debug_level = 2
  event_loops = 2
  session_timeout = 0
}}
media: {{ slowlink_threshold = 0 }}
nat: {{ ice_lite = true
  ice_enforce_list = "{ip}" }}
plugins: {{ disable = "libjanus_audiobridge.so,libjanus_duktape.so,libjanus_echotest.so,libjanus_lua.so,libjanus_nosip.so,libjanus_recordplay.so,libjanus_sip.so,libjanus_streaming.so,libjanus_textroom.so,libjanus_videocall.so" }}
transports: {{ disable = "libjanus_mqtt.so,libjanus_nanomsg.so,libjanus_pfunix.so,libjanus_rabbitmq.so,libjanus_websockets.so" }}
events: {{ broadcast = false }}
"#,
        dir.display()
    );
    std::fs::write(dir.join("janus.jcfg"), main)?;
    let http = format!(
        "general: {{ json = \"plain\"\n base_path = \"/janus\"\n http = true\n port = {port}\n ip = \"127.0.0.1\"\n https = false }}\nadmin: {{ admin_http = false }}\n"
    );
    std::fs::write(dir.join("janus.transport.http.jcfg"), http)?;
    std::fs::write(dir.join("janus.plugin.videoroom.jcfg"), "general: { }\n")?;
    Ok(())
}

struct Api {
    base: String,
    http: reqwest::Client,
}

/// A session with one videoroom handle.
struct Handle {
    session: u64,
    url: String,
}

impl Api {
    async fn post(&self, url: &str, mut body: Value) -> anyhow::Result<Value> {
        body["transaction"] = json!("bench");
        let text = self
            .http
            .post(url)
            .body(body.to_string())
            .send()
            .await?
            .text()
            .await?;
        let answer: Value = serde_json::from_str(&text)?;
        anyhow::ensure!(answer["janus"] != "error", "Janus says {answer}");
        Ok(answer)
    }

    async fn attach(&self) -> anyhow::Result<Handle> {
        let created = self.post(&self.base, json!({"janus": "create"})).await?;
        let session = created["data"]["id"].as_u64().context("a session has an id")?;
        let url = format!("{}/{session}", self.base);
        let attached = self
            .post(
                &url,
                json!({"janus": "attach", "plugin": "janus.plugin.videoroom"}),
            )
            .await?;
        let handle = attached["data"]["id"].as_u64().context("a handle has an id")?;
        Ok(Handle {
            session,
            url: format!("{url}/{handle}"),
        })
    }

    /// Sends a message and waits for its event; messages that are answered at once have none.
    async fn message(&self, handle: &Handle, body: Value, jsep: Option<Value>) -> anyhow::Result<Value> {
        let mut message = json!({"janus": "message", "body": body});
        if let Some(jsep) = jsep {
            message["jsep"] = jsep;
        }
        let answer = self.post(&handle.url, message).await?;
        if answer["janus"] == "success" {
            return Ok(answer);
        }
        for _ in 0..20 {
            let url = format!("{}/{}?maxev=1", self.base, handle.session);
            let event: Value = serde_json::from_str(&self.http.get(url).send().await?.text().await?)?;
            let data = &event["plugindata"]["data"];
            anyhow::ensure!(data.get("error").is_none(), "Janus says {data}");
            if event["transaction"] == "bench" && event["janus"] == "event" {
                return Ok(event);
            }
        }
        anyhow::bail!("no event came")
    }

    async fn create_room(&mut self, publishers: usize) -> anyhow::Result<()> {
        let handle = self.attach().await?;
        let body = json!({
            "request": "create", "room": ROOM, "publishers": publishers, "bitrate": 0,
            "videocodec": "vp8", "fir_freq": 0, "notify_joining": false,
        });
        self.message(&handle, body, None).await?;
        Ok(())
    }

    async fn publish(&self, feed: u64, offer: &str) -> anyhow::Result<String> {
        let handle = self.attach().await?;
        let join = json!({"request": "join", "ptype": "publisher", "room": ROOM, "id": feed});
        self.message(&handle, join, None).await?;
        let jsep = json!({"type": "offer", "sdp": offer});
        let event = self
            .message(&handle, json!({"request": "publish"}), Some(jsep))
            .await?;
        sdp(&event)
    }

    async fn subscribe(&self, publishers: usize) -> anyhow::Result<(Handle, String)> {
        let handle = self.attach().await?;
        let streams: Vec<Value> = (0..publishers as u64)
            .map(|i| json!({"feed": FIRST_FEED + i}))
            .collect();
        let join = json!({"request": "join", "ptype": "subscriber", "room": ROOM, "streams": streams});
        let event = self.message(&handle, join, None).await?;
        let offer = sdp(&event)?;
        Ok((handle, offer))
    }

    async fn start(&self, handle: &Handle, answer: &str) -> anyhow::Result<()> {
        let jsep = json!({"type": "answer", "sdp": answer});
        self.message(handle, json!({"request": "start"}), Some(jsep))
            .await?;
        Ok(())
    }
}

fn sdp(event: &Value) -> anyhow::Result<String> {
    let sdp = event["jsep"]["sdp"].as_str();
    Ok(sdp
        .with_context(|| format!("no description in {event}"))?
        .to_owned())
}
