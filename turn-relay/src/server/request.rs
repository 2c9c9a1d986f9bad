//! Requests and their answers.

use std::net::SocketAddr;
use std::time::Duration;

use super::allocation::{ChannelConflict, Held, Peers};
use super::authenticate::{Authentic, PASSWORD_ALGORITHMS, Refusal, authenticate_binding};
use super::{Client, Command, Counter, Limits, Now, Protocol, Server};
use crate::codec::{
    Builder, ChannelNumber, Class, Family, Fields, IntegrityKind, Message, Method, TransactionId, attribute,
};
use crate::credential::IntegrityKey;

/// How a response is protected: as its request was.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seal {
    pub(super) integrity: Option<(IntegrityKind, IntegrityKey)>,
    pub(super) fingerprint: bool,
}

impl Seal {
    fn of(authentic: &Authentic<'_>, fields: &Fields<'_>) -> Self {
        Self {
            integrity: Some((authentic.integrity, authentic.key)),
            fingerprint: fields.fingerprint,
        }
    }
}

/// The number of an error response.
pub(super) type ErrorCode = u16;

/// A request that has passed authentication and the checks every method shares.
pub(super) struct Request<'m> {
    pub(super) now: Now,
    pub(super) client: Client,
    pub(super) message: Message<'m>,
    pub(super) fields: Fields<'m>,
    pub(super) authentic: Authentic<'m>,
    /// The allocation it is about: the sender's, or that of the connection it names.
    pub(super) slot: Option<u32>,
}

impl Request<'_> {
    pub(super) fn transaction(&self) -> TransactionId {
        self.message.transaction()
    }

    pub(super) fn success(&self) -> Builder {
        Builder::new(Class::Success, self.message.method, self.transaction())
    }

    pub(super) fn seal(&self) -> Seal {
        Seal::of(&self.authentic, &self.fields)
    }
}

impl Server {
    pub(super) fn handle_request(&mut self, now: Now, client: Client, message: &Message<'_>) {
        let fields = self.read(message);
        self.counters.increment(match message.method {
            Method::BINDING => Counter::RequestBinding,
            Method::ALLOCATE => Counter::RequestAllocate,
            Method::REFRESH => Counter::RequestRefresh,
            Method::CREATE_PERMISSION => Counter::RequestCreatePermission,
            Method::CHANNEL_BIND => Counter::RequestChannelBind,
            Method::CONNECT => Counter::RequestConnect,
            Method::CONNECTION_BIND => Counter::RequestConnectionBind,
            _ => Counter::RequestOther,
        });
        match message.method {
            Method::BINDING => self.binding(now, client, message, &fields),
            Method::ALLOCATE
            | Method::REFRESH
            | Method::CREATE_PERMISSION
            | Method::CHANNEL_BIND
            | Method::CONNECT
            | Method::CONNECTION_BIND => {
                if !self.fetch(now, client, message, &fields) {
                    self.authenticated(now, client, message, &fields);
                }
            }
            // RFC 8489 §6.3: a method the server does not know is silently discarded.
            _ => self.counters.increment(Counter::DropUnexpected),
        }
    }

    /// Binding needs no credentials unless some are configured (RFC 8489 §12), and is answered
    /// within the source's limit.
    fn binding(&mut self, now: Now, client: Client, message: &Message<'_>, fields: &Fields<'_>) {
        let seal = Seal {
            integrity: None,
            fingerprint: fields.fingerprint,
        };
        if !self.may_answer_unauthenticated(now, client) {
            return;
        }
        if !fields.unknown.kinds().is_empty() {
            return self.unknown_attributes(client, message, fields, seal);
        }
        let mut response = Builder::new(Class::Success, Method::BINDING, message.transaction())
            .address(attribute::XOR_MAPPED_ADDRESS, client.address);
        if let Some(credential) = &self.binding_credential {
            match authenticate_binding(credential, message, fields) {
                Ok(kind) => response = response.integrity(kind, credential.password.as_bytes()),
                Err(Refusal { code, reason }) => {
                    self.counters.increment(reason);
                    return self.send_error(client, Method::BINDING, message.transaction(), code, seal);
                }
            }
        }
        self.send(client, response, seal);
    }

    pub(super) fn authenticated(
        &mut self,
        now: Now,
        client: Client,
        message: &Message<'_>,
        fields: &Fields<'_>,
    ) {
        self.handle_timeout(now);
        let slot = match message.method {
            // It comes over a connection of its own and names what it belongs to.
            Method::CONNECTION_BIND => self.connections.slot_of(fields.connection_id),
            // A client that has moved is known by its ticket only.
            Method::REFRESH => self.table.find(client).or_else(|| self.slot_of_ticket(fields)),
            _ => self.table.find(client),
        };
        let existing = slot.and_then(|slot| self.table.get(slot));
        let authentic = match self.authenticate(now, client, message, fields, existing) {
            Ok(authentic) => authentic,
            Err(refusal) => return self.refuse(now, client, message, fields, refusal),
        };
        let request = Request {
            now,
            client,
            message: *message,
            fields: *fields,
            authentic,
            slot,
        };
        let seal = request.seal();
        let outcome = if fields.malformed {
            Err(400)
        } else if !fields.unknown.kinds().is_empty() {
            return self.unknown_attributes(client, message, fields, seal);
        } else {
            match message.method {
                Method::ALLOCATE => self.allocate(&request),
                Method::REFRESH => self.refresh(&request).map(Some),
                Method::CREATE_PERMISSION => self.create_permission(&request).map(Some),
                Method::CONNECT => self.connect(&request).map(|()| None),
                Method::CONNECTION_BIND => self.connection_bind(&request).map(|()| None),
                _ => self.channel_bind(&request).map(Some),
            }
        };
        match outcome {
            Ok(Some(response)) => self.send(client, response, seal),
            Ok(None) => {}
            Err(code) => self.send_error(client, message.method, message.transaction(), code, seal),
        }
    }

    pub(super) fn may_answer_unauthenticated(&mut self, now: Now, client: Client) -> bool {
        let may = self.sources.take(now.monotonic, client.address.ip());
        if !may {
            self.counters.increment(Counter::DropUnauthenticatedLimit);
        }
        may
    }

    /// Answers a request that is not authenticated: with a challenge, unless it makes no sense.
    fn refuse(
        &mut self,
        now: Now,
        client: Client,
        message: &Message<'_>,
        fields: &Fields<'_>,
        refusal: Refusal,
    ) {
        self.counters.increment(refusal.reason);
        if !self.may_answer_unauthenticated(now, client) {
            return;
        }
        self.count_error(refusal.code);
        let mut response =
            Builder::new(Class::Error, message.method, message.transaction()).error_code(refusal.code);
        if refusal.code != 400 {
            let nonce = self.nonces.make(now.unix_s, client);
            response = response
                .attribute(attribute::REALM, self.realm.as_bytes())
                .attribute(attribute::NONCE, nonce.as_bytes())
                .attribute(attribute::PASSWORD_ALGORITHMS, &PASSWORD_ALGORITHMS);
        }
        self.send(
            client,
            response,
            Seal {
                integrity: None,
                fingerprint: fields.fingerprint,
            },
        );
    }

    fn unknown_attributes(&mut self, client: Client, message: &Message<'_>, fields: &Fields<'_>, seal: Seal) {
        self.count_error(420);
        let kinds: Vec<u8> = fields
            .unknown
            .kinds()
            .iter()
            .flat_map(|kind| kind.to_be_bytes())
            .collect();
        let response = Builder::new(Class::Error, message.method, message.transaction())
            .error_code(420)
            .attribute(attribute::UNKNOWN_ATTRIBUTES, &kinds);
        self.send(client, response, seal);
    }

    pub(super) fn send_error(
        &mut self,
        client: Client,
        method: Method,
        transaction: TransactionId,
        code: ErrorCode,
        seal: Seal,
    ) {
        self.count_error(code);
        let mut response = Builder::new(Class::Error, method, transaction).error_code(code);
        if code == 300 {
            response = self.with_alternate(client, response);
        }
        self.send(client, response, seal);
    }

    pub(super) fn send(&mut self, to: Client, mut response: Builder, seal: Seal) {
        if let Some((kind, key)) = seal.integrity {
            response = response.integrity(kind, &key);
        }
        if seal.fingerprint {
            response = response.fingerprint();
        }
        self.commands.push_back(Command::Send {
            to,
            bytes: response.finish(),
        });
    }

    fn count_error(&mut self, code: ErrorCode) {
        self.counters.increment(match code {
            300 => Counter::Error300,
            400 => Counter::Error400,
            405 => Counter::Error405,
            401 => Counter::Error401,
            403 => Counter::Error403,
            420 => Counter::Error420,
            437 => Counter::Error437,
            438 => Counter::Error438,
            440 => Counter::Error440,
            441 => Counter::Error441,
            442 => Counter::Error442,
            443 => Counter::Error443,
            446 => Counter::Error446,
            447 => Counter::Error447,
            486 => Counter::Error486,
            508 => Counter::Error508,
            code => unreachable!("no handler answers {code}"),
        });
    }

    /// The allocation a request is about: 437 without one, 441 for somebody else's (RFC 8656 §5).
    pub(super) fn owned(&self, request: &Request<'_>) -> Result<u32, ErrorCode> {
        let slot = request.slot.ok_or(437_u16)?;
        let allocation = self.table.get(slot).ok_or(437_u16)?;
        if allocation.relays.is_opening() {
            return Err(437);
        }
        if *allocation.username != *request.authentic.username {
            return Err(441);
        }
        Ok(slot)
    }

    /// RFC 8656 §7.3, and §8.2 of RFC 6156 for one family of two.
    fn refresh(&mut self, request: &Request<'_>) -> Result<Builder, ErrorCode> {
        self.follow(request)?;
        let slot = self.owned(request)?;
        let allocation = self.table.get_mut(slot).expect("owned() found it");
        let family = request.fields.requested_family.transpose().map_err(|_| 443_u16)?;
        if family.is_some_and(|family| !allocation.relays.is_open(family)) {
            return Err(443);
        }
        let lifetime = if request.fields.lifetime_s == Some(0) {
            match family.filter(|_| allocation.relays.open().count() > 1) {
                Some(family) => self.close_family(slot, family),
                None => self.end(request.now, slot),
            }
            Duration::ZERO
        } else {
            let age_end = allocation.created + self.limits.age_max;
            let left = age_end.saturating_sub(request.now.monotonic);
            let lifetime = lifetime(request.fields.lifetime_s, &self.limits).min(left);
            allocation.expires = request.now.monotonic + lifetime;
            self.offload(slot);
            self.table.schedule(slot);
            lifetime
        };
        let mut response = request
            .success()
            .attribute(attribute::LIFETIME, &seconds(lifetime));
        if request.fields.mobility_ticket.is_some()
            && let Some(ticket) = self.ticket(slot)
        {
            response = response.attribute(attribute::MOBILITY_TICKET, &ticket);
        }
        Ok(response)
    }

    /// RFC 8656 §10.2: all of the peers or none.
    fn create_permission(&mut self, request: &Request<'_>) -> Result<Builder, ErrorCode> {
        let slot = self.owned(request)?;
        let allocation = self.table.get(slot).expect("owned() found it");
        let peers = || request.fields.peers(&request.message);
        if peers().next().is_none() {
            return Err(400);
        }
        if peers().any(|peer| !allocation.relays.is_open(Family::of(peer))) {
            return Err(443);
        }
        if peers().any(|peer| !self.policy.permits_ip(peer.ip())) {
            return Err(403);
        }
        let new = peers()
            .filter(|peer| !allocation.peers.has_permission(peer.ip()))
            .count();
        let wanted = Held {
            permissions: u32::try_from(new).unwrap_or(u32::MAX),
            channels: 0,
        };
        self.grant(slot, wanted, |held| {
            peers().for_each(|peer| held.permit(peer.ip(), request.now.monotonic));
        })?;
        Ok(request.success())
    }

    /// RFC 8656 §12.2.
    fn channel_bind(&mut self, request: &Request<'_>) -> Result<Builder, ErrorCode> {
        let slot = self.owned(request)?;
        let allocation = self.table.get(slot).expect("owned() found it");
        let number = request
            .fields
            .channel_number
            .and_then(ChannelNumber::new)
            .ok_or(400_u16)?;
        if !number.is_unreserved() && !self.legacy_channels {
            return Err(400);
        }
        let peer: SocketAddr = request.fields.peer.ok_or(400_u16)?;
        if !allocation.relays.is_open(Family::of(peer)) {
            return Err(443);
        }
        if !self.policy.permits(peer) || allocation.protocol != Protocol::Udp {
            return Err(403);
        }
        let new = allocation
            .peers
            .channel_is_new(number, peer)
            .map_err(|ChannelConflict| 400_u16)?;
        let permission = !allocation.peers.has_permission(peer.ip());
        let wanted = Held {
            permissions: permission.into(),
            channels: new.into(),
        };
        self.grant(slot, wanted, |held| {
            held.permit(peer.ip(), request.now.monotonic);
            held.bind(number, peer, request.now.monotonic);
        })?;
        Ok(request.success())
    }

    /// Takes `wanted` out of the quotas, or answers 508; then changes the peers of the
    /// allocation. What the change did not use (a peer named twice) goes back.
    fn grant(&mut self, slot: u32, wanted: Held, change: impl FnOnce(&mut Peers)) -> Result<(), ErrorCode> {
        let allocation = self.table.get_mut(slot).expect("owned() found it");
        let before = allocation.peers.held();
        let limits = &self.limits;
        let fits = before.permissions.saturating_add(wanted.permissions) <= limits.permissions_per_allocation
            && before.channels.saturating_add(wanted.channels) <= limits.channels_per_allocation;
        if !fits || !self.quotas.reserve(wanted, limits) {
            return Err(508);
        }
        change(&mut allocation.peers);
        let granted = allocation.peers.held() - before;
        self.quotas.release(wanted - granted);
        self.counters
            .add(Counter::Permissions, granted.permissions.into());
        self.counters.add(Counter::Channels, granted.channels.into());
        self.offload(slot);
        self.table.schedule(slot);
        Ok(())
    }
}

/// The lifetime to grant (RFC 8656 §7.2): what is asked for, between the default and the maximum.
pub(super) fn lifetime(asked_s: Option<u32>, limits: &Limits) -> Duration {
    let asked = asked_s.map_or(Limits::LIFETIME_DEFAULT, |s| Duration::from_secs(s.into()));
    asked.clamp(Limits::LIFETIME_DEFAULT, limits.lifetime_max)
}

/// The value of a LIFETIME attribute.
pub(super) fn seconds(lifetime: Duration) -> [u8; 4] {
    u32::try_from(lifetime.as_secs())
        .unwrap_or(u32::MAX)
        .to_be_bytes()
}
