//! Source description and goodbye (RFC 3550 §6.5 and §6.6).

use super::{COUNT_MASK, HEADER_LEN, Sink, TYPE_BYE, TYPE_SDES, words};
use crate::discard::Discard;

/// Item type of the canonical name (RFC 3550 §6.5.1); 0 ends a chunk.
pub const ITEM_CNAME: u8 = 1;
const ITEM_END: u8 = 0;

/// Longest text of an item in bytes.
pub const TEXT_LEN_MAX: usize = 255;

/// A source description, not yet looked into.
#[derive(Clone, Copy, Debug)]
pub struct Sdes<'a> {
    chunks: u8,
    body: &'a [u8],
}

/// One item of a source description.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SdesItem<'a> {
    /// The source described.
    pub ssrc: u32,
    /// Item type, see [`ITEM_CNAME`].
    pub kind: u8,
    /// Its text, UTF-8 if the sender is honest.
    pub text: &'a [u8],
}

impl<'a> Sdes<'a> {
    pub(super) const fn new(chunks: u8, body: &'a [u8]) -> Self {
        Self { chunks, body }
    }

    /// Every item of every chunk, up to the first that leaves the packet.
    pub const fn items(&self) -> SdesItems<'a> {
        SdesItems { chunks_left: self.chunks, body: self.body, at: 0, ssrc: None }
    }
}

/// See [`Sdes::items`].
#[derive(Clone, Debug)]
pub struct SdesItems<'a> {
    chunks_left: u8,
    body: &'a [u8],
    at: usize,
    /// Source of the chunk we are in.
    ssrc: Option<u32>,
}

impl<'a> Iterator for SdesItems<'a> {
    type Item = SdesItem<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let rest = self.body.get(self.at..)?;
            let Some(ssrc) = self.ssrc else {
                self.chunks_left = self.chunks_left.checked_sub(1)?;
                self.ssrc = Some(u32::from_be_bytes(*rest.first_chunk()?));
                self.at += 4;
                continue;
            };
            match *rest {
                [ITEM_END, ..] => {
                    // At least one zero byte, then on to the next 32-bit boundary.
                    self.at = (self.at + 1).next_multiple_of(4);
                    self.ssrc = None;
                }
                [kind, len, ref text @ ..] => {
                    let text = text.get(..usize::from(len))?;
                    self.at += 2 + text.len();
                    return Some(SdesItem { ssrc, kind, text });
                }
                _ => return None,
            }
        }
    }
}

/// Writes a source description of one chunk with the canonical name, cut at [`TEXT_LEN_MAX`] bytes; returns its length,
/// 0 when it does not fit.
pub fn write_cname(out: &mut [u8], ssrc: u32, cname: &[u8]) -> usize {
    let cname = &cname[..cname.len().min(TEXT_LEN_MAX)];
    // SSRC, type, length, text, END.
    let body_len = (4 + 2 + cname.len() + 1).next_multiple_of(4);
    let Some(mut sink) = Sink::frame(out, TYPE_SDES, 1, body_len) else { return 0 };
    sink.put_u32(ssrc);
    sink.put(&[ITEM_CNAME, cname.len() as u8]);
    sink.put(cname);
    sink.finish();
    HEADER_LEN + body_len
}

/// A goodbye.
#[derive(Clone, Copy, Debug)]
pub struct Bye<'a> {
    ssrcs: &'a [u8],
}

impl<'a> Bye<'a> {
    pub(super) fn parse(count: u8, body: &'a [u8]) -> Result<Self, Discard> {
        body.get(..4 * usize::from(count)).map(|ssrcs| Self { ssrcs }).ok_or(Discard::PeerRtcpMalformed)
    }

    /// The sources that leave. Whether they are the sender's own is for the caller to check.
    pub fn ssrcs(&self) -> impl Iterator<Item = u32> + 'a {
        words(self.ssrcs)
    }
}

/// Writes a goodbye of up to 31 sources; returns its length, 0 when it does not fit.
pub fn write_bye(out: &mut [u8], ssrcs: &[u32]) -> usize {
    if ssrcs.len() > usize::from(COUNT_MASK) {
        return 0;
    }
    let body_len = 4 * ssrcs.len();
    let Some(mut sink) = Sink::frame(out, TYPE_BYE, ssrcs.len() as u8, body_len) else { return 0 };
    ssrcs.iter().for_each(|ssrc| sink.put_u32(*ssrc));
    HEADER_LEN + body_len
}

#[cfg(test)]
mod tests {
    use rtcp::goodbye::Goodbye;
    use rtcp::source_description::{
        SdesType, SourceDescription, SourceDescriptionChunk, SourceDescriptionItem,
    };

    use super::super::{Packet, packets};
    use super::*;
    use crate::wire::testing::Random;

    fn sdes(bytes: &[u8]) -> Sdes<'_> {
        match packets(bytes).next() {
            Some(Ok(Packet::Sdes(sdes))) => sdes,
            other => panic!("no description: {other:?}"),
        }
    }

    #[test]
    fn another_implementation_reads_our_cname() {
        for len in 0..=TEXT_LEN_MAX {
            let name = vec![b'x'; len];
            let mut out = [0xff; 300];
            let written = write_cname(&mut out, 77, &name);
            let read = rtcp::packet::unmarshal(&mut &out[..written]).unwrap();
            let read = read[0].as_any().downcast_ref::<SourceDescription>().unwrap();
            assert_eq!(read.chunks[0].source, 77);
            assert_eq!(read.chunks[0].items[0].sdes_type, SdesType::SdesCname);
            assert_eq!(read.chunks[0].items[0].text, name);
            assert_eq!(
                sdes(&out[..written]).items().collect::<Vec<_>>(),
                [SdesItem { ssrc: 77, kind: ITEM_CNAME, text: &name }]
            );
        }
        assert_eq!(write_cname(&mut [0; 15], 1, b"relay"), 0);
        assert_eq!(write_cname(&mut [0; 16], 1, b"relay"), 16);
    }

    #[test]
    fn we_read_descriptions_of_another_implementation() {
        let mut random = Random::new(41);
        for _ in 0..300 {
            let chunks: Vec<_> = (0..random.below(5))
                .map(|_| SourceDescriptionChunk {
                    source: random.u32(),
                    items: (0..random.below(4))
                        .map(|_| SourceDescriptionItem {
                            sdes_type: SdesType::SdesNote,
                            text: { random.below(30) }.to_string().repeat(random.below(9) as usize).into(),
                        })
                        .collect(),
                })
                .collect();
            let expected: Vec<_> = chunks
                .iter()
                .flat_map(|chunk| chunk.items.iter().map(|item| (chunk.source, item.text.to_vec())))
                .collect();
            let bytes = rtcp::packet::marshal(&[Box::new(SourceDescription { chunks })]).unwrap();
            let read: Vec<_> = sdes(&bytes).items().map(|item| (item.ssrc, item.text.to_vec())).collect();
            assert_eq!(read, expected);
        }
    }

    #[test]
    fn a_description_without_end_stops_at_the_packet() {
        // One chunk announced; the second item says 9 bytes and has 1.
        let bytes = [0x81, 202, 0, 3, 0, 0, 0, 5, 1, 2, b'a', b'b', 7, 9, b'c', 0];
        let items: Vec<_> = sdes(&bytes).items().collect();
        assert_eq!(items, [SdesItem { ssrc: 5, kind: 1, text: b"ab" }]);
    }

    #[test]
    fn goodbyes_agree_with_another_implementation_both_ways() {
        for count in 0..=31 {
            let sources: Vec<u32> = (0..count).map(|source| source * 0x0101_0101).collect();
            let theirs = Goodbye { sources: sources.clone(), ..Default::default() };
            let theirs = rtcp::packet::marshal(&[Box::new(theirs)]).unwrap();
            let mut ours = [0; 200];
            let len = write_bye(&mut ours, &sources);
            let read = rtcp::packet::unmarshal(&mut &ours[..len]).unwrap();
            assert_eq!(read[0].as_any().downcast_ref::<Goodbye>().unwrap().sources, sources);
            // They add an empty reason, so theirs is longer.
            let Some(Ok(Packet::Bye(bye))) = packets(&theirs).next() else { panic!("no goodbye") };
            assert_eq!(bye.ssrcs().collect::<Vec<_>>(), sources);
        }
        assert_eq!(write_bye(&mut [0; 200], &[0; 32]), 0);
        assert!(matches!(packets(&[0x9f, 203, 0, 0]).next(), Some(Err(Discard::PeerRtcpMalformed))));
    }
}
