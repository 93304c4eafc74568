//! What came of a run: numbers for machines, a table for people, and a sentence for everything that was missed.

use std::fmt::Write;

use serde_json::{Value, json};

use crate::feedback::RtcpCounts;
use crate::histogram::Histogram;
use crate::peer::Anomalies;
use crate::publisher::PublisherReport;
use crate::relay::Account;
use crate::sdp::Kind;
use crate::tally::Counts;
use crate::track::{Faults, Track};

/// Milliseconds from the request to each step of coming up.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub struct JoinTimes {
    /// Until the SDP answer was there; a late viewer's includes its joinRoom.
    pub signaling: f64,
    /// From the first check to the nominated pair.
    pub ice: f64,
    /// From the ClientHello to the keys.
    pub dtls: f64,
    /// From the request to the first media packet.
    pub first_packet: Option<f64>,
}

/// The balance of one track at one viewer.
#[derive(Clone, Debug)]
pub struct TrackReport {
    /// Audio or video.
    pub kind: Kind,
    /// Arrivals.
    pub counts: Counts,
    /// Faults.
    pub faults: Faults,
    /// One-way delays in microseconds.
    pub delay: Histogram,
    /// Whether the first packet began a key frame.
    pub first_is_key: bool,
    /// Whether anything came at all.
    pub started: bool,
    /// Longest pause between two counted packets in microseconds.
    pub pause_us_max: u64,
}

impl TrackReport {
    pub(crate) fn of(track: Track) -> Self {
        Self {
            kind: track.kind,
            counts: track.tally.counts(u64::MAX),
            faults: track.faults(),
            first_is_key: track.first_is_key,
            started: track.first_us.is_some(),
            pause_us_max: track.pause_us_max,
            delay: track.delay,
        }
    }
}

/// The balance of one stream at one viewer.
#[derive(Clone, Debug)]
pub struct SubscriptionReport {
    /// Index of the viewer.
    pub viewer: usize,
    /// Index of the publisher.
    pub publisher: usize,
    /// Whether it joined while the counting ran.
    pub late: bool,
    /// Where the relay sends from.
    pub remote: String,
    /// Negotiated SRTP profile.
    pub profile: &'static str,
    /// Times of coming up.
    pub join_ms: JoinTimes,
    /// Packets of SSRCs the answer did not name.
    pub wrong_ssrc: u64,
    /// Sequence numbers we asked for by NACK.
    pub asked: u64,
    /// What must stay at zero on the transport.
    pub anomalies: Anomalies,
    /// Received RTCP.
    pub rtcp: RtcpCounts,
    /// Why it ended before its time.
    pub error: Option<String>,
    /// Its tracks.
    pub tracks: Vec<TrackReport>,
}

impl SubscriptionReport {
    /// Sums of the tracks.
    #[must_use]
    pub fn totals(&self) -> (Counts, Faults, Histogram) {
        let (mut counts, mut faults, mut delay) =
            (Counts::default(), Faults::default(), Histogram::default());
        for track in &self.tracks {
            add_counts(&mut counts, &track.counts);
            add_faults(&mut faults, &track.faults);
            delay.merge(&track.delay);
        }
        (counts, faults, delay)
    }

    fn problems(&self, out: &mut Vec<String>) {
        let who = format!("viewer {} of publisher {}", self.viewer, self.publisher);
        if let Some(error) = &self.error {
            out.push(format!("{who}: {error}"));
        }
        let mut say = |count: u64, what: &str| {
            if count > 0 {
                out.push(format!("{who}: {count} {what}"));
            }
        };
        say(self.wrong_ssrc, "packets of an SSRC the answer did not name");
        say(self.anomalies.undecryptable, "packets that did not verify");
        say(self.anomalies.unknown, "datagrams of no known protocol");
        say(self.anomalies.ice_refused, "ICE checks refused");
        say(self.rtcp.malformed, "malformed RTCP packets");
        for track in &self.tracks {
            track.problems(&who, out);
        }
    }

    fn json(&self) -> Value {
        let (counts, faults, delay) = self.totals();
        json!({
            "viewer": self.viewer, "publisher": self.publisher, "late": self.late, "remote": self.remote,
            "profile": self.profile, "expected": counts.expected, "received": counts.received, "lost": counts.lost,
            "doubled": counts.doubled, "reordered": counts.reordered, "recovered": counts.recovered,
            "corrupt": faults.corrupt, "undecryptable": self.anomalies.undecryptable, "wrong_ssrc": self.wrong_ssrc,
            "asked": self.asked, "join_ms": self.join_ms, "delay_us": delay_json(&delay),
            "pause_ms_max": self.pause_ms_max(), "rtcp": self.rtcp, "anomalies": self.anomalies, "error": self.error,
            "tracks": self.tracks.iter().map(TrackReport::json).collect::<Vec<_>>(),
        })
    }

    fn pause_ms_max(&self) -> f64 {
        self.tracks.iter().map(|track| track.pause_us_max).max().unwrap_or(0) as f64 / 1e3
    }
}

impl TrackReport {
    fn problems(&self, who: &str, out: &mut Vec<String>) {
        let kind = self.kind.as_str();
        if !self.started {
            out.push(format!("{who}: no {kind} at all"));
            return;
        }
        if self.kind == Kind::Video && !self.first_is_key {
            out.push(format!("{who}: video did not begin with a key frame"));
        }
        let (counts, faults) = (&self.counts, &self.faults);
        for (count, what) in [
            (counts.lost, "packets lost"),
            (counts.doubled, "packets doubled"),
            (counts.reordered, "packets out of order"),
            (faults.corrupt, "packets with changed content"),
            (faults.wrong_payload_type, "packets with a payload type other than the answer's"),
            (faults.wrong_source, "packets of another track"),
            (faults.wrong_marker, "packets with a changed marker bit"),
            (faults.wrong_timestamp, "packets with a timestamp out of line"),
            (faults.impossible, "packets nobody sent"),
            (faults.sequence_gaps, "RTP sequence numbers skipped"),
            (faults.sequence_behind, "RTP sequence numbers repeated or late"),
            (faults.wrong_extension, "packets with another section's mid"),
        ] {
            if count > 0 {
                out.push(format!("{who}: {count} of {} {kind} {what}", counts.expected));
            }
        }
    }

    fn json(&self) -> Value {
        let counts = &self.counts;
        json!({
            "kind": self.kind.as_str(), "expected": counts.expected, "received": counts.received, "lost": counts.lost,
            "doubled": counts.doubled, "reordered": counts.reordered, "recovered": counts.recovered,
            "faults": self.faults, "first_is_key": self.first_is_key, "delay_us": delay_json(&self.delay),
        })
    }
}

/// The balance of a run.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Session it ran in.
    pub session: String,
    /// Publishers in their order.
    pub publishers: Vec<PublisherReport>,
    /// Subscriptions by viewer, then publisher.
    pub viewers: Vec<SubscriptionReport>,
    /// How often viewers' signaling sockets were lost and won back.
    pub signaling_reconnects: u32,
    /// What the relay counted meanwhile, where that was asked for.
    pub account: Option<Account>,
    /// What went wrong outside of any one participant.
    pub failures: Vec<String>,
}

impl Report {
    /// Everything that was missed, a sentence each; empty means the run is good.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let mut problems = self.failures.clone();
        for publisher in &self.publishers {
            let who = format!("publisher {}", publisher.publisher);
            problems.extend(publisher.error.iter().map(|error| format!("{who}: {error}")));
            if publisher.anomalies.undecryptable > 0 {
                problems.push(format!(
                    "{who}: {} packets that did not verify",
                    publisher.anomalies.undecryptable
                ));
            }
            if publisher.rtcp.malformed > 0 {
                problems.push(format!("{who}: {} malformed RTCP packets", publisher.rtcp.malformed));
            }
        }
        for viewer in &self.viewers {
            viewer.problems(&mut problems);
        }
        problems.extend(self.account.iter().flat_map(Account::problems));
        problems
    }

    /// Counted packets sent by all publishers.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.publishers.iter().map(|publisher| publisher.sent).sum()
    }

    /// One object with everything.
    #[must_use]
    pub fn json(&self) -> Value {
        let problems = self.problems();
        json!({
            "ok": problems.is_empty(), "problems": problems, "session": self.session, "sent": self.sent(),
            "signaling_reconnects": self.signaling_reconnects, "publishers": self.publishers, "account": self.account,
            "viewers": self.viewers.iter().map(SubscriptionReport::json).collect::<Vec<_>>(),
        })
    }

    /// A table and the problems.
    #[must_use]
    pub fn table(&self) -> String {
        let mut text = String::new();
        let mut line = |content: String| {
            writeln!(text, "{content}").expect("writing to a String does not fail");
        };
        for publisher in &self.publishers {
            line(format!(
                "publisher {}: sent {}, {}, ICE {:.1} ms, DTLS {:.1} ms, PLI {}, NACK {}, resent {}, TWCC {}",
                publisher.publisher,
                publisher.sent,
                publisher.profile,
                publisher.join_ms.ice,
                publisher.join_ms.dtls,
                publisher.rtcp.pli,
                publisher.rtcp.nack,
                publisher.resent,
                publisher.rtcp.twcc
            ));
        }
        line(format!(
            "{:>8} {:>9} {:>9} {:>6} {:>7} {:>9} {:>7} {:>9} {:>9} {:>9} {:>9}",
            "viewer",
            "received",
            "lost",
            "double",
            "reorder",
            "corrupt",
            "first",
            "p50 µs",
            "p99 µs",
            "max µs",
            "pause ms"
        ));
        for viewer in &self.viewers {
            let (counts, faults, delay) = viewer.totals();
            line(format!(
                "{:>8} {:>9} {:>9} {:>6} {:>7} {:>9} {:>7.0} {:>9} {:>9} {:>9} {:>9.1}",
                format!("{}<{}{}", viewer.viewer, viewer.publisher, if viewer.late { "*" } else { "" }),
                counts.received,
                counts.lost,
                counts.doubled,
                counts.reordered,
                faults.corrupt,
                viewer.join_ms.first_packet.unwrap_or(f64::NAN),
                delay.quantile(0.5),
                delay.quantile(0.99),
                delay.max(),
                viewer.pause_ms_max()
            ));
        }
        if let Some(account) = &self.account {
            line(account.to_string());
        }
        let problems = self.problems();
        problems.iter().for_each(|problem| line(format!("MISSED {problem}")));
        let verdict =
            if problems.is_empty() { "every packet arrived once, in order, unchanged" } else { "failed" };
        line(format!("{} sent, {} subscriptions: {verdict}", self.sent(), self.viewers.len()));
        text
    }
}

fn delay_json(delay: &Histogram) -> Value {
    json!({ "p50": delay.quantile(0.5), "p99": delay.quantile(0.99), "max": delay.max() })
}

fn add_counts(sum: &mut Counts, more: &Counts) {
    sum.expected += more.expected;
    sum.received += more.received;
    sum.lost += more.lost;
    sum.doubled += more.doubled;
    sum.reordered += more.reordered;
    sum.recovered += more.recovered;
}

fn add_faults(sum: &mut Faults, more: &Faults) {
    sum.corrupt += more.corrupt;
    sum.wrong_payload_type += more.wrong_payload_type;
    sum.wrong_source += more.wrong_source;
    sum.wrong_marker += more.wrong_marker;
    sum.wrong_timestamp += more.wrong_timestamp;
    sum.impossible += more.impossible;
    sum.sequence_gaps += more.sequence_gaps;
    sum.sequence_behind += more.sequence_behind;
    sum.wrong_extension += more.wrong_extension;
}
