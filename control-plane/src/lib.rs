//! The control plane: REST, portals, fleet state, placement
