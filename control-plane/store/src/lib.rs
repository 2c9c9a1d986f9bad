//! All SQL: one file per aggregate, idempotency, audit, tenancy
