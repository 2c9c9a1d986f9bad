//! What a standalone TURN relay says of itself on its `/metrics`.

use medmesh_api_types::fleet::RelayHeadroom;
use reqwest::header::HeaderMap;

use crate::ClientError;
use crate::transport::Transport;

/// Allocations that live, as the relay's metrics name them.
const ALLOCATIONS: &str = "medmesh_turn_allocations";
/// Allocations it may hold.
const ALLOCATIONS_MAX: &str = "medmesh_turn_allocations_max";

/// Asks the relay whose metrics are served under `base_url` (`http://HOST:PORT`) how much room it
/// has. With `ca_pem` only certificates under it are trusted, else the system's.
///
/// # Errors
/// [`ClientError`]; [`ClientError::Unexpected`] where the answer is not a relay's metrics.
pub async fn relay_headroom(base_url: &str, ca_pem: Option<&[u8]>) -> Result<RelayHeadroom, ClientError> {
    let transport = Transport::new(base_url, None, ca_pem)?;
    let answer = transport
        .send(reqwest::Method::GET, "/metrics", HeaderMap::new(), None)
        .await?;
    let text = String::from_utf8_lossy(&answer.bytes);
    let (Some(allocations), Some(allocations_max)) =
        (gauge(&text, ALLOCATIONS), gauge(&text, ALLOCATIONS_MAX))
    else {
        return Err(answer.unexpected());
    };
    Ok(RelayHeadroom {
        url: base_url.to_owned(),
        allocations,
        allocations_max,
        spare_allocations: allocations_max.saturating_sub(allocations),
    })
}

/// The value of a gauge without labels in Prometheus' text format.
pub(crate) fn gauge(text: &str, name: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| {
        let (found, value) = line.split_once(' ')?;
        (found == name).then_some(value)
    })?;
    value.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gauge_is_found_by_its_whole_name() {
        let text = "# TYPE medmesh_turn_allocations gauge\nmedmesh_turn_allocations_max 16384\n\
                    medmesh_turn_allocations 12\nmedmesh_turn_bytes{direction=\"up\"} 7\n";
        assert_eq!(gauge(text, ALLOCATIONS), Some(12));
        assert_eq!(gauge(text, ALLOCATIONS_MAX), Some(16_384));
        assert_eq!(gauge(text, "medmesh_turn_bytes"), None);
    }
}
