//! A mail server that keeps what it is given (RFC 5321), so that tests read the mail people would.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, Notify};
use tokio::task::JoinHandle;

/// A mail as it arrived.
#[derive(Clone, Debug)]
pub struct Mail {
    /// Where it was sent from.
    pub from: String,
    /// Whom it is for.
    pub to: Vec<String>,
    /// Headers and body, lines ended by `\n`.
    pub data: String,
}

#[derive(Default)]
struct Inbox {
    mails: Mutex<Vec<Mail>>,
    arrived: Notify,
}

/// A mail server on a free port; gone when dropped.
pub struct SmtpSink {
    address: SocketAddr,
    inbox: Arc<Inbox>,
    serving: JoinHandle<()>,
}

impl SmtpSink {
    /// Starts it.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .expect("loopback has free ports");
        let address = listener.local_addr().expect("a bound socket has an address");
        let inbox = Arc::<Inbox>::default();
        let theirs = inbox.clone();
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // Whoever breaks off loses the mail they were sending, and nothing else.
                let _ = converse(stream, &theirs).await;
            }
        });
        Self {
            address,
            inbox,
            serving,
        }
    }

    /// Its port.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.address.port()
    }

    /// How many mails have come.
    pub async fn count(&self) -> usize {
        self.inbox.mails.lock().await.len()
    }

    /// Waits for the mail number `n`, counted from 0.
    pub async fn mail(&self, n: usize) -> Mail {
        loop {
            let arrived = self.inbox.arrived.notified();
            if let Some(mail) = self.inbox.mails.lock().await.get(n) {
                return mail.clone();
            }
            arrived.await;
        }
    }
}

impl Drop for SmtpSink {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn converse(stream: TcpStream, inbox: &Inbox) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    stream.write_all(b"220 sink.test ESMTP\r\n").await?;
    let (mut from, mut to, mut line) = (String::new(), Vec::new(), String::new());
    loop {
        line.clear();
        if stream.read_line(&mut line).await? == 0 {
            return Ok(());
        }
        let command = line.trim_end();
        let path = command.split(['<', '>']).nth(1).unwrap_or_default().to_owned();
        let answer: &[u8] = match command.get(..4).unwrap_or_default().to_ascii_uppercase().as_str() {
            "EHLO" => b"250-sink.test\r\n250 8BITMIME\r\n",
            "MAIL" => {
                from = path;
                b"250 ok\r\n"
            }
            "RCPT" => {
                to.push(path);
                b"250 ok\r\n"
            }
            "DATA" => {
                stream.write_all(b"354 go on\r\n").await?;
                let data = data(&mut stream).await?;
                let mail = Mail {
                    from: std::mem::take(&mut from),
                    to: std::mem::take(&mut to),
                    data,
                };
                inbox.mails.lock().await.push(mail);
                inbox.arrived.notify_waiters();
                b"250 kept\r\n"
            }
            "QUIT" => {
                stream.write_all(b"221 bye\r\n").await?;
                return Ok(());
            }
            "RSET" | "NOOP" => b"250 ok\r\n",
            _ => b"502 no\r\n",
        };
        stream.write_all(answer).await?;
    }
}

/// Lines up to the lone dot, with the doubled dots undone (RFC 5321 section 4.5.2).
async fn data(stream: &mut BufReader<TcpStream>) -> std::io::Result<String> {
    let (mut data, mut line) = (String::new(), String::new());
    loop {
        line.clear();
        if stream.read_line(&mut line).await? == 0 || line == ".\r\n" {
            return Ok(data);
        }
        let text = line.trim_end_matches(['\r', '\n']);
        data.push_str(text.strip_prefix('.').unwrap_or(text));
        data.push('\n');
    }
}
