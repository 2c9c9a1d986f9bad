//! The kernel's own relaying, between network namespaces: what it sends is what the sockets send.

mod cable;
mod compare;
mod ends;
mod moves;
mod processes;

use std::process::Command;

use cable::{Fast, allowed, inside, interfaces, relay};

fn shows_a_program() -> bool {
    let output = Command::new("ip")
        .args(["link", "show", "turn0"])
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap().contains("xdp")
}

#[test]
fn the_program_goes_with_the_last_handle() {
    if !inside("the_program_goes_with_the_last_handle") || !allowed() {
        return;
    }
    // Which is not the registry, though that knows the numbers.
    let registry = prometheus::Registry::new();
    let relay = relay(3478, Fast::Generic, &registry);
    assert!(shows_a_program());
    drop(relay);
    assert!(!shows_a_program());
    assert_eq!(interfaces(&registry, "off"), 1);
}
