//! What stands in the kernel's table: for a packet as it comes in, the packet as it goes out.

use std::net::SocketAddrV4;
use std::time::Duration;

/// Bytes of a key.
pub(super) const FLOW_BYTES: usize = 24;
/// Bytes of what it leads to.
const OUT_BYTES: usize = 16;
/// Bytes of an entry: where to, until when, the seal, and when a packet last went the long way.
pub(super) const ENTRY_BYTES: usize = 40;

/// Where the parts of an entry begin.
pub(super) const ENTRY_OUT: i16 = 0;
pub(super) const ENTRY_UNTIL: i16 = 16;
pub(super) const ENTRY_SEAL: i16 = 24;
pub(super) const ENTRY_LONG_WAY: i16 = 32;

/// What a Send and a Data indication begin with (RFC 8489 §5, RFC 8656 §17).
pub(super) const SEND: u16 = 0x0016;
pub(super) const DATA: u16 = 0x0017;
/// What hides addresses (RFC 8489 §14.2); of ports its upper half.
pub(super) const COOKIE: u32 = 0x2112_a442;

/// What stands around the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Framing {
    /// Nothing: on the peer's side.
    Bare,
    /// The header of a channel.
    Channel(u16),
    /// An indication that names a peer: to the relay Send, from it Data.
    Indication(SocketAddrV4),
}

/// Packets of one direction of one channel, or of a peer's indications, on one side of the relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Flow {
    pub(super) from: SocketAddrV4,
    pub(super) to: SocketAddrV4,
    pub(super) framing: Framing,
}

impl Flow {
    /// As the program puts it together from a packet: everything in network order, a peer's address as it stands there.
    pub(super) fn bytes(&self) -> [u8; FLOW_BYTES] {
        let mut bytes = [0; FLOW_BYTES];
        bytes[..OUT_BYTES].copy_from_slice(&self.begins(SEND));
        if let Framing::Indication(peer) = self.framing {
            let port = peer.port() ^ (COOKIE >> 16) as u16;
            bytes[14..16].copy_from_slice(&port.to_be_bytes());
            bytes[16..20].copy_from_slice(&(peer.ip().to_bits() ^ COOKIE).to_be_bytes());
        }
        bytes
    }

    /// What packets become. The peer that a Data indication names is the one it is from.
    fn out(&self) -> [u8; OUT_BYTES] {
        self.begins(DATA)
    }

    /// Addresses, ports, and what the payload begins with.
    fn begins(&self, indication: u16) -> [u8; OUT_BYTES] {
        let kind = match self.framing {
            Framing::Bare => 0,
            Framing::Channel(number) => number,
            Framing::Indication(_) => indication,
        };
        let mut bytes = [0; OUT_BYTES];
        bytes[..4].copy_from_slice(&self.from.ip().octets());
        bytes[4..8].copy_from_slice(&self.to.ip().octets());
        bytes[8..10].copy_from_slice(&self.from.port().to_be_bytes());
        bytes[10..12].copy_from_slice(&self.to.port().to_be_bytes());
        bytes[12..14].copy_from_slice(&kind.to_be_bytes());
        bytes
    }
}

/// Seals entries, so that a mix of two is not taken for one.
///
/// The kernel gives the memory of a removed entry to the next one at once, while a program on another core
/// may be reading it. What that program has read belongs together only if the seal says so: a sum
/// over key and entry with factors nobody outside knows. It is looked at after everything else was copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seal(pub(super) [u64; 6]);

impl Seal {
    pub(super) fn random() -> std::io::Result<Self> {
        let mut bytes = [[0; 8]; 6];
        aws_lc_rs::rand::fill(bytes.as_flattened_mut())
            .map_err(|_| std::io::Error::other("no randomness"))?;
        // Odd factors lose no bit of what they multiply.
        Ok(Self(bytes.map(|bytes| u64::from_ne_bytes(bytes) | 1)))
    }

    fn of(&self, key: &[u8; FLOW_BYTES], out: &[u8; OUT_BYTES], until_ns: u64) -> u64 {
        let words = key.as_chunks().0.iter().chain(out.as_chunks().0);
        let words = words.map(|word| u64::from_ne_bytes(*word)).chain([until_ns]);
        let products = words.zip(self.0).map(|(word, factor)| word.wrapping_mul(factor));
        products.fold(0, |sum, product| sum ^ product)
    }

    /// The entry that makes packets of `key` leave as `out` until the clock says `until`.
    pub(super) fn entry(&self, key: &Flow, out: &Flow, until: Duration) -> [u8; ENTRY_BYTES] {
        let until_ns = u64::try_from(until.as_nanos()).unwrap_or(u64::MAX);
        let mut entry = [0; ENTRY_BYTES];
        let (to, rest) = entry.split_at_mut(OUT_BYTES);
        to.copy_from_slice(&out.out());
        rest[..8].copy_from_slice(&until_ns.to_ne_bytes());
        rest[8..16].copy_from_slice(&self.of(&key.bytes(), &out.out(), until_ns).to_ne_bytes());
        entry
    }
}

/// The two flows of a channel, or of a peer's indications, and what they become: data of the client, and data of the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pair {
    /// From the client, with the channel's header or in an indication.
    pub(super) client: Flow,
    /// To the peer, without.
    pub(super) peer: Flow,
}

impl Pair {
    pub(super) fn new(
        client: SocketAddrV4,
        server: SocketAddrV4,
        channel: Option<u16>,
        relay: SocketAddrV4,
        peer: SocketAddrV4,
    ) -> Self {
        let flow = |from, to, framing| Flow { from, to, framing };
        let framing = channel.map_or(Framing::Indication(peer), Framing::Channel);
        Self {
            client: flow(client, server, framing),
            peer: flow(relay, peer, Framing::Bare),
        }
    }

    /// Key and result of either direction: as packets come in, as they go out.
    pub(super) fn directions(&self) -> [(Flow, Flow); 2] {
        let back = |flow: &Flow| Flow {
            from: flow.to,
            to: flow.from,
            framing: flow.framing,
        };
        [(self.client, self.peer), (back(&self.peer), back(&self.client))]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(channel: Option<u16>) -> Pair {
        let at = |text: &str| text.parse().unwrap();
        Pair::new(
            at("192.0.2.7:4000"),
            at("198.51.100.1:3478"),
            channel,
            at("198.51.100.1:50000"),
            at("203.0.113.9:10000"),
        )
    }

    #[test]
    fn a_key_is_the_packets_own_bytes() {
        let [(up, _), (down, out)] = pair(Some(0x4001)).directions();
        assert_eq!(
            up.bytes(),
            [
                192, 0, 2, 7, 198, 51, 100, 1, 0x0f, 0xa0, 0x0d, 0x96, 0x40, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0
            ]
        );
        assert_eq!(
            down.bytes(),
            [
                203, 0, 113, 9, 198, 51, 100, 1, 0x27, 0x10, 0xc3, 0x50, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0
            ]
        );
        assert_eq!(out.framing, Framing::Channel(0x4001));
        assert_eq!(out.to.to_string(), "192.0.2.7:4000");
        let [(send, _), (same, data)] = pair(None).directions();
        assert_eq!(send.bytes()[..12], up.bytes()[..12]);
        // The peer's port and address, each with the cookie over it.
        assert_eq!(
            send.bytes()[12..],
            [0, 0x16, 0x06, 0x02, 0xea, 0x12, 0xd5, 0x4b, 0, 0, 0, 0]
        );
        assert_eq!(same, down);
        assert_eq!(data.out()[12..], [0, 0x17, 0, 0]);
    }

    #[test]
    fn a_mix_of_two_entries_has_no_seal() {
        let seal = Seal::random().unwrap();
        let until = Duration::from_secs(600);
        let [(key, out), _] = pair(Some(0x4001)).directions();
        let [(other_key, other_out), _] = pair(Some(0x4002)).directions();
        let entry = seal.entry(&key, &out, until);
        assert_eq!(entry, seal.entry(&key, &out, until));
        let seal_of = |entry: &[u8; ENTRY_BYTES]| entry[24..32].to_vec();
        for other in [
            seal.entry(&other_key, &out, until),
            seal.entry(&other_key, &other_out, until),
            seal.entry(&key, &out, until + Duration::from_nanos(1)),
            Seal::random().unwrap().entry(&key, &out, until),
        ] {
            assert_ne!(seal_of(&entry), seal_of(&other));
        }
    }
}
