//! The limit: a program that seals packets with AES-256-GCM and sends them in the
//! batch shape of the load, and does nothing else.

use std::io::IoSlice;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd as _;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use clap::Args;
use nix::errno::Errno;
use nix::sys::socket::{ControlMessage, MsgFlags, SockaddrStorage, sendmsg};

use super::clients::Load;
use super::process::Server;

/// What the sealing program is told.
#[derive(Args, Clone, Debug)]
pub struct Shape {
    /// Where to send: one port per subscriber.
    #[arg(long, value_delimiter = ',')]
    pub ports: Vec<u16>,
    /// Packets to one subscriber at once.
    #[arg(long)]
    pub burst: usize,
    /// Bytes of each.
    #[arg(long)]
    pub payload: usize,
}

/// RTP header with extensions, and the authentication tag.
const OVERHEAD: usize = 24;
const TAG: usize = 16;

/// Packets per second of CPU under the load's shape.
pub(crate) fn run(load: &Load, time: Duration) -> anyhow::Result<f64> {
    let sinks: Vec<UdpSocket> = (0..load.subscribers)
        .map(|_| UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)))
        .collect::<Result<_, _>>()?;
    let ports: Vec<String> = sinks
        .iter()
        .map(|s| s.local_addr().map(|a| a.port().to_string()))
        .collect::<Result<_, _>>()?;
    let mut command = Command::new(std::env::current_exe()?);
    command
        .args(["seal", "--ports", &ports.join(",")])
        .args([
            "--burst",
            &load.burst.to_string(),
            "--payload",
            &load.payload.to_string(),
        ])
        .stdin(Stdio::null());
    let received = Arc::new(AtomicU64::new(0));
    let stop = Arc::new(AtomicBool::new(false));
    let reader = {
        let (received, stop) = (Arc::clone(&received), Arc::clone(&stop));
        std::thread::spawn(move || drain(&sinks, &received, &stop))
    };
    let server = Server::start(&mut command)?;
    std::thread::sleep(Duration::from_millis(300));
    let (cpu, got) = (server.cpu_seconds()?, received.load(Ordering::Relaxed));
    std::thread::sleep(time.min(Duration::from_secs(3)));
    let (cpu, got) = (
        server.cpu_seconds()? - cpu,
        received.load(Ordering::Relaxed) - got,
    );
    drop(server);
    stop.store(true, Ordering::Relaxed);
    anyhow::ensure!(reader.join().is_ok(), "the reader panicked");
    Ok(got as f64 / cpu.max(0.01))
}

/// Counts what comes (by the sender's own running number, so that a slow reader does not count).
fn drain(sinks: &[UdpSocket], received: &AtomicU64, stop: &AtomicBool) {
    let mut buffer = [0; 2_048];
    for sink in sinks {
        // A sink that stays blocking would hold the reader up for good.
        if sink.set_nonblocking(true).is_err() {
            return;
        }
    }
    while !stop.load(Ordering::Relaxed) {
        let mut newest = 0;
        for sink in sinks {
            while let Ok(length) = sink.recv(&mut buffer) {
                if let Some(Ok(number)) = buffer[..length].get(..8).map(TryInto::try_into) {
                    newest = newest.max(u64::from_be_bytes(number));
                }
            }
        }
        received.fetch_max(newest, Ordering::Relaxed);
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Seals and sends until it is ended.
///
/// # Errors
/// When the socket fails.
pub fn seal(shape: &Shape) -> anyhow::Result<()> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    let key = UnboundKey::new(&AES_256_GCM, &[7; 32]).map_err(|_| anyhow::anyhow!("32 bytes are a key"))?;
    let key = LessSafeKey::new(key);
    let destinations: Vec<SockaddrStorage> = shape
        .ports
        .iter()
        .map(|port| SockaddrStorage::from(SocketAddr::from((Ipv4Addr::LOCALHOST, *port))))
        .collect();
    let size = OVERHEAD + shape.payload + TAG;
    let mut batch = vec![vec![0u8; size]; shape.burst];
    let until = Instant::now() + Duration::from_secs(60);
    let mut number = 0u64;
    while Instant::now() < until {
        for destination in &destinations {
            for packet in &mut batch {
                number += 1;
                fill(&key, packet, number)?;
            }
            send(&socket, &batch, destination)?;
        }
    }
    Ok(())
}

fn fill(key: &LessSafeKey, packet: &mut [u8], number: u64) -> anyhow::Result<()> {
    let mut nonce = [0; 12];
    nonce[4..].copy_from_slice(&number.to_be_bytes());
    packet[..8].copy_from_slice(&number.to_be_bytes());
    let (header, body) = packet.split_at_mut(OVERHEAD);
    let (payload, room) = body.split_at_mut(body.len() - TAG);
    let tag = key
        .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(&*header), payload)
        .map_err(|_| anyhow::anyhow!("a packet is far below the limit of the cipher"))?;
    room.copy_from_slice(tag.as_ref());
    Ok(())
}

fn send(socket: &UdpSocket, batch: &[Vec<u8>], destination: &SockaddrStorage) -> anyhow::Result<()> {
    let slices: Vec<IoSlice<'_>> = batch.iter().map(|p| IoSlice::new(p)).collect();
    let size = u16::try_from(batch[0].len())?;
    let segments = [ControlMessage::UdpGsoSegments(&size)];
    let control: &[ControlMessage<'_>] = if batch.len() > 1 { &segments } else { &[] };
    match sendmsg(
        socket.as_raw_fd(),
        &slices,
        control,
        MsgFlags::empty(),
        Some(destination),
    ) {
        Ok(_) | Err(Errno::ENOBUFS | Errno::EAGAIN | Errno::ECONNREFUSED) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
