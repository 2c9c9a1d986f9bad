//! Load generator, peers side by side, limits
