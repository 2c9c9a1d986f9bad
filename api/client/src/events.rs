//! Server-sent events of a visit.

use medmesh_api_types::visit::VisitEvent;
use reqwest::Response;

use crate::ClientError;

/// Longest event read: a visit of six people and a message of four thousand characters stay below.
const EVENT_BYTES_MAX: usize = 256 * 1024;

/// An open stream of events.
#[derive(Debug)]
pub struct Events {
    response: Response,
    unread: Vec<u8>,
}

impl Events {
    pub(crate) fn new(response: Response) -> Self {
        Self {
            response,
            unread: Vec::new(),
        }
    }

    /// The next event; `None` when the server has ended the stream. Cancelling loses nothing.
    ///
    /// # Errors
    /// When the connection breaks, or what comes is no event.
    pub async fn next(&mut self) -> Result<Option<VisitEvent>, ClientError> {
        loop {
            while let Some(block) = self.block() {
                if let Some(event) = parse(&block)? {
                    return Ok(Some(event));
                }
            }
            match self.response.chunk().await? {
                Some(chunk) => self.unread.extend_from_slice(&chunk),
                None => return Ok(None),
            }
            if self.unread.len() > EVENT_BYTES_MAX {
                return Err(malformed());
            }
        }
    }

    /// What stands before the next blank line.
    fn block(&mut self) -> Option<Vec<u8>> {
        let end = self.unread.windows(2).position(|pair| pair == b"\n\n")?;
        let mut block: Vec<u8> = self.unread.drain(..end + 2).collect();
        block.truncate(end);
        Some(block)
    }
}

/// One event; `None` for comments and for names this version does not know.
pub(crate) fn parse(block: &[u8]) -> Result<Option<VisitEvent>, ClientError> {
    let text = std::str::from_utf8(block).map_err(|_| malformed())?;
    let (mut name, mut data) = ("message", String::new());
    for line in text.lines() {
        match line
            .split_once(':')
            .map(|(field, value)| (field, value.strip_prefix(' ').unwrap_or(value)))
        {
            Some(("event", value)) => name = value,
            Some(("data", value)) => {
                if !data.is_empty() {
                    data.push('\n');
                }
                data.push_str(value);
            }
            _ => {}
        }
    }
    if data.is_empty() {
        return Ok(None);
    }
    let event = match name {
        "visit" => VisitEvent::Visit(decode(&data)?),
        "message" => VisitEvent::Message(decode(&data)?),
        "ping" => VisitEvent::Ping,
        _ => return Ok(None),
    };
    Ok(Some(event))
}

fn decode<T: serde::de::DeserializeOwned>(data: &str) -> Result<T, ClientError> {
    serde_json::from_str(data).map_err(|_| malformed())
}

fn malformed() -> ClientError {
    ClientError::Unexpected { status: 200 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_parse_and_the_unknown_is_skipped() {
        assert_eq!(parse(b"event: ping\ndata: {}").unwrap(), Some(VisitEvent::Ping));
        assert_eq!(parse(b"retry: 1000").unwrap(), None);
        assert_eq!(parse(b": comment").unwrap(), None);
        assert_eq!(parse(b"event: later\ndata: {}").unwrap(), None);
        assert!(parse(b"event: visit\ndata: {").is_err());
    }
}
