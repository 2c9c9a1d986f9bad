//! The clinic's values as FHIR R4 (4.0.1), for other systems.
//!
//! Pure: values in, resources out. Nothing is looked up, and nothing is left out
//! silently: what a resource cannot say is not asked of it.

mod audit_event;
pub mod record;

pub use audit_event::{AuditEvent, Bundle, Person, Source, audit_event, bundle};
