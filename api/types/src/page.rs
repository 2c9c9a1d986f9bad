//! Lists in pages.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// Items of a page when the caller does not say.
pub const LIMIT_DEFAULT: u32 = 50;
/// Most items of a page: keeps an answer near 100 kB.
pub const LIMIT_MAX: u32 = 200;

/// Which page of a list.
#[derive(Clone, Debug, Default, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PageQuery {
    /// `next_cursor` of the page before; absent for the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// Most items to return, 1 to 200; 50 when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(minimum = 1, maximum = 200)]
    pub limit: Option<u32>,
}

/// One page of a list.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Page<T> {
    /// The items, in the order the route documents.
    pub items: Vec<T>,
    /// Opaque; pass it as `cursor` for the next page. `null` at the end.
    #[schema(required)]
    pub next_cursor: Option<String>,
}

/// A short list that needs no pages.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct List<T> {
    /// All the items, in the order the route documents.
    pub items: Vec<T>,
}
