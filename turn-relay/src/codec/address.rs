//! XOR-MAPPED-ADDRESS and its kin (RFC 8489 §14.2).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{MAGIC_COOKIE, TransactionId};

const FAMILY_V4: u8 = 0x01;
const FAMILY_V6: u8 = 0x02;
/// The upper half of the cookie hides the port.
const PORT_MASK: u16 = (MAGIC_COOKIE >> 16) as u16;

fn mask_v6(transaction: &TransactionId) -> u128 {
    let mut mask = [0; 16];
    mask[..4].copy_from_slice(&MAGIC_COOKIE.to_be_bytes());
    mask[4..].copy_from_slice(transaction);
    u128::from_be_bytes(mask)
}

/// Reads the value of an XOR address attribute; `None` if it is malformed.
#[must_use]
pub fn decode_xor_address(value: &[u8], transaction: &TransactionId) -> Option<SocketAddr> {
    let (&[_, family, p1, p0], address) = value.split_first_chunk()?;
    let port = u16::from_be_bytes([p1, p0]) ^ PORT_MASK;
    let ip: IpAddr = match family {
        FAMILY_V4 => {
            let bits = u32::from_be_bytes(address.try_into().ok()?);
            Ipv4Addr::from_bits(bits ^ MAGIC_COOKIE).into()
        }
        FAMILY_V6 => {
            let bits = u128::from_be_bytes(address.try_into().ok()?);
            Ipv6Addr::from_bits(bits ^ mask_v6(transaction)).into()
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

/// Writes the value of an XOR address attribute; returns its length, 8 or 20.
pub fn encode_xor_address(address: SocketAddr, transaction: &TransactionId, out: &mut [u8; 20]) -> usize {
    let [p1, p0] = (address.port() ^ PORT_MASK).to_be_bytes();
    match address.ip() {
        IpAddr::V4(ip) => {
            out[..4].copy_from_slice(&[0, FAMILY_V4, p1, p0]);
            out[4..8].copy_from_slice(&(ip.to_bits() ^ MAGIC_COOKIE).to_be_bytes());
            8
        }
        IpAddr::V6(ip) => {
            out[..4].copy_from_slice(&[0, FAMILY_V6, p1, p0]);
            out[4..].copy_from_slice(&(ip.to_bits() ^ mask_v6(transaction)).to_be_bytes());
            20
        }
    }
}
