//! The store against a real PostgreSQL: one database per test.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on says where; helpers included"
)]

mod audit;
mod audit_months;
mod audit_view;
mod booking;
mod booking_model;
mod embedded;
mod factor;
mod idempotency;
mod key_opened;
mod outbox;
mod people;
mod refusals;
mod rights;
mod rls;
mod rotation;
mod schema;
mod sealed;
mod search;
mod session;
mod support;
mod tenancy;
mod visit;
