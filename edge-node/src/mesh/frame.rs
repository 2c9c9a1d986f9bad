//! Length-delimited protobuf on a stream: a varint length, then the message.

use std::io;

use bytes::{Buf as _, BytesMut};
use medmesh_wire::mesh::MeshMessage;
use prost::Message as _;
use prost::encoding::{decode_varint, encoded_len_varint};
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// Largest message: the state of a room with a thousand participants.
const MESSAGE_BYTES_MAX: usize = 512 * 1024;
/// A varint is at most ten bytes.
const VARINT_BYTES_MAX: usize = 10;

/// Reads messages off a stream.
pub(crate) struct FrameReader<R> {
    stream: R,
    buffer: BytesMut,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    pub(crate) fn new(stream: R) -> Self {
        Self {
            stream,
            buffer: BytesMut::new(),
        }
    }

    /// The next message; `None` at a clean end. Not safe to cancel between bytes of one
    /// message only in that the bytes stay in the buffer: calling again goes on.
    pub(crate) async fn next(&mut self) -> io::Result<Option<MeshMessage>> {
        loop {
            if let Some(message) = take(&mut self.buffer)? {
                return Ok(Some(message));
            }
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return if self.buffer.is_empty() {
                    Ok(None)
                } else {
                    Err(io::ErrorKind::UnexpectedEof.into())
                };
            }
        }
    }
}

/// Takes one whole message off the front, if it is all there.
pub(crate) fn take(buffer: &mut BytesMut) -> io::Result<Option<MeshMessage>> {
    let invalid = |what| io::Error::new(io::ErrorKind::InvalidData, what);
    let mut peek = &buffer[..];
    let length = match decode_varint(&mut peek) {
        Ok(length) => length,
        Err(_) if buffer.len() < VARINT_BYTES_MAX => return Ok(None),
        Err(_) => return Err(invalid("not a length")),
    };
    let length = usize::try_from(length)
        .ok()
        .filter(|length| *length <= MESSAGE_BYTES_MAX)
        .ok_or_else(|| invalid("message too large"))?;
    if peek.len() < length {
        return Ok(None);
    }
    let head = buffer.len() - peek.len();
    buffer.advance(head);
    let body = buffer.split_to(length).freeze();
    MeshMessage::decode(body)
        .map(Some)
        .map_err(|_| invalid("not a mesh message"))
}

/// A message with its length in front.
pub(crate) fn frame(message: &MeshMessage) -> Vec<u8> {
    let length = message.encoded_len();
    let mut bytes = Vec::with_capacity(length + encoded_len_varint(length as u64));
    message
        .encode_length_delimited(&mut bytes)
        .expect("the buffer grows");
    bytes
}
