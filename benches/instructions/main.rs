//! The packet path, to be counted in instructions: `cargo xtask instructions` runs each shape under callgrind, which counts
//! only inside [`counted`]. A count does not depend on the load of the machine, so it shows a change of a few per cent.

#[path = "../rig/mod.rs"]
mod rig;

use std::process::ExitCode;

use rig::{Media, Rig};

/// Packets of each shape that are counted.
const PACKETS: usize = 256;
const VIDEO_BYTES: usize = 1100;
const AUDIO_BYTES: usize = 100;

/// Name, media, viewers, packets in a burst.
const SHAPES: [(&str, Media, usize, usize); 5] = [
    ("video-1", Media::Video, 1, 1),
    ("video-50", Media::Video, 50, 1),
    ("video-50-bursts-of-8", Media::Video, 50, 8),
    ("audio-3", Media::Audio, 3, 1),
    ("audio-50", Media::Audio, 50, 1),
];

#[inline(never)]
fn counted(rig: &mut Rig, packets: &mut [Vec<u8>], burst: usize) {
    packets.chunks_mut(burst).for_each(|burst| rig.deliver(0, burst));
}

/// Runs the shape that the argument names. Without an argument it prints a line for each shape: name, delivered packets.
#[allow(clippy::print_stdout, reason = "xtask reads it")]
fn main() -> ExitCode {
    let Some(wanted) = std::env::args().nth(1) else {
        SHAPES.iter().for_each(|(name, _, viewers, _)| println!("{name} {}", viewers * PACKETS));
        return ExitCode::SUCCESS;
    };
    let Some(&(_, media, viewers, burst)) = SHAPES.iter().find(|(name, ..)| *name == wanted) else {
        return ExitCode::FAILURE;
    };
    let len = if media == Media::Video { VIDEO_BYTES } else { AUDIO_BYTES };
    let mut rig = Rig::room(media, 1, viewers);
    // Not counted: the first packets make the cache and the estimate of the roll-over counter.
    let mut first = rig.packets(0, 16, len);
    first.chunks_mut(1).for_each(|packet| rig.deliver(0, packet));
    let before = rig.egress.datagrams;
    let mut packets = rig.packets(0, PACKETS, len);
    counted(&mut rig, &mut packets, burst);
    assert_eq!(rig.egress.datagrams - before, (PACKETS * viewers) as u64, "each viewer gets each packet");
    ExitCode::SUCCESS
}
