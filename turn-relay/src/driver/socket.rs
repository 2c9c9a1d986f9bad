//! Opening UDP sockets the way the relay wants them.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;

use nix::ifaddrs::getifaddrs;
use nix::sys::socket::sockopt::{RcvBufForce, SndBufForce, UdpGroSegment};
use nix::sys::socket::{SockaddrStorage, setsockopt};
use socket2::{Domain, Protocol, Socket, Type};

/// A listening socket; every worker opens one on the same address and the kernel spreads
/// clients over them by 5-tuple, so that a client always meets the same worker.
pub(super) fn listener(address: SocketAddr, buffer_bytes: usize) -> io::Result<UdpSocket> {
    let socket = open(address)?;
    socket.set_reuse_port(true)?;
    // With CAP_NET_ADMIN the kernel gives what is asked for; without, it clamps to its own
    // maximum (net.core.rmem_max), and what it gives is what there is.
    if setsockopt(&socket, RcvBufForce, &buffer_bytes).is_err() {
        socket.set_recv_buffer_size(buffer_bytes)?;
    }
    if setsockopt(&socket, SndBufForce, &buffer_bytes).is_err() {
        socket.set_send_buffer_size(buffer_bytes)?;
    }
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// The socket of one relayed transport address.
pub(super) fn relay(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = open(address)?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}

fn open(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        // Without this an IPv6 socket would also send to IPv4 peers as `::ffff:a.b.c.d`.
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    enable_gro(&socket);
    Ok(socket)
}

/// Asks for datagrams of one sender that arrived together to be handed over together. A
/// kernel that cannot (before 5.0) hands them over singly, and nothing else changes.
pub(super) fn enable_gro<S: AsFd>(socket: &S) {
    if let Err(error) = setsockopt(socket, UdpGroSegment, &true) {
        tracing::debug!(%error, "no generic receive offload for UDP");
    }
}

/// Every address of this host's interfaces, as far as the kernel tells.
pub(super) fn host_addresses() -> Vec<IpAddr> {
    let interfaces = match getifaddrs() {
        Ok(interfaces) => interfaces,
        Err(error) => {
            tracing::warn!(%error, "cannot list the host's addresses; only configured ones are taken for our own");
            return Vec::new();
        }
    };
    let address = |storage: SockaddrStorage| match (storage.as_sockaddr_in(), storage.as_sockaddr_in6()) {
        (Some(v4), _) => Some(IpAddr::from(v4.ip())),
        (_, Some(v6)) => Some(IpAddr::from(v6.ip())),
        _ => None,
    };
    interfaces
        .filter_map(|interface| interface.address.and_then(address))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn the_host_knows_its_own_addresses() {
        assert!(host_addresses().contains(&Ipv4Addr::LOCALHOST.into()));
    }
}
