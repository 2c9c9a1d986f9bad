//! The log against those who rule the database and the object storage.

mod months;
mod proving;
mod tamper;
mod turning;
mod world;
