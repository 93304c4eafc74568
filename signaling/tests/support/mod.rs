//! A signaling to talk to, a relay that only remembers, and clients that speak frame by frame.

#![allow(dead_code, unreachable_pub, unused_imports, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod client;
mod http;
mod receiver;
mod relay;
mod world;

use std::fmt::Write as _;

pub use client::{Client, Odd, join_params, publish_params};
pub use http::{Answer, exchange, request};
pub use millrace_testkit::scratch;
pub use receiver::{Reaction, Receiver, Told};
pub use relay::{FakeRelay, Held};
pub use world::{Process, SECRET, World, basic, join, session, token};

/// What a Chromium sends to publish camera and microphone.
pub const PUBLISH: &str = include_str!("../fixtures/chromium-156/publish-camera.sdp");
/// What openvidu-browser 1.9.0 sends to publish both in the same browser.
pub const PUBLISH_FIRST: &str = include_str!("../fixtures/chromium-156/publish-first-generation.sdp");
/// What it sends to watch both.
pub const SUBSCRIBE: &str = include_str!("../fixtures/chromium-156/subscribe-both.sdp");

/// What a browser that can do everything answers to an offer of ours.
pub fn answer_to(offer: &str) -> String {
    let ours = ["a=ice-lite", "a=candidate:", "a=end-of-candidates", "a=ssrc", "a=msid", "b="];
    let mut answer = String::new();
    for line in offer.lines().filter(|line| !ours.iter().any(|start| line.starts_with(start))) {
        let line = match line.split_once(':').map_or(line, |(key, _)| key) {
            "a=sendonly" => "a=recvonly",
            "a=setup" => "a=setup:active",
            "a=ice-ufrag" => "a=ice-ufrag:brow",
            "a=ice-pwd" => "a=ice-pwd:passwordOfTheBrowser++++",
            _ => line,
        };
        write!(answer, "{line}\r\n").unwrap();
    }
    answer
}

/// Seconds since 1970.
pub fn now_s() -> u64 {
    std::time::UNIX_EPOCH.elapsed().unwrap().as_secs()
}

/// Nothing in a test takes longer, however slow the machine.
pub const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);
