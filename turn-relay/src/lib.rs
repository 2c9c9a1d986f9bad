//! Sans-IO TURN server, its UDP driver and the standalone relay
