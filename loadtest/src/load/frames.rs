//! Recorded frames: how many packets a frame has and how long each payload is.
//!
//! ```text
//! # 30 frames/s, Chromium 141, VP8 at 2.5 Mbit/s
//! 1142 1142 1142 1143
//! 1098 1098 1099
//! ```
//! The first comment's first number is the frame rate; every other line is a frame, its words are the RTP payload bytes
//! of its packets. The file is played again from the start when it ends.

use std::path::Path;

use crate::failure::Failure;

/// A recording.
#[derive(Clone, Debug, PartialEq)]
pub struct Frames {
    /// Frames a second.
    pub per_second: f64,
    /// RTP payload bytes of each packet of each frame.
    pub packets: Vec<Vec<u16>>,
}

impl Frames {
    /// Reads a recording.
    ///
    /// # Errors
    /// [`Failure::Usage`] names the file and the line.
    pub fn read(path: &Path) -> Result<Self, Failure> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| Failure::Usage(format!("--frames {}: {error}", path.display())))?;
        Self::parse(&text).map_err(|why| Failure::Usage(format!("--frames {}: {why}", path.display())))
    }

    /// Parses the text of a recording.
    ///
    /// # Errors
    /// What is wrong, with the line's number.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut per_second = None;
        let mut packets = Vec::new();
        for (at, line) in text.lines().enumerate() {
            let line = line.trim();
            if let Some(comment) = line.strip_prefix('#') {
                per_second = per_second.or_else(|| first_number(comment));
                continue;
            }
            if line.is_empty() {
                continue;
            }
            let frame: Result<Vec<u16>, _> = line.split_ascii_whitespace().map(str::parse).collect();
            packets.push(frame.map_err(|_| format!("line {}: `{line}` is not a list of sizes", at + 1))?);
        }
        let per_second = per_second.ok_or("no comment in front gives the frames per second")?;
        if !(0.1..=1000.0).contains(&per_second) {
            return Err(format!("{per_second} frames/s is not between 0.1 and 1000"));
        }
        if packets.is_empty() {
            return Err("it holds no frame".to_owned());
        }
        Ok(Self { per_second, packets })
    }

    /// The same frame again and again: `burst` packets of `size` bytes.
    #[must_use]
    pub fn steady(packets_per_second: f64, burst: usize, size: u16) -> Self {
        Self { per_second: packets_per_second / burst as f64, packets: vec![vec![size; burst]] }
    }

    /// Packets a second, on average.
    #[must_use]
    pub fn packets_per_second(&self) -> f64 {
        let packets: usize = self.packets.iter().map(Vec::len).sum();
        packets as f64 / self.packets.len() as f64 * self.per_second
    }

    /// Payload bits a second, on average.
    #[must_use]
    pub fn bits_per_second(&self) -> f64 {
        let bytes: u64 = self.packets.iter().flatten().map(|size| u64::from(*size)).sum();
        bytes as f64 * 8.0 / self.packets.len() as f64 * self.per_second
    }

    /// Smallest and largest payload.
    #[must_use]
    pub fn size_range(&self) -> (u16, u16) {
        let sizes = || self.packets.iter().flatten().copied();
        (sizes().min().unwrap_or(0), sizes().max().unwrap_or(0))
    }
}

fn first_number(comment: &str) -> Option<f64> {
    let digit = |letter: char| letter.is_ascii_digit() || letter == '.';
    comment.split(|letter| !digit(letter)).find_map(|word| word.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rate_and_sizes_are_read() {
        let frames = Frames::parse("# 25 frames/s, recorded 2026\n# more 9\n100 100 101\n\n 50\n").unwrap();
        assert_eq!(frames, Frames { per_second: 25.0, packets: vec![vec![100, 100, 101], vec![50]] });
        assert_eq!((frames.packets_per_second(), frames.size_range()), (50.0, (50, 101)));
        assert_eq!(frames.bits_per_second(), 351.0 * 8.0 / 2.0 * 25.0);
    }

    #[test]
    fn what_cannot_be_played_is_refused_in_words() {
        for (text, why) in [
            ("100 100", "frames per second"),
            ("# 30", "no frame"),
            ("# 30\n100 x", "line 2"),
            ("# 5000\n1", "not between"),
        ] {
            let error = Frames::parse(text).unwrap_err();
            assert!(error.contains(why), "{text:?}: {error}");
        }
    }

    #[test]
    fn a_steady_stream_is_one_frame() {
        let frames = Frames::steady(1000.0, 4, 1100);
        assert_eq!((frames.per_second, frames.packets_per_second()), (250.0, 1000.0));
        assert_eq!(frames.packets, [[1100; 4]]);
    }
}
