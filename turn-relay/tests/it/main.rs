//! The relay over real sockets: other people's clients, other people's server, our process.
#![allow(clippy::unwrap_used, reason = "in a test a failure is an answer")]

mod aioice;
mod clients;
mod coturn;
mod differential;
mod handle;
mod headroom;
mod icmp;
mod load;
mod operation;
mod own_host;
mod process;
mod rotation;
mod rotation_process;
mod streams;
mod support;
mod tcp_peers;
mod wire;
mod xdp;
