//! What the network says of datagrams that were sent: the error queues of relayed transport
//! addresses (RFC 8656 §11.5).

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd};

use nix::errno::Errno;
use nix::libc::{self, sock_extended_err, sockaddr_in6};
use nix::sys::socket::sockopt::{Ipv4RecvErr, Ipv6RecvErr};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, setsockopt};

use crate::server::IcmpError;

/// Asks the kernel to keep ICMP errors of a socket. Without it nobody hears of them.
pub(super) fn enable<S: AsFd>(socket: &S, v6: bool) -> io::Result<()> {
    let asked = if v6 {
        setsockopt(socket, Ipv6RecvErr, &true)
    } else {
        setsockopt(socket, Ipv4RecvErr, &true)
    };
    asked.map_err(io::Error::from)
}

/// Takes the next error: to whom was sent what came back, and the error if it is one for a client.
/// `None`: there are no more.
///
/// It allocates, as nix does for control messages; errors are no media.
pub(super) fn next(socket: BorrowedFd<'_>) -> Option<(SocketAddr, Option<IcmpError>)> {
    // One message: the error, and who reported it.
    let mut control = nix::cmsg_space!([u8; size_of::<sock_extended_err>() + size_of::<sockaddr_in6>()]);
    loop {
        // The datagram comes back too; nobody wants it.
        let mut parts: [io::IoSliceMut<'_>; 0] = [];
        let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
        match recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut parts, Some(&mut control), flags) {
            Ok(message) => {
                let Some(peer) = message.address.as_ref().and_then(address) else {
                    continue;
                };
                let error = message
                    .cmsgs()
                    .ok()
                    .and_then(|mut all| all.find_map(|one| error(&one)));
                return Some((peer, error));
            }
            Err(Errno::EINTR) => {}
            Err(_) => return None,
        }
    }
}

fn address(storage: &SockaddrStorage) -> Option<SocketAddr> {
    match (storage.as_sockaddr_in(), storage.as_sockaddr_in6()) {
        (Some(v4), _) => Some(SocketAddr::new(IpAddr::from(v4.ip()), v4.port())),
        (_, Some(v6)) => Some(SocketAddr::new(IpAddr::from(v6.ip()), v6.port())),
        _ => None,
    }
}

fn error(message: &ControlMessageOwned) -> Option<IcmpError> {
    let (error, too_long) = match message {
        // Destination unreachable, fragmentation needed and DF set.
        ControlMessageOwned::Ipv4RecvErr(error, _) => (error, (3, 4)),
        // Packet too big.
        ControlMessageOwned::Ipv6RecvErr(error, _) => (error, (2, 0)),
        _ => return None,
    };
    let of_network = [libc::SO_EE_ORIGIN_ICMP, libc::SO_EE_ORIGIN_ICMP6];
    let (kind, code) = if of_network.contains(&error.ee_origin) {
        (error.ee_type, error.ee_code)
    } else if error.ee_origin == libc::SO_EE_ORIGIN_LOCAL && error.ee_errno == libc::EMSGSIZE as u32 {
        // Our own kernel is the first router of the path, and what it knows of the MTU counts.
        too_long
    } else {
        return None;
    };
    let data = error.ee_info;
    Some(IcmpError { kind, code, data })
}
