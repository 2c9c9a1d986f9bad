//! Where a provider may be: on the public network, over HTTPS. Whoever runs a clinic must not
//! learn through us what answers inside the network we run in.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use reqwest::Url;

/// Longest address of a provider.
const URL_BYTES_MAX: usize = 512;

/// Special-purpose blocks of IPv4 that are not globally reachable (IANA registry; RFC 6890).
const NOT_PUBLIC_V4: [([u8; 4], u32); 15] = [
    ([0, 0, 0, 0], 8),
    ([10, 0, 0, 0], 8),
    ([100, 64, 0, 0], 10),
    ([127, 0, 0, 0], 8),
    ([169, 254, 0, 0], 16),
    ([172, 16, 0, 0], 12),
    ([192, 0, 0, 0], 24),
    ([192, 0, 2, 0], 24),
    ([192, 88, 99, 0], 24),
    ([192, 168, 0, 0], 16),
    ([198, 18, 0, 0], 15),
    ([198, 51, 100, 0], 24),
    ([203, 0, 113, 0], 24),
    ([224, 0, 0, 0], 4),
    ([240, 0, 0, 0], 4),
];

/// Blocks inside of the global unicast addresses of IPv6 (2000::/3) that are not public, or stand for
/// an address of IPv4 that may not be: IETF protocols with Teredo and documentation, 6to4,
/// documentation.
const NOT_PUBLIC_V6: [([u16; 2], u32); 4] = [
    ([0x2001, 0], 23),
    ([0x2001, 0xdb8], 32),
    ([0x2002, 0], 16),
    ([0x3fff, 0], 20),
];

/// The address as a URL, if a provider may be there. `allow_loopback` is for tests: then, and only on
/// loopback, plain HTTP will do.
pub(crate) fn provider_url(text: &str, allow_loopback: bool) -> Option<Url> {
    let url: Url = (text.len() <= URL_BYTES_MAX).then(|| text.parse().ok())??;
    // What was typed grows when it is escaped, and is what is asked and kept.
    if url.as_str().len() > URL_BYTES_MAX {
        return None;
    }
    let plain = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
    let address: Option<IpAddr> = url
        .host_str()?
        .trim_start_matches('[')
        .trim_end_matches(']')
        .parse()
        .ok();
    let at_home = address.is_some_and(|address| address.to_canonical().is_loopback());
    let allowed = match url.scheme() {
        "https" => address.is_none_or(is_public) || (allow_loopback && at_home),
        "http" => allow_loopback && at_home,
        _ => false,
    };
    (plain && allowed).then_some(url)
}

/// Whether an address is one anybody can reach.
pub(super) fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => !NOT_PUBLIC_V4.iter().any(|(block, bits)| {
            u32::from(v4) >> (32 - bits) == u32::from(Ipv4Addr::from(*block)) >> (32 - bits)
        }),
        IpAddr::V6(v6) => {
            let within = |[a, b]: [u16; 2], bits: u32| {
                let block = Ipv6Addr::new(a, b, 0, 0, 0, 0, 0, 0);
                u128::from(v6) >> (128 - bits) == u128::from(block) >> (128 - bits)
            };
            within([0x2000, 0], 3) && !NOT_PUBLIC_V6.iter().any(|(block, bits)| within(*block, *bits))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_inside_is_public() {
        for inside in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "127.0.0.1",
            "127.255.255.255",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.8",
            "192.168.1.1",
            "198.19.0.1",
            "203.0.113.7",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:10.0.0.1",
            "::ffff:127.0.0.1",
            "::127.0.0.1",
            "64:ff9b::a00:1",
            "64:ff9b:1::1",
            "fc00::1",
            "fd12::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "2001::1",
            "2001:db8::1",
            "2002:a00:1::1",
            "3fff::1",
            "100::1",
            "5f00::1",
        ] {
            assert!(!is_public(inside.parse().unwrap()), "{inside}");
        }
        for outside in [
            "1.1.1.1",
            "8.8.8.8",
            "172.32.0.1",
            "100.128.0.1",
            "2606:4700::1111",
            "2a00:1450::1",
            "::ffff:8.8.8.8",
        ] {
            assert!(is_public(outside.parse().unwrap()), "{outside}");
        }
    }

    #[test]
    fn a_provider_is_somewhere_public_over_https() {
        for (text, strict, lax) in [
            ("https://login.example.org/tenant", true, true),
            ("https://1.1.1.1/", true, true),
            ("http://login.example.org/", false, false),
            ("http://127.0.0.1:4000", false, true),
            ("http://[::1]:4000", false, true),
            ("https://127.0.0.1:4000", false, true),
            ("https://10.0.0.1/", false, false),
            ("https://[::ffff:10.0.0.1]/", false, false),
            ("https://0x7f.1/", false, true),
            ("https://2130706433/", false, true),
            ("https://user:secret@login.example.org/", false, false),
            ("https://login.example.org/#x", false, false),
            ("file:///etc/passwd", false, false),
            ("login.example.org", false, false),
        ] {
            assert_eq!(provider_url(text, false).is_some(), strict, "{text}");
            assert_eq!(provider_url(text, true).is_some(), lax, "{text}");
        }
    }
}
