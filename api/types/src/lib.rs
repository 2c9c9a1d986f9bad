//! Request and response types of the public API
