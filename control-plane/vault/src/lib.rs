//! Keys: derivation by epoch, token signing, JWKS
