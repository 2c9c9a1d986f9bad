//! The header a load balancer puts in front of a connection: PROXY protocol, version 2
//! (HAProxy's `proxy-protocol.txt`, §2.2). Version 1 is text without a length and not taken.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Signature, command, family, length.
pub(super) const FIXED_BYTES: usize = 16;
/// Longest variable part taken: two IPv6 addresses are 36 bytes, and what balancers add
/// (names of endpoints, checksums, TLS details) a few hundred. Whoever sends more is none.
pub(super) const VARIABLE_BYTES_MAX: usize = 2048;

const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";

/// The bytes are no header of version 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NoHeader;

/// How many bytes follow the first [`FIXED_BYTES`].
pub(super) fn variable_bytes(fixed: &[u8; FIXED_BYTES]) -> Result<usize, NoHeader> {
    let length = usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
    let well_formed = fixed[..12] == SIGNATURE && fixed[12] >> 4 == 2;
    if well_formed && length <= VARIABLE_BYTES_MAX {
        Ok(length)
    } else {
        Err(NoHeader)
    }
}

/// The client's address; `None` where the balancer speaks for itself (health checks) or
/// does not know, and the connection's own address holds.
pub(super) fn client(header: &[u8]) -> Result<Option<SocketAddr>, NoHeader> {
    let fixed = header.first_chunk().ok_or(NoHeader)?;
    let variable = header
        .get(FIXED_BYTES..FIXED_BYTES + variable_bytes(fixed)?)
        .ok_or(NoHeader)?;
    let port = |at: usize| -> Result<u16, NoHeader> {
        let bytes = variable.get(at..at + 2).ok_or(NoHeader)?;
        Ok(u16::from_be_bytes([bytes[0], bytes[1]]))
    };
    match (fixed[12] & 0x0F, fixed[13]) {
        // LOCAL, whatever the rest says.
        (0, _) => Ok(None),
        // PROXY of TCP over IPv4: source, destination, their ports.
        (1, 0x11) => {
            let ip = Ipv4Addr::from_octets(*variable.first_chunk().ok_or(NoHeader)?);
            Ok(Some(SocketAddr::new(ip.into(), port(8)?)))
        }
        (1, 0x21) => {
            let ip = Ipv6Addr::from_octets(*variable.first_chunk().ok_or(NoHeader)?);
            // Written as IPv6 or not, an IPv4 client is one: its limits must not depend on it.
            Ok(Some(SocketAddr::new(IpAddr::from(ip).to_canonical(), port(32)?)))
        }
        (1, 0x00) => Ok(None),
        _ => Err(NoHeader),
    }
}

/// Reads `data` as a header: it may be refused, and an address is the one that is written there.
#[cfg(fuzzing)]
pub fn fuzz_proxy_header(data: &[u8]) {
    if let Ok(Some(address)) = client(data) {
        let port = address.port().to_be_bytes();
        assert!(data[FIXED_BYTES..].windows(2).any(|bytes| bytes == port));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn header(command: u8, family: u8, variable: &[u8]) -> Vec<u8> {
        let mut header = SIGNATURE.to_vec();
        header.extend([0x20 | command, family]);
        header.extend(u16::try_from(variable.len()).unwrap().to_be_bytes());
        header.extend(variable);
        header
    }

    const IPV4: [u8; 12] = [192, 0, 2, 7, 198, 51, 100, 1, 0xC0, 0x01, 0x01, 0xBB];

    #[test]
    fn addresses_are_the_clients() {
        let address = client(&header(1, 0x11, &IPV4)).unwrap();
        assert_eq!(address, Some("192.0.2.7:49153".parse().unwrap()));
        let with_more = client(&header(1, 0x11, &[&IPV4[..], &[3, 0, 4, 1, 2, 3, 4]].concat()));
        assert_eq!(with_more, Ok(address), "type-length-values are skipped");

        let mut v6 = [0; 36];
        v6[..16].copy_from_slice(&"2001:db8::5".parse::<Ipv6Addr>().unwrap().octets());
        v6[32..34].copy_from_slice(&443_u16.to_be_bytes());
        assert_eq!(
            client(&header(1, 0x21, &v6)),
            Ok(Some("[2001:db8::5]:443".parse().unwrap()))
        );
        v6[..16].copy_from_slice(&"::ffff:192.0.2.9".parse::<Ipv6Addr>().unwrap().octets());
        assert_eq!(
            client(&header(1, 0x21, &v6)),
            Ok(Some("192.0.2.9:443".parse().unwrap()))
        );
    }

    #[test]
    fn the_balancers_own_connections_keep_their_address() {
        assert_eq!(client(&header(0, 0x00, &[])), Ok(None));
        assert_eq!(client(&header(0, 0x11, &IPV4)), Ok(None));
        assert_eq!(client(&header(1, 0x00, &[])), Ok(None));
    }

    #[test]
    fn what_is_no_header_is_refused() {
        assert_eq!(
            client(b"PROXY TCP4 192.0.2.7 198.51.100.1 1 2\r\n"),
            Err(NoHeader)
        );
        assert_eq!(client(&header(2, 0x11, &IPV4)), Err(NoHeader), "no such command");
        assert_eq!(
            client(&header(1, 0x12, &IPV4)),
            Err(NoHeader),
            "UDP over a stream"
        );
        assert_eq!(
            client(&header(1, 0x31, &[0; 216])),
            Err(NoHeader),
            "a Unix socket"
        );
        assert_eq!(client(&header(1, 0x11, &IPV4[..9])), Err(NoHeader), "too short");
        assert_eq!(client(&header(1, 0x11, &IPV4)[..20]), Err(NoHeader), "cut off");
        let long = header(1, 0x11, &[0; VARIABLE_BYTES_MAX + 1]);
        assert_eq!(client(&long), Err(NoHeader), "longer than any balancer's");
    }

    proptest! {
        #[test]
        fn no_input_panics(command in 0_u8..4, family: u8, variable in proptest::collection::vec(any::<u8>(), 0..60), cut in 0_usize..80) {
            let header = header(command, family, &variable);
            let _ = client(&header[..cut.min(header.len())]);
        }
    }
}
