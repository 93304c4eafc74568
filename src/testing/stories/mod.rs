//! What the relay does, told as calls.

mod bridge;
mod call;
mod commands;
mod cost;
mod hostile;
mod reconnect;
mod recovery;
mod repeatable;
mod repoint;
mod streams;
mod told;
mod transport;

use std::time::Duration;

use super::browser::heard::What;
use super::browser::sink::Sink;
use super::browser::source::Sent;
use super::media::Codec;
use super::world::{Camera, View, World};

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// The viewer has every packet of the camera from its first key frame on: each once, in order, unchanged, under numbers
/// without a gap.
#[track_caller]
fn assert_all_seen(world: &World<'_>, view: View, camera: Camera) {
    assert_all_arrived(&world.sent(camera), world.seen(view), camera.codec);
}

/// The same where sender and receiver are on different shards.
#[track_caller]
fn assert_all_arrived(sent: &[&Sent], seen: &Sink, codec: Codec) {
    assert!(seen.packets.len() > 2, "hardly anything arrived");
    assert_eq!(seen.missing(), Vec::<u64>::new());
    let payloads = seen.payloads();
    let start = sent.iter().position(|sent| sent.payload == payloads[0]).expect("a packet of this camera");
    assert!(sent[start].key || !codec.is_video(), "it begins at a key frame");
    let wanted: Vec<_> = sent[start..].iter().map(|sent| &sent.payload[..]).collect();
    assert!(payloads == wanted, "{} packets seen, {} sent since the start", payloads.len(), wanted.len());
    let markers = |markers: &mut dyn Iterator<Item = bool>| markers.collect::<Vec<_>>();
    let seen_markers =
        markers(&mut seen.packets.values().filter(|packet| !packet.padding).map(|packet| packet.marker));
    assert_eq!(seen_markers, markers(&mut sent[start..].iter().map(|sent| sent.marker)));
}

/// What a browser heard of one kind, in order.
fn heard<T>(world: &World<'_>, browser: usize, pick: impl FnMut(&What) -> Option<T>) -> Vec<T> {
    world.rest.browsers[browser].heard.iter().map(|heard| &heard.what).filter_map(pick).collect()
}
