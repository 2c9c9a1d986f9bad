//! Sending clients to another server (RFC 8489 §10) when this one is full or leaves.
//!
//! Only who has authenticated is told, and under the integrity of the answer: nobody on the
//! way can send a client elsewhere, and a stranger learns nothing about the fleet.

use std::net::{IpAddr, SocketAddr};

use super::request::ErrorCode;
use super::{Client, Server, Transport};
use crate::codec::{Builder, Family, attribute};

/// Another server that clients may be sent to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alternate {
    /// Where it listens. Clients are only sent to addresses of the family they have come over.
    pub address: SocketAddr,
    /// For clients of which transport.
    pub transport: Transport,
    /// The name its certificate is for: sent to clients over TLS and DTLS.
    pub domain: Option<String>,
}

impl Server {
    /// Who clients are sent to that find this server draining or full. With nobody they are
    /// told 508.
    pub fn set_alternates(&mut self, alternates: Vec<Alternate>) {
        self.alternates = alternates;
    }

    fn alternates_of(&self, client: Client) -> impl Iterator<Item = &Alternate> {
        let (family, transport) = (Family::of(client.address), self.transport(client));
        self.alternates.iter().filter(move |alternate| {
            Family::of(alternate.address) == family && alternate.transport == transport
        })
    }

    /// What a client is told for which there is no room.
    pub(super) fn full(&self, client: Client) -> ErrorCode {
        if self.alternates_of(client).next().is_some() {
            300
        } else {
            508
        }
    }

    /// Adds where to go to a 300; one after the other, so that they share what comes.
    pub(super) fn with_alternate(&mut self, client: Client, response: Builder) -> Builder {
        let count = self.alternates_of(client).count().max(1);
        self.alternated = self.alternated.wrapping_add(1);
        let secure = matches!(self.transport(client), Transport::Tls | Transport::Dtls);
        let Some(alternate) = self.alternates_of(client).nth(self.alternated % count) else {
            return response;
        };
        let mut value = vec![0, Family::of(alternate.address).code()];
        value.extend(alternate.address.port().to_be_bytes());
        match alternate.address.ip() {
            IpAddr::V4(ip) => value.extend(ip.octets()),
            IpAddr::V6(ip) => value.extend(ip.octets()),
        }
        let response = response.attribute(attribute::ALTERNATE_SERVER, &value);
        match alternate.domain.as_ref().filter(|_| secure) {
            Some(domain) => response.attribute(attribute::ALTERNATE_DOMAIN, domain.as_bytes()),
            None => response,
        }
    }
}
