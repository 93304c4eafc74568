//! How shards hand each other parcels: one bounded channel into each shard, one back for its buffers, and one wake for
//! all that a cycle had for it.

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};

use crate::io::waker::Waker;
use crate::limits::{BRIDGE_PACKETS_MAX, PARCELS_WAITING_MAX, TURN_DATAGRAMS_MAX};
use crate::router::parcel::{Content, Parcel};

/// One shard's end of the ways to all others. It outlives the shard: a panic costs the parcel in hand.
pub struct Port {
    parcels: Receiver<Parcel>,
    /// Its own buffers, on their way back.
    returned: Receiver<Content>,
    /// Every shard by its id.
    shards: Vec<Way>,
}

/// The way to one shard.
#[derive(Clone)]
struct Way {
    parcels: Sender<Parcel>,
    returned: Sender<Content>,
    waker: Option<Waker>,
    /// Something was posted since it was woken last.
    called: bool,
}

impl Port {
    /// The ports of all shards, in order of their ids. `wakers` are theirs; `None` for a shard that needs no waking.
    pub fn connect(wakers: impl IntoIterator<Item = Option<Waker>>) -> Vec<Self> {
        let (mut ways, mut ends) = (Vec::new(), Vec::new());
        for waker in wakers {
            let (sender, parcels) = bounded(PARCELS_WAITING_MAX);
            let (returned_sender, returned) = bounded(BRIDGE_PACKETS_MAX + TURN_DATAGRAMS_MAX);
            ways.push(Way { parcels: sender, returned: returned_sender, waker, called: false });
            ends.push((parcels, returned));
        }
        let port = |(parcels, returned)| Self { parcels, returned, shards: ways.clone() };
        ends.into_iter().map(port).collect()
    }

    /// Hands a parcel to shard `to`, which [`Port::wake`] then wakes.
    ///
    /// # Errors
    /// The parcel, when that shard is too far behind or there is none. Never blocks.
    pub fn post(&mut self, to: u32, parcel: Parcel) -> Result<(), Parcel> {
        let Some(way) = self.shards.get_mut(to as usize) else { return Err(parcel) };
        match way.parcels.try_send(parcel) {
            Ok(()) => {
                way.called = true;
                Ok(())
            }
            Err(TrySendError::Full(parcel) | TrySendError::Disconnected(parcel)) => Err(parcel),
        }
    }

    /// Wakes every shard that was handed something.
    pub fn wake(&mut self) {
        for way in &mut self.shards {
            if std::mem::take(&mut way.called)
                && let Some(waker) = &way.waker
            {
                waker.wake();
            }
        }
    }

    /// What waits for this shard.
    pub fn receive(&self) -> impl Iterator<Item = Parcel> {
        self.parcels.try_iter()
    }

    /// Whether no parcel waits.
    pub fn is_empty(&self) -> bool {
        self.parcels.is_empty()
    }

    /// Sends the buffer of a parcel back where it came from.
    pub fn give_back(&self, parcel: Parcel) {
        if let Some(way) = self.shards.get(parcel.from as usize).filter(|_| parcel.content.is_buffer()) {
            // There is room for all that a shard has; only what it had before a panic may be too much.
            drop(way.returned.try_send(parcel.content));
        }
    }

    /// The next buffer of this shard that has come back.
    pub fn returned(&self) -> Option<Content> {
        self.returned.try_recv().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::TrackId;
    use crate::router::parcel::Packet;

    fn parcel(track: u64) -> Parcel {
        Parcel { from: 0, track: TrackId(track), content: Content::Packet(Box::new(Packet::EMPTY)) }
    }

    #[test]
    fn parcels_arrive_in_order_and_buffers_come_back() {
        let mut ports = Port::connect([None, None]);
        for track in 1..=3 {
            assert!(ports[0].post(1, parcel(track)).is_ok());
        }
        assert!(ports[0].is_empty() && !ports[1].is_empty());
        for track in 1..=3 {
            let received = ports[1].receive().next().unwrap();
            assert_eq!(received.track, TrackId(track));
            ports[1].give_back(received);
        }
        assert!(ports[1].receive().next().is_none());
        assert_eq!(std::iter::from_fn(|| ports[0].returned()).count(), 3);
    }

    #[test]
    fn a_shard_too_far_behind_gets_no_more_and_nobody_waits_for_it() {
        let mut ports = Port::connect([None, None]);
        for _ in 0..PARCELS_WAITING_MAX {
            assert!(ports[0].post(1, parcel(1)).is_ok());
        }
        assert_eq!(ports[0].post(1, parcel(7)).unwrap_err().track, TrackId(7));
        assert!(ports[0].post(5, parcel(7)).is_err(), "there is no such shard");
        drop(ports[1].receive().next());
        assert!(ports[0].post(1, parcel(7)).is_ok());
    }
}
