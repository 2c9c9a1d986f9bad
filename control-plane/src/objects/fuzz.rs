//! What the fuzzer drives of object storage: the answers to what `object_store` does not ask.
//!
//! Compiled for tests and with `--cfg fuzzing` only.

use reqwest::StatusCode;

use super::ask::Answer;
use super::lock::{Locked, locked};
use super::{passing, versions};
use crate::fuzz::split;

/// Reads `data` as `which question u8 | body`.
pub fn answers(data: &[u8]) {
    let (which, data) = split(data);
    let body = String::from_utf8_lossy(data).into_owned();
    match which % 4 {
        0 => {
            let status = StatusCode::OK;
            if let Ok(Locked::For { .. }) = locked(&Answer {
                status,
                body: body.clone(),
            }) {
                assert!(
                    body.contains("ObjectLockEnabled"),
                    "believed in where nothing says it"
                );
            }
        }
        1 => {
            let status = StatusCode::NOT_FOUND;
            let found = locked(&Answer { status, body });
            assert!(!matches!(found, Ok(Locked::For { .. })), "an answer that is none");
        }
        2 => {
            let _ = passing::versions(&body);
        }
        _ => {
            if let Some(page) = versions::page(&body) {
                assert!(page.found.len() <= body.len());
                assert!(page.next.is_none() || body.contains("IsTruncated"));
            }
        }
    }
}
