//! The tests of signaling from outside, as one program. Each program compiles `support` and links some 70 MB anew.
//!
//! A new file in this folder needs its line here. `cargo test --test all rest::` runs the tests of one file.

#[path = "../support/mod.rs"]
mod support;

mod call;
mod cdr;
mod codecs;
mod contract;
mod first_generation;
mod front_door;
mod http_socket;
mod invitations;
mod joined;
mod limits;
mod modes;
mod monitor;
mod openapi;
mod reconnect;
mod refusals;
mod rest;
mod rpc;
mod sdp;
mod secret;
mod spread;
mod tls;
mod turn;
mod webhook;

/// A file without its line would never run.
#[test]
fn each_file_has_its_line() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/all");
    let lines: Vec<&str> = include_str!("main.rs").lines().collect();
    for entry in std::fs::read_dir(folder).expect("the folder of this file") {
        let file = entry.expect("an entry").file_name().into_string().expect("a name in ASCII");
        if let Some(name) = file.strip_suffix(".rs").filter(|name| *name != "main") {
            assert!(
                lines.contains(&format!("mod {name};").as_str()),
                "tests/all/main.rs lacks `mod {name};`"
            );
        }
    }
}
