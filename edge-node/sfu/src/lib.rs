//! Pure selective forwarding core on str0m: rooms, slots, layers, mesh
