//! The attributes a server reads from requests and indications, in one pass.

use std::net::SocketAddr;

use super::attribute::{self as kind, Attribute};
use super::{Integrity, IntegrityKind, Message, TransactionId, decode_xor_address};

/// Unknown attributes reported back at most: more in one request is not a client we could help.
const UNKNOWN_MAX: usize = 8;

/// Address family of a relayed transport address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// The family `address` is of.
    #[must_use]
    pub fn of(address: SocketAddr) -> Self {
        if address.is_ipv4() { Self::V4 } else { Self::V6 }
    }

    /// The number on the wire (RFC 8656 §18.6).
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::V4 => 1,
            Self::V6 => 2,
        }
    }

    const fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::V4),
            2 => Some(Self::V6),
            _ => None,
        }
    }
}

/// Comprehension-required attributes we do not know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UnknownAttributes {
    kinds: [u16; UNKNOWN_MAX],
    count: usize,
}

impl UnknownAttributes {
    /// Their types, in order of appearance.
    #[must_use]
    pub fn kinds(&self) -> &[u16] {
        &self.kinds[..self.count]
    }

    fn push(&mut self, kind: u16) {
        if self.count < UNKNOWN_MAX && !self.kinds().contains(&kind) {
            self.kinds[self.count] = kind;
            self.count += 1;
        }
    }
}

/// What a message says. The first of several equal attributes counts, and nothing after the
/// integrity attribute does (RFC 8489 §14.5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "each field is the attribute of its name")]
pub struct Fields<'a> {
    pub username: Option<&'a [u8]>,
    pub userhash: Option<&'a [u8]>,
    pub realm: Option<&'a [u8]>,
    pub nonce: Option<&'a [u8]>,
    /// Number of the algorithm; `None` in it where parameters follow, which none we know has.
    pub password_algorithm: Option<Option<u16>>,
    pub password_algorithms: Option<&'a [u8]>,
    /// The strongest integrity attribute.
    pub integrity: Option<Integrity<'a>>,
    pub fingerprint: bool,
    pub lifetime_s: Option<u32>,
    /// Protocol number: 17 is UDP, 6 is TCP.
    pub requested_transport: Option<u8>,
    /// `Err` holds a family number that is no family.
    pub requested_family: Option<Result<Family, u8>>,
    pub additional_family: Option<Result<Family, u8>>,
    /// Whether the next higher port is wanted too.
    pub even_port: Option<bool>,
    pub dont_fragment: bool,
    /// Empty: one is asked for.
    pub mobility_ticket: Option<&'a [u8]>,
    pub reservation_token: Option<[u8; 8]>,
    pub channel_number: Option<u16>,
    pub connection_id: Option<u32>,
    /// The first peer; [`Fields::peers`] gives them all.
    pub peer: Option<SocketAddr>,
    pub data: Option<&'a [u8]>,
    /// A known attribute has a value that it cannot have.
    pub malformed: bool,
    pub unknown: UnknownAttributes,
    transaction: TransactionId,
}

impl<'a> Fields<'a> {
    /// Reads `message`.
    #[must_use]
    pub fn read(message: &Message<'a>) -> Self {
        let mut fields = Self {
            transaction: message.transaction(),
            ..Self::default()
        };
        for attribute in message.attributes() {
            match attribute.kind {
                kind::MESSAGE_INTEGRITY => fields.set_integrity(IntegrityKind::Sha1, attribute),
                kind::MESSAGE_INTEGRITY_SHA256 => fields.set_integrity(IntegrityKind::Sha256, attribute),
                kind::FINGERPRINT => fields.fingerprint = true,
                _ if fields.integrity.is_none() => fields.set(attribute),
                _ => {}
            }
        }
        fields
    }

    /// SHA-256 may follow SHA-1 and then replaces it; anything else after the first is ignored.
    fn set_integrity(&mut self, kind: IntegrityKind, attribute: Attribute<'a>) {
        let stronger = matches!(
            (self.integrity, kind),
            (
                Some(Integrity {
                    kind: IntegrityKind::Sha1,
                    ..
                }),
                IntegrityKind::Sha256
            )
        );
        if self.integrity.is_none() || stronger {
            self.malformed |= attribute.value.len() != kind.tag_bytes();
            self.integrity = Some(Integrity {
                kind,
                offset: attribute.offset,
                tag: attribute.value,
            });
        }
    }

    fn set(&mut self, Attribute { kind, value, .. }: Attribute<'a>) {
        match kind {
            kind::USERNAME => first(&mut self.username, value),
            kind::USERHASH => first(&mut self.userhash, value),
            kind::REALM => first(&mut self.realm, value),
            kind::NONCE => first(&mut self.nonce, value),
            kind::PASSWORD_ALGORITHMS => first(&mut self.password_algorithms, value),
            kind::PASSWORD_ALGORITHM => first(&mut self.password_algorithm, password_algorithm(value)),
            kind::DONT_FRAGMENT => self.dont_fragment = true,
            kind::MOBILITY_TICKET => first(&mut self.mobility_ticket, value),
            kind::DATA => first(&mut self.data, value),
            kind::XOR_PEER_ADDRESS => {
                let peer = decode_xor_address(value, &self.transaction);
                self.malformed |= peer.is_none();
                self.peer = self.peer.or(peer);
            }
            kind::LIFETIME => self.fixed(value, |f| &mut f.lifetime_s, u32::from_be_bytes),
            kind::REQUESTED_TRANSPORT => {
                self.fixed(
                    value,
                    |f| &mut f.requested_transport,
                    |[protocol, _, _, _]| protocol,
                );
            }
            kind::REQUESTED_ADDRESS_FAMILY => self.fixed(value, |f| &mut f.requested_family, family),
            kind::ADDITIONAL_ADDRESS_FAMILY | kind::ADDITIONAL_ADDRESS_FAMILY_DRAFT => {
                self.fixed(value, |f| &mut f.additional_family, family);
            }
            kind::EVEN_PORT => self.fixed(value, |f| &mut f.even_port, |[flags]: [u8; 1]| flags & 0x80 != 0),
            kind::RESERVATION_TOKEN => self.fixed(value, |f| &mut f.reservation_token, |token| token),
            kind::CONNECTION_ID => self.fixed(value, |f| &mut f.connection_id, u32::from_be_bytes),
            kind::CHANNEL_NUMBER => {
                self.fixed(
                    value,
                    |f| &mut f.channel_number,
                    |[n1, n0, _, _]| u16::from_be_bytes([n1, n0]),
                );
            }
            // Known, of no use to a server: what follows 0x8000 needs no comprehension.
            _ if kind >= 0x8000 => {}
            _ => self.unknown.push(kind),
        }
    }

    fn fixed<const N: usize, T>(
        &mut self,
        value: &[u8],
        slot: impl FnOnce(&mut Self) -> &mut Option<T>,
        read: impl FnOnce([u8; N]) -> T,
    ) {
        match <[u8; N]>::try_from(value) {
            Ok(bytes) => first(slot(self), read(bytes)),
            Err(_) => self.malformed = true,
        }
    }

    /// Counts an attribute as unknown that this server does not serve.
    pub(crate) fn disown(&mut self, kind: u16) {
        self.unknown.push(kind);
    }

    /// Every peer address in front of the integrity attribute.
    pub fn peers(&self, message: &Message<'a>) -> impl Iterator<Item = SocketAddr> + use<'a> {
        let end = self.integrity.map_or(usize::MAX, |integrity| integrity.offset);
        let transaction = self.transaction;
        message
            .attributes()
            .take_while(move |attribute| attribute.offset < end)
            .filter(|attribute| attribute.kind == kind::XOR_PEER_ADDRESS)
            .filter_map(move |attribute| decode_xor_address(attribute.value, &transaction))
    }
}

fn password_algorithm(value: &[u8]) -> Option<u16> {
    match value {
        [a1, a0, 0, 0] => Some(u16::from_be_bytes([*a1, *a0])),
        _ => None,
    }
}

fn family(value: [u8; 4]) -> Result<Family, u8> {
    Family::from_code(value[0]).ok_or(value[0])
}

fn first<T>(slot: &mut Option<T>, value: T) {
    if slot.is_none() {
        *slot = Some(value);
    }
}
