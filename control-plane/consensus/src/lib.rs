//! openraft behind one handle: log store, network over links, state machine
