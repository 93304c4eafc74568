//! Recorded frame sizes: what a real encoder and its packetizer made of a moving picture.
//!
//! A text file. Lines that begin with `#` say how it was made, one of them `# frames_per_second: N`. Every other line is
//! a frame: the RTP payload lengths of its packets in bytes, separated by spaces, in the order they were sent.

use std::path::Path;

use crate::failure::Failure;

const RATE: &str = "frames_per_second:";
/// Longest payload that a datagram of 1 500 bytes carries beside headers and tag.
const PAYLOAD_LEN_MAX: u16 = 1400;
/// Most packets of a frame.
const FRAME_PACKETS_MAX: usize = 1000;

/// The frames of a recording.
#[derive(Clone, Debug, PartialEq)]
pub struct Frames {
    /// Frames a second, 1 to 1000.
    pub per_second: f64,
    /// Payload lengths in bytes by frame, 1 to 1400 each; no frame is empty, and there is at least one.
    pub frames: Vec<Vec<u16>>,
}

impl Frames {
    /// Reads a file.
    ///
    /// # Errors
    /// [`Failure::Usage`] names the file, and the line that cannot be used.
    pub fn load(path: &Path) -> Result<Self, Failure> {
        let usage = |why: String| Failure::Usage(format!("frames of {}: {why}", path.display()));
        let text = std::fs::read_to_string(path).map_err(|error| usage(error.to_string()))?;
        Self::parse(&text).map_err(usage)
    }

    /// Reads the text of a file.
    ///
    /// # Errors
    /// Says which line cannot be used.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut per_second = None;
        let mut frames = Vec::new();
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim();
            if let Some(comment) = line.strip_prefix('#') {
                if let Some(rate) = comment.trim().strip_prefix(RATE) {
                    per_second = rate.trim().parse().ok().filter(|rate| (1.0..=1000.0).contains(rate));
                }
            } else if !line.is_empty() {
                frames.push(parse_frame(line).map_err(|why| format!("line {number}: {why}"))?);
            }
        }
        let per_second = per_second.ok_or_else(|| format!("no line says `# {RATE} N`, N from 1 to 1000"))?;
        if frames.is_empty() {
            return Err("there is no frame".to_owned());
        }
        Ok(Self { per_second, frames })
    }

    /// The same frame again and again: `burst` packets of `payload_len` bytes, `packet_rate` packets a second.
    #[must_use]
    pub fn steady(packet_rate: f64, burst: usize, payload_len: u16) -> Self {
        Self { per_second: packet_rate / burst as f64, frames: vec![vec![payload_len; burst]] }
    }

    /// Shortest and longest payload in bytes.
    #[must_use]
    pub fn len_range(&self) -> (u16, u16) {
        let lens = || self.frames.iter().flatten().copied();
        (lens().min().unwrap_or(0), lens().max().unwrap_or(0))
    }

    /// Packets a second, on average.
    #[must_use]
    pub fn packet_rate(&self) -> f64 {
        let packets: usize = self.frames.iter().map(Vec::len).sum();
        packets as f64 * self.per_second / self.frames.len() as f64
    }

    /// Payload bits a second, on average.
    #[must_use]
    pub fn bit_rate(&self) -> f64 {
        let bytes: u64 = self.frames.iter().flatten().map(|len| u64::from(*len)).sum();
        bytes as f64 * 8.0 * self.per_second / self.frames.len() as f64
    }
}

fn parse_frame(line: &str) -> Result<Vec<u16>, String> {
    let lens = line.split_ascii_whitespace().map(|word| {
        let len = word.parse().ok().filter(|len| (1..=PAYLOAD_LEN_MAX).contains(len));
        len.ok_or_else(|| format!("`{word}` is no length from 1 to {PAYLOAD_LEN_MAX}"))
    });
    let lens: Vec<u16> = lens.collect::<Result<_, _>>()?;
    if lens.len() > FRAME_PACKETS_MAX {
        return Err(format!("{} packets are more than {FRAME_PACKETS_MAX}", lens.len()));
    }
    Ok(lens)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recording_is_read_with_its_rates() {
        let frames =
            Frames::parse("# made by hand\n# frames_per_second: 25\n1000 1000 500\n\n100\n").unwrap();
        assert_eq!(frames.frames, [vec![1000, 1000, 500], vec![100]]);
        assert_eq!(frames.packet_rate(), 50.0);
        assert_eq!(frames.bit_rate(), 2600.0 * 8.0 * 12.5);
    }

    #[test]
    fn a_steady_stream_is_one_frame() {
        let frames = Frames::steady(1000.0, 4, 1100);
        assert_eq!(
            (frames.per_second, frames.packet_rate(), frames.len_range()),
            (250.0, 1000.0, (1100, 1100))
        );
        assert_eq!(frames.frames, [[1100; 4]]);
    }

    #[test]
    fn the_recording_of_a_browser_is_one() {
        let frames = Frames::parse(include_str!("../scenarios/chromium-2500k.frames")).unwrap();
        assert!((29.0..=31.0).contains(&frames.per_second) && frames.frames.len() > 800);
        assert!((2.3e6..2.6e6).contains(&frames.bit_rate()), "{}", frames.bit_rate());
        // Payloads of a frame grow by a byte somewhere: what makes runs of equal length hard.
        let grows = frames.frames.iter().filter(|lens| lens.windows(2).any(|pair| pair[1] == pair[0] + 1));
        assert!(grows.count() > frames.frames.len() / 2);
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        let why = |text: &str| Frames::parse(text).unwrap_err();
        assert!(why("100").contains("frames_per_second"));
        assert!(why("# frames_per_second: 0\n100").contains("frames_per_second"));
        assert!(why("# frames_per_second: 30\n").contains("no frame"));
        assert!(why("# frames_per_second: 30\n100 x").contains("line 2: `x`"));
        assert!(why("# frames_per_second: 30\n1401").contains("`1401`"));
    }
}
