//! Making the packets of a burst equally long, so that they leave in one run.
//!
//! A run that the kernel cuts (GSO) has datagrams of one length, but for a shorter last one. Browsers cut a frame into
//! packets that differ by one byte, the longer ones last, and that byte would split the run of every viewer in two. A byte
//! of RTP padding (RFC 3550 §5.1), written once for all viewers, keeps it whole.

use super::fanout::{Arrival, Burst};

/// Packets whose lengths differ by more than this go as they are. The tag's place behind a payload has room for it.
const PADDING_MAX: usize = 4;

/// Pads what is a little shorter than its neighbours.
pub(super) fn make_runs_whole(burst: &mut Burst<'_>) {
    let mut rest = &mut burst[..];
    while rest.len() > 1 {
        let (count, len) = alike(rest);
        let (group, behind) = rest.split_at_mut(count);
        // The last one may be shorter as it is.
        for arrival in &mut group[..count - 1] {
            pad(arrival, len - arrival.payload_len);
        }
        rest = behind;
    }
}

/// How many packets from the first on can be made equally long, and how long that is.
fn alike(burst: &[Arrival<'_>]) -> (usize, usize) {
    let first = &burst[0];
    let (mut shortest, mut longest) = (first.payload_len, first.payload_len);
    let mut count = 1;
    for arrival in &burst[1..] {
        let (shorter, longer) = (shortest.min(arrival.payload_len), longest.max(arrival.payload_len));
        // Other extensions make another length anyway.
        let fits = longer - shorter <= PADDING_MAX && arrival.carried.len() == first.carried.len();
        if !fits || first.padding || arrival.padding {
            break;
        }
        (shortest, longest) = (shorter, longer);
        count += 1;
    }
    (count, longest)
}

/// Adds `len` bytes of padding, the last of which is their number.
fn pad(arrival: &mut Arrival<'_>, len: usize) {
    let room = arrival.bytes.get_mut(arrival.payload_len..arrival.payload_len + len);
    let Some((count, zeros)) = room.and_then(|room| room.split_last_mut()) else { return };
    zeros.fill(0);
    *count = len as u8;
    arrival.run_padding = len;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::InboundSlot;
    use crate::wire::carried::Carried;

    /// The payloads that leave when packets of these lengths come, each with a tag's room behind it.
    fn sealed(lens: &[usize], padding_only: bool) -> Vec<Vec<u8>> {
        let mut datagrams: Vec<Vec<u8>> = lens.iter().map(|len| vec![0xAA; len + 16]).collect();
        let mut burst = Burst::new();
        for (datagram, &payload_len) in datagrams.iter_mut().zip(lens) {
            burst.push(Arrival {
                source: InboundSlot(0),
                dense: 0,
                rtp: 0,
                clock_rate_hz: 90_000,
                format: 1,
                marker: false,
                padding: padding_only,
                switch_point: false,
                keep: true,
                carried: Carried::EMPTY,
                bytes: datagram,
                payload_len,
                run_padding: 0,
            });
        }
        make_runs_whole(&mut burst);
        burst.iter().map(|arrival| arrival.padded_payload().to_vec()).collect()
    }

    fn lens(given: &[usize]) -> Vec<usize> {
        sealed(given, false).iter().map(Vec::len).collect()
    }

    #[test]
    fn a_frame_as_browsers_cut_it_becomes_one_run() {
        assert_eq!(lens(&[1000, 1000, 1000, 1001, 1001]), [1001; 5]);
        assert_eq!(lens(&[1000, 1000, 999]), [1000, 1000, 999], "the last may be shorter");
        assert_eq!(lens(&[1001, 1000, 1001]), [1001; 3]);
    }

    #[test]
    fn frames_of_different_lengths_stay_apart() {
        assert_eq!(lens(&[700, 701, 1000, 1000, 1001]), [701, 701, 1001, 1001, 1001]);
        assert_eq!(lens(&[100, 200, 300]), [100, 200, 300]);
        assert_eq!(lens(&[5]), [5]);
        assert!(lens(&[]).is_empty());
    }

    #[test]
    fn what_is_added_reads_as_padding_and_nothing_else_changes() {
        let payloads = sealed(&[10, 13, 13], false);
        assert_eq!(payloads[0], [vec![0xAA; 10], vec![0, 0, 3]].concat());
        assert_eq!(crate::wire::rtp::padding_len(&payloads[0]), Ok(3));
        assert_eq!(payloads[1..], [vec![0xAA; 13], vec![0xAA; 13]]);
    }

    #[test]
    fn padding_itself_is_left_alone() {
        assert_eq!(sealed(&[1, 2, 3], true).iter().map(Vec::len).collect::<Vec<_>>(), [1, 2, 3]);
    }
}
