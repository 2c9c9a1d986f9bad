//! The sockets browsers and watchers reach.

use std::net::SocketAddr;
use std::sync::Arc;

use ::http::header::{HeaderName, HeaderValue};
use axum::Router;
use medmesh_base::drain::Drain;
use quinn::Endpoint;
use tokio::net::TcpListener;
use tower_http::set_header::SetResponseHeaderLayer;

use super::{Addresses, StartError};
use crate::config::Config;
use crate::http::server::{Certificates, Quic, Tcp};
use crate::http::{self, Api, PortalFiles};

/// How long a browser may remember that HTTP/3 is spoken here, seconds (RFC 7838): a day.
const ALT_SVC_SECONDS: u32 = 24 * 60 * 60;

/// Bound, not yet served.
pub(super) struct Listeners {
    http: TcpListener,
    https: Option<Https>,
    admin: TcpListener,
}

/// What is served beside the clinic's routes.
pub(super) struct Routers {
    pub(super) operator: Router,
    pub(super) admin: Router,
}

struct Https {
    tcp: TcpListener,
    quic: Endpoint,
    certificates: Arc<Certificates>,
}

impl Listeners {
    pub(super) async fn bind(config: &Config) -> Result<Self, StartError> {
        Ok(Self {
            http: tcp("http.listen", config.http.listen).await?,
            admin: tcp("admin.listen", config.admin.listen).await?,
            https: match &config.https {
                None => None,
                Some(https) => {
                    let certificates = Certificates::load(&https.cert_file, &https.key_file)?;
                    let tcp = tcp("https.listen", https.listen).await?;
                    // The same port, also where the system chose it.
                    let address = tcp.local_addr().unwrap_or(https.listen);
                    let quic = Quic::bind(address, certificates.server_config(&["h3"]));
                    let quic = quic.map_err(|source| refused("https.listen", address, source))?;
                    Some(Https {
                        tcp,
                        quic,
                        certificates,
                    })
                }
            },
        })
    }

    pub(super) fn addresses(&self) -> Addresses {
        let address = |listener: &TcpListener| listener.local_addr().expect("a bound socket has an address");
        Addresses {
            http: address(&self.http),
            https: self.https.as_ref().map(|https| address(&https.tcp)),
            admin: address(&self.admin),
        }
    }

    /// Serves the API on `front`, and the admin listener on `back`: it answers to the last.
    pub(super) fn spawn(self, config: &Config, api: &Api, routers: Routers, front: &Drain, back: &Drain) {
        let portals = config.portals.as_ref().map(|portals| PortalFiles {
            dir: &portals.dir,
            connect_origins: config.connect_origins(),
        });
        let router = http::router(api, portals, routers.operator);
        let connections = api.metrics.connections();
        let plain = |listener, router| Tcp {
            listener,
            router,
            tls: None,
            connections: connections.clone(),
        };
        front.spawn(plain(self.http, router.clone()).run(front.clone()));
        back.spawn(plain(self.admin, routers.admin).run(back.clone()));
        if let Some(Https {
            tcp,
            quic,
            certificates,
        }) = self.https
        {
            let router = router.layer(alt_svc(&quic));
            let tls = Some(certificates.server_config(&["h2", "http/1.1"]));
            let over_tcp = Tcp {
                listener: tcp,
                router: router.clone(),
                tls,
                connections: connections.clone(),
            };
            let over_quic = Quic {
                endpoint: quic,
                router,
                connections,
            };
            front.spawn(over_tcp.run(front.clone()));
            front.spawn(over_quic.run(front.clone()));
            back.spawn(certificates.watch(back.clone()));
        }
    }
}

async fn tcp(key: &'static str, address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address)
        .await
        .map_err(|source| refused(key, address, source))
}

fn refused(key: &'static str, address: SocketAddr, source: std::io::Error) -> StartError {
    StartError::Listen { key, address, source }
}

/// Tells browsers that the same port speaks HTTP/3.
fn alt_svc(quic: &Endpoint) -> SetResponseHeaderLayer<HeaderValue> {
    let port = quic.local_addr().map_or(443, |address| address.port());
    let value = format!("h3=\":{port}\"; ma={ALT_SVC_SECONDS}");
    let value = HeaderValue::from_str(&value).expect("digits are header text");
    SetResponseHeaderLayer::overriding(HeaderName::from_static("alt-svc"), value)
}
