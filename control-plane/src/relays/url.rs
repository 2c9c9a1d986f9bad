//! URLs of TURN servers (RFC 7065).

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use super::ask::Over;

/// RFC 8656 §3.1.
const PORT: u16 = 3478;
const PORT_TLS: u16 = 5349;
/// Longest host name there is (RFC 1035 §2.3.4).
const HOST_BYTES_MAX: usize = 253;

/// A TURN server as it is named to browsers: scheme, host, port, transport.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TurnUrl {
    /// A name, or an address (IPv6 without brackets).
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) over: Over,
}

/// Why a text is no such URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TurnUrlError {
    /// Something else.
    #[error("must be turn:HOST[:PORT][?transport=udp|tcp] or turns:HOST[:PORT][?transport=tcp]")]
    Form,
    /// DTLS, which our relays do not speak.
    #[error("turns: over UDP is DTLS, which the relay does not speak: ?transport=tcp")]
    Dtls,
}

impl FromStr for TurnUrl {
    type Err = TurnUrlError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (scheme, rest) = text.split_once(':').ok_or(TurnUrlError::Form)?;
        let (place, query) = match rest.split_once('?') {
            Some((place, query)) => (place, Some(query)),
            None => (rest, None),
        };
        let over = match (scheme, query) {
            ("turn", None | Some("transport=udp")) => Over::Udp,
            ("turn", Some("transport=tcp")) => Over::Tcp,
            ("turns", None | Some("transport=tcp")) => Over::Tls,
            ("turns", Some("transport=udp")) => return Err(TurnUrlError::Dtls),
            _ => return Err(TurnUrlError::Form),
        };
        let default = if over == Over::Tls { PORT_TLS } else { PORT };
        let (host, port) = place_of(place, default).ok_or(TurnUrlError::Form)?;
        Ok(Self { host, port, over })
    }
}

/// Host and port of `host`, `host:port`, `[v6]` or `[v6]:port`.
fn place_of(text: &str, default: u16) -> Option<(String, u16)> {
    let number = |port: &str| port.parse::<u16>().ok().filter(|port| *port > 0);
    if let Some(rest) = text.strip_prefix('[') {
        let (host, port) = rest.split_once(']')?;
        host.parse::<Ipv6Addr>().ok()?;
        let port = match port.strip_prefix(':') {
            Some(port) => number(port)?,
            None if port.is_empty() => default,
            None => return None,
        };
        return Some((host.to_owned(), port));
    }
    let (host, port) = match text.split_once(':') {
        Some((host, port)) => (host, number(port)?),
        None => (text, default),
    };
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'.';
    let is_host = !host.is_empty() && host.len() <= HOST_BYTES_MAX && host.bytes().all(plain);
    is_host.then(|| (host.to_owned(), port))
}

impl fmt::Display for TurnUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, transport) = match self.over {
            Over::Udp => ("turn", "udp"),
            Over::Tcp => ("turn", "tcp"),
            Over::Tls => ("turns", "tcp"),
        };
        let (open, close) = if self.host.contains(':') {
            ("[", "]")
        } else {
            ("", "")
        };
        let (host, port) = (&self.host, self.port);
        write!(f, "{scheme}:{open}{host}{close}:{port}?transport={transport}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_those_browsers_take() {
        for (text, said) in [
            ("turn:t.example.org", "turn:t.example.org:3478?transport=udp"),
            (
                "turn:t.example.org:80?transport=udp",
                "turn:t.example.org:80?transport=udp",
            ),
            (
                "turn:192.0.2.1?transport=tcp",
                "turn:192.0.2.1:3478?transport=tcp",
            ),
            ("turns:t.example.org", "turns:t.example.org:5349?transport=tcp"),
            (
                "turns:t.example.org:443?transport=tcp",
                "turns:t.example.org:443?transport=tcp",
            ),
            (
                "turn:[2001:db8::1]:99?transport=udp",
                "turn:[2001:db8::1]:99?transport=udp",
            ),
            ("turn:[2001:db8::1]", "turn:[2001:db8::1]:3478?transport=udp"),
        ] {
            let url: TurnUrl = text.parse().unwrap();
            assert_eq!(url.to_string(), said);
            assert_eq!(said.parse::<TurnUrl>().unwrap(), url);
        }
    }

    #[test]
    fn what_browsers_refuse_is_refused() {
        for text in [
            "",
            "turn:",
            "stun:t.example.org",
            "https://t.example.org",
            "turn://t.example.org",
            "turn:t.example.org:0",
            "turn:t.example.org:70000",
            "turn:t.example.org:",
            "turn:user@t.example.org",
            "turn:t.example.org?transport=sctp",
            "turn:t.example.org?transport=udp&x=1",
            "turn:2001:db8::1",
            "turn:[2001:db8::1",
            "turn:[x]:1",
            "turn:[::1]1",
            "turn:t example.org",
        ] {
            assert_eq!(text.parse::<TurnUrl>(), Err(TurnUrlError::Form), "{text}");
        }
        assert_eq!(
            "turns:t.example.org?transport=udp".parse::<TurnUrl>(),
            Err(TurnUrlError::Dtls)
        );
    }
}
