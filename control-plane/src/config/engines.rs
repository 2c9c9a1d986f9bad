//! What must be true of the engines a node leans on: none is spoken to in the clear over a network.

use http::Uri;
use medmesh_store::Reach;
use redis::{Client, ConnectionAddr};

use super::check::Broken;
use super::{Config, MailTls, Redis};

/// Most connections worth asking of one PostgreSQL.
const CONNECTIONS_MAX: u32 = 500;
/// What a database's URL has to be.
pub const DATABASE_RULE: &str = "must name this machine (loopback or a socket) or say sslmode=verify-full: records, sealed or not, and a password \
     travel there";
const REDIS_RULE: &str = "must be rediss://host:port; redis:// and unix:// only to this machine";

impl Config {
    pub(super) fn engine_rules(&self, broken: &mut Vec<Broken>) {
        database("database.url", &self.database.url, broken);
        if let Some(direct) = &self.database.direct_url {
            database("database.direct_url", direct, broken);
        }
        if !(1..=CONNECTIONS_MAX).contains(&self.database.max_connections) {
            let why = format!("must be 1 to {CONNECTIONS_MAX}");
            broken.push(("database.max_connections".into(), why));
        }
        if let Some(mail) = &self.mail
            && mail.tls == MailTls::None
            && !is_here(&mail.host)
        {
            broken.push(("mail.tls".into(), "may be none only to this machine".into()));
        }
        if let Some(rabbitmq) = &self.rabbitmq {
            let uri = rabbitmq.url.parse::<Uri>().ok();
            let host = uri.as_ref().and_then(Uri::host).unwrap_or_default();
            if !(is_here(host) && rabbitmq.url.starts_with("amqp://")) {
                let why = "must begin with amqp:// and name this machine: the broker's, or that of a TLS tunnel to it";
                broken.push(("rabbitmq.url".into(), why.into()));
            }
        }
        if let Some(redis) = &self.redis {
            redis.rules(broken);
        }
    }
}

fn database(key: &str, url: &str, broken: &mut Vec<Broken>) {
    let is_ours = url.starts_with("postgres://") || url.starts_with("postgresql://");
    match Reach::of(url) {
        Ok(Reach::Here | Reach::Verified) if is_ours => {}
        Ok(Reach::Open) if is_ours => broken.push((key.into(), DATABASE_RULE.into())),
        _ => broken.push((key.into(), "must begin with postgres://".into())),
    }
}

impl Redis {
    fn rules(&self, broken: &mut Vec<Broken>) {
        let client = Client::open(self.url.as_str()).ok();
        let is_tls = match client.as_ref().map(|client| client.get_connection_info().addr()) {
            // `#insecure` would take any certificate.
            Some(ConnectionAddr::TcpTls { insecure: false, .. }) => true,
            Some(ConnectionAddr::Tcp(host, _)) if is_here(host) => false,
            Some(ConnectionAddr::Unix(_)) => false,
            _ => {
                broken.push(("redis.url".into(), REDIS_RULE.into()));
                return;
            }
        };
        if self.ca_file.is_some() && !is_tls {
            let why = "is for rediss://; this is not TLS";
            broken.push(("redis.ca_file".into(), why.into()));
        }
    }
}

fn is_here(host: &str) -> bool {
    let ip = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
    host.eq_ignore_ascii_case("localhost") || ip.is_ok_and(|ip| ip.is_loopback())
}
