//! What stands in the kernel's table: for a packet as it comes in, the packet as it goes out.

use std::net::SocketAddrV4;
use std::time::Duration;

/// Bytes of a key, and of what it leads to.
pub(super) const FLOW_BYTES: usize = 16;
/// Bytes of an entry: where to, until when, the seal, and when a packet last went the long way.
pub(super) const ENTRY_BYTES: usize = 40;

/// Where the parts of an entry begin.
pub(super) const ENTRY_OUT: i16 = 0;
pub(super) const ENTRY_UNTIL: i16 = 16;
pub(super) const ENTRY_SEAL: i16 = 24;
pub(super) const ENTRY_LONG_WAY: i16 = 32;

/// Packets of one direction of one channel, on one side of the relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Flow {
    pub(super) from: SocketAddrV4,
    pub(super) to: SocketAddrV4,
    /// The channel whose header stands before the data; 0 on the peer's side, where none does.
    pub(super) channel: u16,
}

impl Flow {
    /// As the program puts it together from a packet: everything in network order.
    pub(super) fn bytes(&self) -> [u8; FLOW_BYTES] {
        let mut bytes = [0; FLOW_BYTES];
        bytes[..4].copy_from_slice(&self.from.ip().octets());
        bytes[4..8].copy_from_slice(&self.to.ip().octets());
        bytes[8..10].copy_from_slice(&self.from.port().to_be_bytes());
        bytes[10..12].copy_from_slice(&self.to.port().to_be_bytes());
        bytes[12..14].copy_from_slice(&self.channel.to_be_bytes());
        bytes
    }
}

/// Seals entries, so that a mix of two is not taken for one.
///
/// The kernel gives the memory of a removed entry to the next one at once, while a program on another core
/// may be reading it. What that program has read belongs together only if the seal says so: a sum
/// over key and entry with factors nobody outside knows. It is looked at after everything else was copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seal(pub(super) [u64; 5]);

impl Seal {
    pub(super) fn random() -> std::io::Result<Self> {
        let mut bytes = [[0; 8]; 5];
        aws_lc_rs::rand::fill(bytes.as_flattened_mut())
            .map_err(|_| std::io::Error::other("no randomness"))?;
        // Odd factors lose no bit of what they multiply.
        Ok(Self(bytes.map(|bytes| u64::from_ne_bytes(bytes) | 1)))
    }

    fn of(&self, key: &[u8; FLOW_BYTES], out: &[u8; FLOW_BYTES], until_ns: u64) -> u64 {
        let words = |bytes: &[u8; FLOW_BYTES]| {
            let (first, second) = bytes.split_at(8);
            [first, second].map(|half| u64::from_ne_bytes(*half.first_chunk().expect("half of 16 bytes")))
        };
        let [k0, k1] = words(key);
        let [o0, o1] = words(out);
        let product = |index: usize, word: u64| word.wrapping_mul(self.0[index]);
        product(0, k0) ^ product(1, k1) ^ product(2, o0) ^ product(3, o1) ^ product(4, until_ns)
    }

    /// The entry that makes packets of `key` leave as `out` until the clock says `until`.
    pub(super) fn entry(&self, key: &Flow, out: &Flow, until: Duration) -> [u8; ENTRY_BYTES] {
        let until_ns = u64::try_from(until.as_nanos()).unwrap_or(u64::MAX);
        let mut entry = [0; ENTRY_BYTES];
        let (to, rest) = entry.split_at_mut(FLOW_BYTES);
        to.copy_from_slice(&out.bytes());
        rest[..8].copy_from_slice(&until_ns.to_ne_bytes());
        rest[8..16].copy_from_slice(&self.of(&key.bytes(), &out.bytes(), until_ns).to_ne_bytes());
        entry
    }
}

/// A channel's two flows and what they become: data of the client, and data of the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pair {
    /// From the client, with the channel's header.
    pub(super) client: Flow,
    /// To the peer, without.
    pub(super) peer: Flow,
}

impl Pair {
    pub(super) fn new(
        client: SocketAddrV4,
        server: SocketAddrV4,
        channel: u16,
        relay: SocketAddrV4,
        peer: SocketAddrV4,
    ) -> Self {
        let flow = |from, to, channel| Flow { from, to, channel };
        Self {
            client: flow(client, server, channel),
            peer: flow(relay, peer, 0),
        }
    }

    /// Key and result of either direction: as packets come in, as they go out.
    pub(super) fn directions(&self) -> [(Flow, Flow); 2] {
        let back = |flow: &Flow| Flow {
            from: flow.to,
            to: flow.from,
            channel: flow.channel,
        };
        [(self.client, self.peer), (back(&self.peer), back(&self.client))]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(channel: u16) -> Pair {
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
        let [(up, _), (down, out)] = pair(0x4001).directions();
        assert_eq!(
            up.bytes(),
            [
                192, 0, 2, 7, 198, 51, 100, 1, 0x0f, 0xa0, 0x0d, 0x96, 0x40, 1, 0, 0
            ]
        );
        assert_eq!(
            down.bytes(),
            [
                203, 0, 113, 9, 198, 51, 100, 1, 0x27, 0x10, 0xc3, 0x50, 0, 0, 0, 0
            ]
        );
        assert_eq!(out.channel, 0x4001);
        assert_eq!(out.to.to_string(), "192.0.2.7:4000");
    }

    #[test]
    fn a_mix_of_two_entries_has_no_seal() {
        let seal = Seal::random().unwrap();
        let until = Duration::from_secs(600);
        let [(key, out), _] = pair(0x4001).directions();
        let [(other_key, other_out), _] = pair(0x4002).directions();
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
