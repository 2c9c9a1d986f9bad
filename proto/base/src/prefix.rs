//! The network somebody is in, coarse enough to be nobody's address.

use std::net::{IpAddr, Ipv6Addr};

/// An IPv4 /24 or an IPv6 /48: what neighbours share, and what round trips are learned for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ClientPrefix {
    /// The first three bytes.
    V4([u8; 3]),
    /// The first six bytes.
    V6([u8; 6]),
}

impl ClientPrefix {
    /// The prefix of an address; IPv4 inside IPv6 (RFC 4291 section 2.5.5.2) counts as IPv4.
    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(v4) => {
                let [a, b, c, _] = v4.octets();
                Self::V4([a, b, c])
            }
            IpAddr::V6(v6) => Self::V6(head(v6)),
        }
    }

    /// Three or six bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::V4(bytes) => bytes,
            Self::V6(bytes) => bytes,
        }
    }

    /// Reads [`ClientPrefix::as_bytes`]; `None` for any other length.
    #[must_use]
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        match bytes.len() {
            3 => bytes.try_into().ok().map(Self::V4),
            6 => bytes.try_into().ok().map(Self::V6),
            _ => None,
        }
    }
}

fn head(address: Ipv6Addr) -> [u8; 6] {
    let [a, b, c, d, e, f, ..] = address.octets();
    [a, b, c, d, e, f]
}

#[cfg(test)]
mod tests {
    use super::ClientPrefix;

    #[test]
    fn neighbours_share_a_prefix_and_its_bytes_read_back() {
        let of = |text: &str| ClientPrefix::of(text.parse().unwrap());
        assert_eq!(of("192.0.2.1"), of("192.0.2.254"));
        assert_ne!(of("192.0.2.1"), of("192.0.3.1"));
        assert_eq!(of("::ffff:192.0.2.9"), of("192.0.2.1"));
        assert_eq!(of("2001:db8:1:2::3"), of("2001:db8:1:ffff::"));
        assert_ne!(of("2001:db8:1::"), of("2001:db8:2::"));
        for prefix in [of("192.0.2.1"), of("2001:db8:1::")] {
            assert_eq!(ClientPrefix::from_slice(prefix.as_bytes()), Some(prefix));
        }
        for length in [0, 4, 16] {
            assert_eq!(ClientPrefix::from_slice(&vec![0; length]), None);
        }
    }
}
