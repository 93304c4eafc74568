//! The hot path to be counted in instructions, not timed: `cargo xtask instructions` runs one shape after the other under
//! callgrind, which collects inside [`counted`] alone. The cipher and the C library are left out of the count.
//!
//! Counts do not depend on how busy a machine is, so a change of a few per cent shows.

mod rig;

use std::process::ExitCode;

use rig::{Media, Rig};

/// Packets counted of each shape.
const PACKETS: usize = 256;
const VIDEO_BYTES: usize = 1100;
const AUDIO_BYTES: usize = 100;

/// Name, media, viewers, packets that come together.
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

/// With the name of a shape: runs it. Without: one line for each, its name and the packets it delivers.
#[allow(clippy::print_stdout, reason = "it is read by the task that counts")]
fn main() -> ExitCode {
    // Cargo adds `--bench`.
    let Some(wanted) = std::env::args().skip(1).find(|word| !word.starts_with('-')) else {
        SHAPES.iter().for_each(|(name, _, viewers, _)| println!("{name} {}", viewers * PACKETS));
        return ExitCode::SUCCESS;
    };
    let Some(&(_, media, viewers, burst)) = SHAPES.iter().find(|(name, ..)| *name == wanted) else {
        return ExitCode::FAILURE;
    };
    let len = if media == Media::Video { VIDEO_BYTES } else { AUDIO_BYTES };
    let mut rig = Rig::room(media, 1, viewers);
    // The first packets make what is made once: the cache, the estimate of the roll-over counter.
    let mut first = rig.packets(0, 16, len);
    first.chunks_mut(1).for_each(|packet| rig.deliver(0, packet));
    let before = rig.egress.datagrams;
    let mut packets = rig.packets(0, PACKETS, len);
    counted(&mut rig, &mut packets, burst);
    assert_eq!(rig.egress.datagrams - before, (PACKETS * viewers) as u64, "every packet goes to everyone");
    ExitCode::SUCCESS
}
