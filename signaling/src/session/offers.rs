//! Offers of the server that wait for an answer.

use super::Endpoint;

/// How long an offer waits for its answer, in ms. A client answers at once, or later when it comes back on another
/// socket.
const OFFER_LIFE_MS: u64 = 30_000;

/// Who began the attempt to watch a stream. A client can have one attempt of each kind at a time. Its answer names
/// the kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// The client asked for the stream.
    Own,
    /// The server began it, because the client's transport is lost.
    Forced,
}

/// One stream offered to one viewer.
#[derive(Clone, Debug)]
pub struct Offer {
    /// Connection of the viewer.
    pub viewer: String,
    /// The stream.
    pub stream: String,
    /// Connection of its publisher.
    pub publisher: String,
    /// Who began the attempt.
    pub attempt: Attempt,
    /// When, in ms since 1970.
    pub made_at_ms: u64,
    /// The server's end of the transport. The relay does not have it yet, because the browser's end comes with the
    /// answer.
    pub local: Endpoint,
    /// The text that was sent.
    pub local_sdp: String,
    /// Epoch of the relay that the offer was made for.
    pub relay_epoch: u64,
}

/// All offers of a session: at most one of a kind for each viewer and stream, the newest.
#[derive(Clone, Debug, Default)]
pub struct Offers(Vec<Offer>);

impl Offers {
    /// None yet.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Adds an offer. It replaces an offer of the same viewer, stream and attempt. Offers that are too old are
    /// removed.
    pub fn put(&mut self, offer: Offer) {
        let now_ms = offer.made_at_ms;
        self.0.retain(|old| {
            let is_same =
                (&old.viewer, &old.stream, old.attempt) == (&offer.viewer, &offer.stream, offer.attempt);
            !is_same && is_alive(old, now_ms)
        });
        self.0.push(offer);
    }

    /// Removes and returns the offer that an answer is for. An offer takes one answer. `None` if it is missing or too
    /// old.
    pub fn take(&mut self, viewer: &str, stream: &str, attempt: Attempt, now_ms: u64) -> Option<Offer> {
        let is_wanted = |offer: &Offer| {
            (offer.viewer.as_str(), offer.stream.as_str(), offer.attempt) == (viewer, stream, attempt)
        };
        let position = self.0.iter().position(is_wanted)?;
        Some(self.0.swap_remove(position)).filter(|offer| is_alive(offer, now_ms))
    }

    /// Forgets the offers to `connection`, and the offers of its stream.
    pub(super) fn forget_all_of(&mut self, connection: &str) {
        self.0.retain(|offer| offer.viewer != connection && offer.publisher != connection);
    }

    /// Forgets the offers of the stream that `publisher` sent.
    pub(super) fn forget_stream_of(&mut self, publisher: &str) {
        self.0.retain(|offer| offer.publisher != publisher);
    }

    /// Forgets the offers of `publisher`'s stream to `viewer`.
    pub(super) fn forget(&mut self, viewer: &str, publisher: &str) {
        self.0.retain(|offer| offer.viewer != viewer || offer.publisher != publisher);
    }
}

const fn is_alive(offer: &Offer, now_ms: u64) -> bool {
    now_ms.saturating_sub(offer.made_at_ms) <= OFFER_LIFE_MS
}

#[cfg(test)]
mod tests {
    use super::super::testing::endpoint;
    use super::*;

    fn offer(viewer: &str, attempt: Attempt, peer: u64) -> Offer {
        Offer {
            viewer: viewer.into(),
            stream: "str_A".into(),
            publisher: "con_A".into(),
            attempt,
            made_at_ms: 1_000,
            local: endpoint(peer),
            local_sdp: String::new(),
            relay_epoch: 1,
        }
    }

    fn offers() -> Offers {
        let mut offers = Offers::default();
        offers.put(offer("con_B", Attempt::Own, 1));
        offers.put(offer("con_B", Attempt::Forced, 2));
        offers.put(offer("con_C", Attempt::Own, 3));
        offers
    }

    fn peer(offers: &mut Offers, viewer: &str, attempt: Attempt, now_ms: u64) -> Option<u64> {
        offers.take(viewer, "str_A", attempt, now_ms).map(|offer| offer.local.id())
    }

    #[test]
    fn own_and_forced_attempts_do_not_meet_and_the_newest_of_each_counts() {
        let mut offers = offers();
        offers.put(offer("con_B", Attempt::Own, 4));
        assert_eq!(peer(&mut offers, "con_B", Attempt::Own, 1_000), Some(4));
        assert_eq!(peer(&mut offers, "con_B", Attempt::Own, 1_000), None, "one answer each");
        assert_eq!(peer(&mut offers, "con_B", Attempt::Forced, 1_000), Some(2));
        assert_eq!(peer(&mut offers, "con_C", Attempt::Forced, 1_000), None);
        assert!(offers.take("con_C", "str_B", Attempt::Own, 1_000).is_none());
    }

    #[test]
    fn an_offer_does_not_wait_for_ever() {
        let mut offers = offers();
        let last_ms = 1_000 + OFFER_LIFE_MS;
        assert_eq!(peer(&mut offers, "con_B", Attempt::Own, last_ms), Some(1));
        assert_eq!(peer(&mut offers, "con_B", Attempt::Forced, last_ms + 1), None);
        offers.put(Offer { made_at_ms: last_ms + 1, ..offer("con_D", Attempt::Own, 5) });
        assert_eq!(offers.0.len(), 1, "the old ones are gone");
    }

    #[test]
    fn it_goes_with_its_viewer_its_stream_or_the_wish_to_watch() {
        for (forget, left) in [
            ((|offers| offers.forget_all_of("con_B")) as fn(&mut Offers), 1),
            (|offers| offers.forget_all_of("con_A"), 0),
            (|offers| offers.forget_stream_of("con_A"), 0),
            (|offers| offers.forget_stream_of("con_B"), 3),
            (|offers| offers.forget("con_B", "con_A"), 1),
            (|offers| offers.forget("con_B", "con_C"), 3),
        ] {
            let mut offers = offers();
            forget(&mut offers);
            assert_eq!(offers.0.len(), left);
        }
    }
}
