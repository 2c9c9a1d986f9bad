//! Opening UDP sockets the way the relay wants them.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, AsRawFd as _};
use std::time::Duration;

use nix::ifaddrs::getifaddrs;
use nix::libc::{in_addr, in_pktinfo, in6_addr, in6_pktinfo};
use nix::sys::socket::sockopt::{
    Ipv4PacketInfo, Ipv6RecvPacketInfo, RcvBufForce, SndBufForce, UdpGroSegment,
};
use nix::sys::socket::{ControlMessage, MsgFlags, SockaddrStorage, sendmsg, setsockopt};
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};

/// Connections that have arrived and wait to be accepted; the kernel clamps it to its own
/// maximum (net.core.somaxconn). A hospital whose relay went away comes back all at once.
const BACKLOG: i32 = 4096;
/// The same of one allocation: it may hold 16 connections, and permits a few peers.
const PEER_BACKLOG: i32 = 16;
/// A connection that has been silent this long is asked whether anybody is there.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);
/// How often it is asked again.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);
/// How long what was sent may go without acknowledgement: a client that has lost its network
/// has come back by another long before.
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(60);

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
    if address.ip().is_unspecified() {
        enable_local_address(&socket, address.is_ipv6())?;
    }
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// A listening stream socket; one for each worker, as [`listener`] has it.
pub(super) fn stream_listener(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = open_stream(address)?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// An accepted connection: media is not held back for more to come, and not queued beyond
/// `unsent_bytes_max` where nobody can drop it any more.
pub(super) fn prepare_stream(stream: &TcpStream, unsent_bytes_max: u32) -> io::Result<()> {
    stream.set_nonblocking(true)?;
    let socket = SockRef::from(stream);
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_notsent_lowat(unsent_bytes_max)?;
    socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED_MAX))?;
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE_IDLE)
        .with_interval(KEEPALIVE_INTERVAL);
    socket.set_tcp_keepalive(&keepalive)
}

/// The socket of one relayed transport address.
pub(super) fn relay(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = open(address)?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// The socket of one relayed transport address of TCP. The port is shared with the connections
/// made from it: one address, as a peer sees it (RFC 6062 §4.4).
pub(super) fn relay_listener(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = open_stream(address)?;
    socket.listen(PEER_BACKLOG)?;
    Ok(socket.into())
}

/// Begins to connect from `local`, a relayed transport address, to `peer`.
pub(super) fn connect(local: SocketAddr, peer: SocketAddr) -> io::Result<TcpStream> {
    let socket = open_stream(local)?;
    socket.set_tcp_nodelay(true)?;
    match socket.connect(&peer.into()) {
        Ok(()) => {}
        Err(error) if error.raw_os_error() == Some(nix::libc::EINPROGRESS) => {}
        Err(error) => return Err(error),
    }
    Ok(socket.into())
}

/// A connection a peer made.
pub(super) fn prepare_peer(stream: &TcpStream) -> io::Result<()> {
    stream.set_nonblocking(true)?;
    stream.set_nodelay(true)
}

/// A stream socket on an address it shares with others of this process.
fn open_stream(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    // A restart must not wait for the connections of the one before to be forgotten.
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
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

/// Asks for the address each datagram was sent to, on a socket of the wildcard address.
pub(super) fn enable_local_address<S: AsFd>(socket: &S, v6: bool) -> io::Result<()> {
    let asked = if v6 {
        setsockopt(socket, Ipv6RecvPacketInfo, &true)
    } else {
        setsockopt(socket, Ipv4PacketInfo, &true)
    };
    asked.map_err(io::Error::from)
}

/// Sends one message from one of the addresses of a socket of the wildcard address.
pub(super) fn send_from(socket: &UdpSocket, from: IpAddr, to: SocketAddr, bytes: &[u8]) -> io::Result<()> {
    let parts = [io::IoSlice::new(bytes)];
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
    let to = SockaddrStorage::from(to);
    let send = |control: ControlMessage<'_>| {
        sendmsg(socket.as_raw_fd(), &parts, &[control], flags, Some(&to)).map(|_| ())
    };
    let sent = match from {
        IpAddr::V4(ip) => send(ControlMessage::Ipv4PacketInfo(&in_pktinfo {
            ipi_ifindex: 0,
            ipi_spec_dst: in_addr {
                s_addr: u32::from_ne_bytes(ip.octets()),
            },
            ipi_addr: in_addr { s_addr: 0 },
        })),
        IpAddr::V6(ip) => send(ControlMessage::Ipv6PacketInfo(&in6_pktinfo {
            ipi6_addr: in6_addr { s6_addr: ip.octets() },
            ipi6_ifindex: 0,
        })),
    };
    sent.map_err(io::Error::from)
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
