//! The log against those who rule the database and the object storage.

mod proving;
mod tamper;
mod turning;
mod world;
