//! What a load run plays: flags over a TOML file over defaults, checked once.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};

use super::payload::{AUDIO_LEN_MIN, VIDEO_LEN_MIN};
use crate::failure::Failure;
use crate::frames::Frames;
use crate::peer::Profile;
use crate::sdp::Kind;

/// Largest payload that fits the relay's datagrams with header, extensions and tag.
const PAYLOAD_LEN_MAX: u16 = 1280;
/// Peers of one run: as many addresses are set aside for them.
pub const PEERS_MAX: usize = 60_000;

/// Audio of a scenario.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Audio {
    /// Video alone.
    #[default]
    Off,
    /// Each publisher sends both.
    Beside,
    /// No video.
    Only,
}

/// SRTP profiles of a load run: one, so that a figure says what it is of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Suite {
    /// `AEAD_AES_128_GCM`.
    #[default]
    Gcm128,
    /// `AEAD_AES_256_GCM`.
    Gcm256,
    /// `AES_CM_128_HMAC_SHA1_80`.
    Cm,
}

impl Suite {
    /// As the DTLS side offers it.
    #[must_use]
    pub const fn profile(self) -> Profile {
        match self {
            Self::Gcm128 => Profile::Gcm128,
            Self::Gcm256 => Profile::Gcm256,
            Self::Cm => Profile::Sha1,
        }
    }

    /// Its IANA name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gcm128 => "AEAD_AES_128_GCM",
            Self::Gcm256 => "AEAD_AES_256_GCM",
            Self::Cm => "AES_CM_128_HMAC_SHA1_80",
        }
    }
}

/// What one source says of a scenario: the flags, or a file (same names). Nothing said is `None`.
#[derive(Args, Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Layer {
    /// Sessions, each with the same cast [default: 1]
    #[arg(long)]
    pub sessions: Option<usize>,
    /// Publishers of each session [default: 1]
    #[arg(long)]
    pub publishers: Option<usize>,
    /// Viewers of each session, each watching every publisher [default: 50]
    #[arg(long)]
    pub viewers: Option<usize>,
    /// Instead of publishers and viewers: a room of this many, everybody publishes and watches everybody else
    #[arg(long, conflicts_with_all = ["publishers", "viewers"])]
    pub room: Option<usize>,
    /// Packets a second of each video stream [default: 1000]
    #[arg(long)]
    pub rate: Option<f64>,
    /// RTP payload bytes of a video packet [default: 1100]
    #[arg(long)]
    pub size: Option<u16>,
    /// Video packets sent back to back [default: 1]
    #[arg(long)]
    pub burst: Option<usize>,
    /// Recorded frames to play instead of rate, size and burst
    #[arg(long, value_name = "FILE", conflicts_with_all = ["rate", "size", "burst"])]
    pub frames: Option<PathBuf>,
    /// Audio streams [default: off]
    #[arg(long, value_enum, num_args = 0..=1, default_missing_value = "beside")]
    pub audio: Option<Audio>,
    /// Packets a second of each audio stream [default: 50]
    #[arg(long)]
    pub audio_rate: Option<f64>,
    /// RTP payload bytes of an audio packet [default: 120]
    #[arg(long)]
    pub audio_size: Option<u16>,
    /// SRTP profile [default: gcm128]
    #[arg(long, value_enum)]
    pub profile: Option<Suite>,
    /// Peers that come up a second, at most [default: 100]
    #[arg(long)]
    pub joins_per_second: Option<f64>,
    /// Seconds that are measured [default: 10]
    #[arg(long, value_name = "SECONDS")]
    pub duration: Option<f64>,
    /// Seconds at full rate before that [default: 1]
    #[arg(long, value_name = "SECONDS")]
    pub warm_up: Option<f64>,
    /// Same seed, same schedule [default: 1]
    #[arg(long)]
    pub seed: Option<u64>,
    /// One packet in this many is decrypted and checked [default: 64]
    #[arg(long)]
    pub sample: Option<u32>,
    /// Viewers ask for missing packets
    #[arg(long, num_args = 0..=1, default_missing_value = "true")]
    pub nack: Option<bool>,
    /// Viewers negotiate transport-wide numbers and abs-send-time, and send feedback on them [default: true]
    #[arg(long, num_args = 0..=1, default_missing_value = "true")]
    pub twcc: Option<bool>,
    /// A publisher and one viewer that are up before all others; their delay is reported apart
    #[arg(long, num_args = 0..=1, default_missing_value = "true")]
    pub bystander: Option<bool>,
    /// Joining is what is measured: the clock runs while the viewers of the first session come up
    #[arg(long, num_args = 0..=1, default_missing_value = "true")]
    pub storm: Option<bool>,
}

impl Layer {
    /// Reads a scenario file.
    ///
    /// # Errors
    /// [`Failure::Usage`] with the file's line, as the TOML parser puts it.
    pub fn read(path: &Path) -> Result<Self, Failure> {
        let failed = |why: String| Failure::Usage(format!("--scenario {}: {why}", path.display()));
        let text = std::fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
        let mut layer = Self::parse(&text).map_err(failed)?;
        // A recording is named from where the scenario lies.
        if let (Some(frames), Some(folder)) = (&mut layer.frames, path.parent()) {
            *frames = folder.join(&frames);
        }
        Ok(layer)
    }

    fn parse(text: &str) -> Result<Self, String> {
        toml::from_str(text).map_err(|error| error.to_string())
    }

    /// What `self` says, and where it says nothing, what `below` says.
    #[must_use]
    pub fn over(self, below: Self) -> Self {
        // A flag for one shape of a stream or cast takes the place of the file's other shape as a whole.
        let steady = self.rate.is_some() || self.size.is_some() || self.burst.is_some();
        let staged = self.publishers.is_some() || self.viewers.is_some();
        let frames = if steady { None } else { below.frames };
        let room = if staged { None } else { below.room };
        let keeps_steady = self.frames.is_none();
        let keeps_stage = self.room.is_none();
        Self {
            sessions: self.sessions.or(below.sessions),
            publishers: self.publishers.or(below.publishers.filter(|_| keeps_stage)),
            viewers: self.viewers.or(below.viewers.filter(|_| keeps_stage)),
            room: self.room.or(room),
            rate: self.rate.or(below.rate.filter(|_| keeps_steady)),
            size: self.size.or(below.size.filter(|_| keeps_steady)),
            burst: self.burst.or(below.burst.filter(|_| keeps_steady)),
            frames: self.frames.or(frames),
            audio: self.audio.or(below.audio),
            audio_rate: self.audio_rate.or(below.audio_rate),
            audio_size: self.audio_size.or(below.audio_size),
            profile: self.profile.or(below.profile),
            joins_per_second: self.joins_per_second.or(below.joins_per_second),
            duration: self.duration.or(below.duration),
            warm_up: self.warm_up.or(below.warm_up),
            seed: self.seed.or(below.seed),
            sample: self.sample.or(below.sample),
            nack: self.nack.or(below.nack),
            twcc: self.twcc.or(below.twcc),
            bystander: self.bystander.or(below.bystander),
            storm: self.storm.or(below.storm),
        }
    }
}

/// Who is in a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cast {
    /// Some publish, others watch all of them.
    Stage {
        /// Publishers of a session.
        publishers: usize,
        /// Viewers of a session.
        viewers: usize,
    },
    /// Everybody publishes and watches everybody else.
    Room(usize),
}

/// One stream that each publisher sends.
#[derive(Clone, Debug)]
pub struct Stream {
    /// Audio or video.
    pub kind: Kind,
    /// What it sends when.
    pub frames: Arc<Frames>,
    /// It is no recording: the same packets again and again.
    pub steady: bool,
}

/// A scenario, complete and possible.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Sessions.
    pub sessions: usize,
    /// Who is in each of them.
    pub cast: Cast,
    /// What each publisher sends, audio first as in the SDP.
    pub streams: Vec<Stream>,
    /// SRTP profile.
    pub suite: Suite,
    /// Peers that come up a second, at most.
    pub joins_per_second: f64,
    /// What is measured.
    pub duration: Duration,
    /// Full rate before that.
    pub warm_up: Duration,
    /// Seed of the schedule.
    pub seed: u64,
    /// One packet in this many is decrypted.
    pub sample: u32,
    /// Viewers ask for what is missing.
    pub nack: bool,
    /// Viewers send transport-wide feedback.
    pub twcc: bool,
    /// A publisher and a viewer in a session of their own.
    pub bystander: bool,
    /// Viewers come up during the measured time.
    pub storm: bool,
}

impl Scenario {
    /// Fills in the defaults and checks the whole.
    ///
    /// # Errors
    /// [`Failure::Usage`] names what is impossible.
    pub fn resolve(layer: Layer) -> Result<Self, Failure> {
        let usage = |why: String| Err(Failure::Usage(why));
        let streams = streams(&layer)?;
        let cast = match layer.room {
            Some(people) => Cast::Room(people),
            None => Cast::Stage {
                publishers: layer.publishers.unwrap_or(1),
                viewers: layer.viewers.unwrap_or(50),
            },
        };
        let seconds = |name: &str, given: Option<f64>, default: f64| {
            let seconds = given.unwrap_or(default);
            if (0.0..=86_400.0).contains(&seconds) {
                return Ok(Duration::from_secs_f64(seconds));
            }
            Err(Failure::Usage(format!("{name} {seconds} is not between 0 and 86400 seconds")))
        };
        let scenario = Self {
            sessions: layer.sessions.unwrap_or(1),
            cast,
            streams,
            suite: layer.profile.unwrap_or_default(),
            joins_per_second: layer.joins_per_second.unwrap_or(100.0),
            duration: seconds("duration", layer.duration, 10.0)?,
            warm_up: seconds("warm-up", layer.warm_up, 1.0)?,
            seed: layer.seed.unwrap_or(1),
            sample: layer.sample.unwrap_or(64),
            nack: layer.nack.unwrap_or(false),
            twcc: layer.twcc.unwrap_or(true),
            bystander: layer.bystander.unwrap_or(false),
            storm: layer.storm.unwrap_or(false),
        };
        match scenario.cast {
            Cast::Room(people) if people < 2 => return usage(format!("a room of {people} has no viewer")),
            Cast::Stage { publishers: 0, .. } => return usage("publishers must be at least 1".to_owned()),
            Cast::Stage { viewers: 0, .. } => return usage("viewers must be at least 1".to_owned()),
            Cast::Room(_) | Cast::Stage { .. } => {}
        }
        if scenario.sessions == 0 || scenario.peers() > PEERS_MAX {
            return usage(format!("{} peers; a run has 1 to {PEERS_MAX}", scenario.peers()));
        }
        if !(0.1..=100_000.0).contains(&scenario.joins_per_second) {
            return usage(format!(
                "joins-per-second {} is not between 0.1 and 100000",
                scenario.joins_per_second
            ));
        }
        if scenario.sample == 0 {
            return usage("sample must be at least 1".to_owned());
        }
        Ok(scenario)
    }

    /// Peers of the whole run, the bystanders left out.
    #[must_use]
    pub fn peers(&self) -> usize {
        self.sessions
            * match self.cast {
                Cast::Stage { publishers, viewers } => publishers.saturating_add(viewers),
                Cast::Room(people) => people,
            }
    }

    /// Streams that viewers see, over all: what one packet of each published stream becomes.
    #[must_use]
    pub fn copies(&self) -> usize {
        let pairs = match self.cast {
            Cast::Stage { publishers, viewers } => publishers * viewers,
            Cast::Room(people) => people * (people - 1),
        };
        self.sessions * pairs * self.streams.len()
    }

    /// Packets a second that viewers should see, over all.
    #[must_use]
    pub fn packets_out_per_second(&self) -> f64 {
        let rate: f64 = self.streams.iter().map(|stream| stream.frames.packet_rate()).sum();
        self.copies() as f64 / self.streams.len() as f64 * rate
    }

    /// In a few words, for the head of a report.
    #[must_use]
    pub fn summary(&self) -> String {
        let cast = match self.cast {
            Cast::Stage { publishers, viewers } => format!("{publishers} -> {viewers}"),
            Cast::Room(people) => format!("room of {people}"),
        };
        let sessions = if self.sessions > 1 { format!("{} x ", self.sessions) } else { String::new() };
        let streams: Vec<String> = self.streams.iter().map(describe).collect();
        format!("{sessions}{cast}, {}, {}", streams.join(" + "), self.suite.name())
    }
}

fn describe(stream: &Stream) -> String {
    let frames = &stream.frames;
    let (min, max) = frames.len_range();
    let size = if min == max { format!("{max} B") } else { format!("{min}-{max} B") };
    let kind = stream.kind.as_str();
    let per_frame = frames.packet_rate() / frames.per_second;
    let burst = if per_frame > 1.0 { format!(" in bursts of {per_frame:.3}") } else { String::new() };
    format!("{kind} {:.0} pkt/s x {size}{burst}", frames.packet_rate())
}

fn streams(layer: &Layer) -> Result<Vec<Stream>, Failure> {
    let audio = layer.audio.unwrap_or_default();
    let mut streams = Vec::new();
    if audio != Audio::Off {
        let (rate, size) = (layer.audio_rate.unwrap_or(50.0), layer.audio_size.unwrap_or(120));
        streams.push(steady(Kind::Audio, rate, 1, size)?);
    }
    if audio == Audio::Only {
        let video = layer.rate.is_some() || layer.size.is_some() || layer.burst.is_some();
        if video || layer.frames.is_some() {
            let why =
                "audio only leaves no video for rate, size, burst or frames; see audio-rate, audio-size";
            return Err(Failure::Usage(why.to_owned()));
        }
        return Ok(streams);
    }
    match &layer.frames {
        Some(path) => {
            let frames = Frames::load(path)?;
            let (min, max) = frames.len_range();
            check_size("the smallest packet", Kind::Video, min)?;
            check_size("the largest packet", Kind::Video, max)?;
            streams.push(Stream { kind: Kind::Video, frames: Arc::new(frames), steady: false });
        }
        None => {
            let (rate, burst) = (layer.rate.unwrap_or(1000.0), layer.burst.unwrap_or(1));
            streams.push(steady(Kind::Video, rate, burst, layer.size.unwrap_or(1100))?);
        }
    }
    Ok(streams)
}

fn steady(kind: Kind, rate: f64, burst: usize, size: u16) -> Result<Stream, Failure> {
    let name = kind.as_str();
    if !(0.1..=1e6).contains(&rate) {
        return Err(Failure::Usage(format!("{name} rate {rate} is not between 0.1 and 1000000")));
    }
    if !(1..=1000).contains(&burst) {
        return Err(Failure::Usage(format!("burst {burst} is not between 1 and 1000")));
    }
    check_size("size", kind, size)?;
    Ok(Stream { kind, frames: Arc::new(Frames::steady(rate, burst, size)), steady: true })
}

fn check_size(what: &str, kind: Kind, size: u16) -> Result<(), Failure> {
    let min = match kind {
        Kind::Audio => AUDIO_LEN_MIN,
        Kind::Video => VIDEO_LEN_MIN,
    };
    if usize::from(size) >= min && size <= PAYLOAD_LEN_MAX {
        return Ok(());
    }
    let why = format!("{what} of {} is {size}, not between {min} and {PAYLOAD_LEN_MAX}", kind.as_str());
    Err(Failure::Usage(why))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        layer: Layer,
    }

    fn flags(words: &str) -> Layer {
        Cli::parse_from(["x"].into_iter().chain(words.split_ascii_whitespace())).layer
    }

    fn resolve(file: &str, words: &str) -> Result<Scenario, Failure> {
        Scenario::resolve(flags(words).over(Layer::parse(file).unwrap()))
    }

    #[test]
    fn flags_go_over_the_file_and_the_file_over_defaults() {
        let file = "viewers = 200\nsize = 900\nprofile = \"gcm256\"\nduration = 2.5\naudio = \"beside\"";
        let scenario = resolve(file, "--size 1000 --burst 4").unwrap();
        assert_eq!(scenario.cast, Cast::Stage { publishers: 1, viewers: 200 });
        assert_eq!((scenario.suite, scenario.duration), (Suite::Gcm256, Duration::from_millis(2500)));
        assert_eq!(scenario.streams[0].kind, Kind::Audio);
        assert_eq!(scenario.streams[1].frames.frames, [[1000; 4]]);
        assert_eq!((scenario.copies(), scenario.peers()), (400, 201));
        assert_eq!(scenario.packets_out_per_second(), 200.0 * 1050.0);
    }

    #[test]
    fn a_flag_for_one_shape_replaces_the_files_other_shape() {
        let scenario = resolve("room = 4\nsessions = 250\naudio = \"only\"", "").unwrap();
        assert_eq!((scenario.cast, scenario.copies()), (Cast::Room(4), 3000));
        let scenario = resolve("room = 4", "--viewers 9").unwrap();
        assert_eq!(scenario.cast, Cast::Stage { publishers: 1, viewers: 9 });
        let scenario = resolve("viewers = 7\npublishers = 2", "--room 3").unwrap();
        assert_eq!(scenario.cast, Cast::Room(3));
        let scenario = resolve("frames = \"none.frames\"", "--rate 10").unwrap();
        assert_eq!(scenario.packets_out_per_second(), 500.0);
    }

    #[test]
    fn the_scenarios_that_come_with_it_can_be_played() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
        let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let copies = |path: &PathBuf| Scenario::resolve(Layer::read(path).unwrap()).unwrap().copies();
        let mut found: Vec<_> = files
            .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
            .map(|path| (path.file_stem().unwrap().to_string_lossy().into_owned(), copies(&path)))
            .collect();
        found.sort();
        let expected = [
            ("audio-panel", 4000),
            ("chromium-frames", 200),
            ("single-packets", 200),
            ("small-rooms", 3000),
            ("storm", 200),
        ];
        assert_eq!(found, expected.map(|(name, copies)| (name.to_owned(), copies)));
    }

    #[test]
    fn what_is_impossible_is_said_in_words() {
        for (words, why) in [
            ("--size 20", "size of video is 20, not between"),
            ("--size 1400", "not between"),
            ("--room 1", "no viewer"),
            ("--viewers 0", "viewers must be"),
            ("--sessions 2000 --room 50", "100000 peers"),
            ("--audio only --rate 50", "see audio-rate"),
            ("--rate 0", "video rate 0"),
            ("--burst 0", "burst 0"),
            ("--frames /nowhere", "/nowhere"),
            ("--duration -1", "duration -1"),
            ("--sample 0", "sample"),
        ] {
            let words = words.replace(" -1", "=-1");
            let error = resolve("", &words).unwrap_err().to_string();
            assert!(error.contains(why), "{words}: {error}");
        }
        assert!(Layer::parse("viewer = 3").unwrap_err().contains("viewer"), "an unknown name");
    }
}
