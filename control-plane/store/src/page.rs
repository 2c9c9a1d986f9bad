//! Listings by keyset: the next page starts after the last row of this one, so
//! that rows added or removed in between neither repeat nor go missing.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::StoreError;

/// Rows of a page when the caller names no number.
pub const PAGE_DEFAULT: u32 = 50;

/// Most rows of a page; each is an audit leaf as well.
pub const PAGE_MAX: u32 = 200;

/// Where a page starts: after the row with this key. Opaque outside; holds an
/// instant and an id, never health data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    pub(crate) at: OffsetDateTime,
    pub(crate) id: Uuid,
}

impl Cursor {
    /// Of a listing in the order of ids.
    #[must_use]
    pub const fn by_id(id: Uuid) -> Self {
        Self {
            at: OffsetDateTime::UNIX_EPOCH,
            id,
        }
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = i64::try_from(self.at.unix_timestamp_nanos() / 1_000).unwrap_or(i64::MAX);
        let mut bytes = [0; 24];
        bytes[..8].copy_from_slice(&micros.to_be_bytes());
        bytes[8..].copy_from_slice(self.id.as_bytes());
        f.write_str(&URL_SAFE_NO_PAD.encode(bytes))
    }
}

impl FromStr for Cursor {
    type Err = StoreError;
    fn from_str(text: &str) -> Result<Self, StoreError> {
        let bytes = URL_SAFE_NO_PAD
            .decode(text)
            .map_err(|_| StoreError::CursorInvalid)?;
        let (micros, id) = bytes.split_first_chunk::<8>().ok_or(StoreError::CursorInvalid)?;
        let nanos = i128::from(i64::from_be_bytes(*micros)) * 1_000;
        Ok(Self {
            at: OffsetDateTime::from_unix_timestamp_nanos(nanos).map_err(|_| StoreError::CursorInvalid)?,
            id: Uuid::from_slice(id).map_err(|_| StoreError::CursorInvalid)?,
        })
    }
}

/// Which page is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PageRequest {
    /// Where it starts; the beginning without.
    pub cursor: Option<Cursor>,
    /// How many rows at most; [`PAGE_DEFAULT`] without, [`PAGE_MAX`] at most.
    pub limit: Option<u32>,
}

impl PageRequest {
    /// Rows of the page, within bounds.
    pub(crate) fn rows(self) -> usize {
        self.limit.unwrap_or(PAGE_DEFAULT).clamp(1, PAGE_MAX) as usize
    }

    /// Rows to fetch: one more tells whether there is a next page.
    pub(crate) fn fetch(self) -> i64 {
        self.rows() as i64 + 1
    }

    pub(crate) fn at(self) -> Option<OffsetDateTime> {
        self.cursor.map(|cursor| cursor.at)
    }

    pub(crate) fn id(self) -> Option<Uuid> {
        self.cursor.map(|cursor| cursor.id)
    }
}

/// Some rows of a listing, and where the rest begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// The rows.
    pub items: Vec<T>,
    /// The next page, unless this was the last.
    pub next_cursor: Option<Cursor>,
}

impl<T> Page<T> {
    /// The same page of something else.
    pub(crate) fn try_map<U>(
        self,
        item: impl FnMut(T) -> Result<U, StoreError>,
    ) -> Result<Page<U>, StoreError> {
        Ok(Page {
            items: self.items.into_iter().map(item).collect::<Result<_, _>>()?,
            next_cursor: self.next_cursor,
        })
    }

    pub(crate) fn of(mut rows: Vec<T>, request: PageRequest, key: impl Fn(&T) -> Cursor) -> Self {
        let more = rows.len() > request.rows();
        rows.truncate(request.rows());
        let next_cursor = if more { rows.last().map(key) } else { None };
        Self {
            items: rows,
            next_cursor,
        }
    }
}
