//! Pure clinical domain: identity, schedule, visit, consent, audit
