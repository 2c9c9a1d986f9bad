//! The store against a real PostgreSQL: one database per test.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on says where; helpers included"
)]

mod embedded;
mod schema;
