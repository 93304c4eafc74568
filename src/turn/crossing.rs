//! Datagrams between an allocation and a media port that are on different shards.

use std::collections::VecDeque;
use std::net::SocketAddr;

use crate::ids::TrackId;
use crate::limits::TURN_DATAGRAMS_MAX;
use crate::router::parcel::{Content, Datagram, Parcel, Towards};

/// What waits to cross, and buffers that do not.
pub(super) struct Crossing {
    staged: VecDeque<(u32, Parcel)>,
    #[expect(clippy::vec_box, reason = "a buffer goes from shard to shard without being copied")]
    free: Vec<Box<Datagram>>,
    /// Whether there are buffers at all.
    stocked: bool,
    dropped: u64,
}

/// Which way, whose allocation, its relayed address, the media address.
pub(super) type Head = (Towards, u16, SocketAddr, SocketAddr);

impl Crossing {
    /// Buffers are made when the first datagram crosses.
    pub(super) const fn new() -> Self {
        Self { staged: VecDeque::new(), free: Vec::new(), stocked: false, dropped: 0 }
    }

    /// A buffer for a datagram, or none when all are on their way.
    pub(super) fn buffer(&mut self, head: Head) -> Option<Box<Datagram>> {
        if !self.stocked {
            self.stocked = true;
            self.staged.reserve(TURN_DATAGRAMS_MAX);
            self.free = (0..TURN_DATAGRAMS_MAX).map(|_| Box::new(Datagram::EMPTY)).collect();
        }
        let Some(mut datagram) = self.free.pop() else {
            self.dropped += 1;
            return None;
        };
        (datagram.towards, datagram.allocation, datagram.relayed, datagram.media) = head;
        Some(datagram)
    }

    /// Stages a filled buffer of shard `from` for shard `to`.
    pub(super) fn push(&mut self, from: u8, to: u8, datagram: Box<Datagram>) {
        let parcel = Parcel { from: from.into(), track: TrackId(0), content: Content::Datagram(datagram) };
        self.staged.push_back((to.into(), parcel));
    }

    /// Stages a copy of `data`; one that fits no datagram of ours is dropped.
    pub(super) fn stage(&mut self, from: u8, to: u8, head: Head, data: &[u8]) {
        let Some(mut datagram) = self.buffer(head) else { return };
        match datagram.room().get_mut(..data.len()) {
            Some(place) => {
                place.copy_from_slice(data);
                datagram.set_len(data.len());
                self.push(from, to, datagram);
            }
            None => self.lose(datagram),
        }
    }

    /// Gives all that is staged to `post`, which hands back what finds no room.
    pub(super) fn flush(&mut self, mut post: impl FnMut(u32, Parcel) -> Result<(), Parcel>) {
        while let Some((to, parcel)) = self.staged.pop_front() {
            if let Err(parcel) = post(to, parcel)
                && let Content::Datagram(datagram) = parcel.content
            {
                self.lose(datagram);
            }
        }
    }

    fn lose(&mut self, datagram: Box<Datagram>) {
        self.dropped += 1;
        self.recycle(datagram);
    }

    pub(super) fn recycle(&mut self, datagram: Box<Datagram>) {
        // After a panic there is a new stock, and the old one may still come back.
        if self.free.len() < self.free.capacity() {
            self.free.push(datagram);
        }
    }

    pub(super) const fn dropped(&self) -> u64 {
        self.dropped
    }
}
