//! What a run is asked to do.

use std::net::IpAddr;
use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::failure::Failure;
use crate::peer::Profile;
use crate::sdp::Kind;
use crate::stamp::PAYLOAD_LEN_MIN;

/// Largest payload that fits a datagram of 1 280 bytes with header, extensions and tag.
const PAYLOAD_LEN_MAX: u16 = 1200;
/// Size of an audio payload, like 20 ms of Opus at 40 kbit/s.
const AUDIO_PAYLOAD_LEN: usize = 100;
/// Audio packets a second beside video: 20 ms each.
const AUDIO_RATE: f64 = 50.0;

/// Kinds of media to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Codec {
    /// Video only.
    Vp8,
    /// Audio only.
    Opus,
    /// Audio and video.
    Both,
}

/// Options of `smoke`.
#[derive(Args, Clone, Debug)]
pub struct SmokeOptions {
    /// Address of the server, http or https; any certificate is accepted.
    #[arg(long, default_value = "https://127.0.0.1:4443")]
    pub url: String,
    /// The server's secret.
    #[arg(long, env = "MILLRACE_SECRET")]
    pub secret: String,
    /// Viewers, each with a connection of its own to every publisher's stream.
    #[arg(long, default_value_t = 3)]
    pub viewers: usize,
    /// Publishers.
    #[arg(long, default_value_t = 1)]
    pub publishers: usize,
    /// Packets each publisher sends of its first kind.
    #[arg(long, default_value_t = 1000)]
    pub packets: u64,
    /// Packets a second.
    #[arg(long, default_value_t = 200.0)]
    pub rate: f64,
    /// RTP payload bytes of a video packet (audio of an audio-only run).
    #[arg(long, default_value_t = 1100)]
    pub size: u16,
    /// SRTP profile to offer.
    #[arg(long, value_enum, default_value = "any")]
    pub profile: Profile,
    /// Send for this many seconds instead of a number of packets.
    #[arg(long, value_name = "SECONDS")]
    pub duration: Option<f64>,
    /// What to send.
    #[arg(long, value_enum, default_value = "vp8")]
    pub codec: Codec,
    /// Send audio beside video; the same as `--codec both`.
    #[arg(long)]
    pub audio: bool,
    /// Name of the session; without it the server makes one up.
    #[arg(long, default_value = "")]
    pub session: String,
    /// A key frame at least every this many video packets.
    #[arg(long, default_value_t = 300)]
    pub keyframe_every: u64,
    /// One more viewer joins this many seconds after the counting began.
    #[arg(long, value_name = "SECONDS")]
    pub join_late: Option<f64>,
    /// Viewers ask for missing packets; what comes back is counted apart and heals nothing.
    #[arg(long)]
    pub nack: bool,
    /// A JSON line of progress on stderr every second.
    #[arg(long)]
    pub hold: bool,
    /// One JSON object on stdout instead of the table.
    #[arg(long)]
    pub json: bool,
    /// Connect to this one of the announced addresses; one that is not announced fails the run.
    #[arg(long, value_name = "IP")]
    pub candidate: Option<IpAddr>,
    /// Hold the relay's own counters against its promises while the counted packets run. Nothing else may use it.
    #[arg(long)]
    pub account: bool,
    /// Seconds every participant has for coming up.
    #[arg(long, default_value_t = 20.0)]
    pub setup_timeout: f64,
}

/// One kind of media of a run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Plan {
    /// Audio or video.
    pub kind: Kind,
    /// Packets to count.
    pub packets: u64,
    /// Packets a second.
    pub rate: f64,
    /// Payload bytes.
    pub payload_len: usize,
    /// Packets of one frame.
    pub frame_packets: u64,
}

impl SmokeOptions {
    /// Checks what clap cannot.
    ///
    /// # Errors
    /// [`Failure::Usage`] names the option.
    pub fn check(&self) -> Result<(), Failure> {
        let usage = |why: String| Err(Failure::Usage(why));
        if !(1.0..=100_000.0).contains(&self.rate) {
            return usage(format!("--rate {} is not between 1 and 100000", self.rate));
        }
        if usize::from(self.size) < PAYLOAD_LEN_MIN || self.size > PAYLOAD_LEN_MAX {
            return usage(format!(
                "--size {} is not between {PAYLOAD_LEN_MIN} and {PAYLOAD_LEN_MAX}",
                self.size
            ));
        }
        if self.publishers == 0 || self.publishers > usize::from(u16::MAX >> 1) {
            return usage("--publishers must be 1 to 32767".to_owned());
        }
        if self.viewers == 0 && self.join_late.is_none() {
            return usage("nobody watches: --viewers is 0".to_owned());
        }
        for (name, seconds) in [("duration", self.duration), ("join-late", self.join_late)] {
            if seconds.is_some_and(|seconds| !(0.0..=1e6).contains(&seconds)) {
                return usage(format!("--{name} must be 0 to 1000000 seconds"));
            }
        }
        if !(0.1..=3600.0).contains(&self.setup_timeout) {
            return usage("--setup-timeout must be 0.1 to 3600 seconds".to_owned());
        }
        Ok(())
    }

    /// Time for one participant to come up.
    #[must_use]
    pub fn setup_limit(&self) -> Duration {
        Duration::from_secs_f64(self.setup_timeout)
    }

    /// What each publisher sends, audio first as in the SDP.
    #[must_use]
    pub fn plans(&self) -> Vec<Plan> {
        let packets = self.duration.map_or(self.packets, |seconds| (seconds * self.rate).round() as u64);
        let size = usize::from(self.size);
        // Some thirty frames a second.
        let frame_packets = ((self.rate / 30.0).round() as u64).max(1);
        let video = Plan { kind: Kind::Video, packets, rate: self.rate, payload_len: size, frame_packets };
        let seconds = packets as f64 / self.rate;
        let beside = Plan {
            kind: Kind::Audio,
            packets: (seconds * AUDIO_RATE).ceil() as u64,
            rate: AUDIO_RATE,
            payload_len: AUDIO_PAYLOAD_LEN.min(size),
            frame_packets: 1,
        };
        let alone = Plan { kind: Kind::Audio, frame_packets: 1, ..video };
        match (self.codec, self.audio) {
            (Codec::Vp8, false) => vec![video],
            (Codec::Opus, _) => vec![alone],
            (Codec::Both, _) | (Codec::Vp8, true) => vec![beside, video],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        smoke: SmokeOptions,
    }

    fn parse(args: &[&str]) -> SmokeOptions {
        Cli::parse_from(["x", "--secret", "s"].iter().chain(args)).smoke
    }

    #[test]
    fn plans_follow_codec_and_duration() {
        let plans = parse(&["--duration", "30", "--rate", "1000", "--audio"]).plans();
        assert_eq!((plans[0].kind, plans[0].packets, plans[0].rate), (Kind::Audio, 1500, 50.0));
        assert_eq!((plans[1].kind, plans[1].packets, plans[1].frame_packets), (Kind::Video, 30_000, 33));
        let opus = parse(&["--codec", "opus", "--packets", "10"]).plans();
        assert_eq!((opus.len(), opus[0].kind, opus[0].packets), (1, Kind::Audio, 10));
    }

    #[test]
    fn impossible_options_are_named() {
        for args in [&["--rate", "0"][..], &["--size", "10"], &["--publishers", "0"], &["--viewers", "0"]] {
            let why = parse(args).check().unwrap_err().to_string();
            assert!(why.contains(args[0]), "{why}");
        }
        assert!(parse(&[]).check().is_ok());
    }
}
