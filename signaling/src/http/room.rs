//! How many connections there may be, and how many of them from one address.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::config::Limits;

/// The room of one listener.
pub struct Room {
    seats: Arc<Semaphore>,
    /// 0 is any number.
    per_address_max: usize,
    /// Addresses that have connections, so there are no more of them than of those.
    by_address: Mutex<BTreeMap<IpAddr, usize>>,
}

/// One connection's place, free again when it is dropped.
pub struct Seat {
    room: Arc<Room>,
    address: IpAddr,
    _seat: OwnedSemaphorePermit,
}

impl Room {
    pub(super) fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self {
            seats: Arc::new(Semaphore::new(limits.sockets.sockets_max.min(Semaphore::MAX_PERMITS))),
            per_address_max: limits.sockets.sockets_per_address_max,
            by_address: Mutex::default(),
        })
    }

    /// Waits until there is a place for one more. `None` never happens while the room is there.
    pub(super) async fn free(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.seats).acquire_owned().await.ok()
    }

    /// Gives the place to somebody, unless its address has enough of them.
    pub(super) fn seat(self: &Arc<Self>, address: IpAddr, free: OwnedSemaphorePermit) -> Option<Seat> {
        let mut by_address = self.lock();
        let taken = by_address.get(&address).copied().unwrap_or(0);
        // A proxy or a load test on this machine is everybody.
        let any = self.per_address_max == 0 || address.is_loopback();
        if !any && taken >= self.per_address_max {
            return None;
        }
        by_address.insert(address, taken + 1);
        Some(Seat { room: Arc::clone(self), address, _seat: free })
    }

    /// How many connections there are.
    pub fn taken(&self) -> usize {
        self.lock().values().sum()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<IpAddr, usize>> {
        self.by_address.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut by_address = self.room.lock();
        match by_address.get_mut(&self.address) {
            Some(taken) if *taken > 1 => *taken -= 1,
            _ => {
                by_address.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::config::{Config, Sockets};

    fn room(sockets_max: usize, sockets_per_address_max: usize) -> Arc<Room> {
        let limits = Config::try_parse_from(["x"]).unwrap().limits;
        Room::new(Limits { sockets: Sockets { sockets_max, sockets_per_address_max }, ..limits })
    }

    async fn come(room: &Arc<Room>, address: &str) -> Option<Seat> {
        let free = room.free().await.unwrap();
        room.seat(address.parse().unwrap(), free)
    }

    #[tokio::test]
    async fn an_address_has_so_many_and_others_have_theirs() {
        let room = room(99, 2);
        let mut seats = Vec::new();
        for (address, fits) in [
            ("192.0.2.1", true),
            ("192.0.2.1", true),
            ("192.0.2.1", false),
            ("192.0.2.2", true),
            ("127.0.0.1", true),
            ("127.0.0.1", true),
            ("127.0.0.1", true),
        ] {
            let seat = come(&room, address).await;
            assert_eq!(seat.is_some(), fits, "{address}");
            seats.extend(seat);
        }
        assert_eq!(room.seats.available_permits(), 99 - 6, "who was refused takes no place");
        drop(seats.remove(0));
        seats.extend(come(&room, "192.0.2.1").await);
        assert_eq!((seats.len(), room.taken()), (6, 6), "one went, one came");
        seats.clear();
        assert!(room.lock().is_empty(), "nothing is kept of who is gone");
        assert_eq!(room.seats.available_permits(), 99);
    }

    #[tokio::test]
    async fn a_full_room_makes_wait() {
        let room = room(1, 0);
        let first = come(&room, "192.0.2.1").await.unwrap();
        let mut second = std::pin::pin!(come(&room, "192.0.2.1"));
        let waits = std::time::Duration::ZERO;
        assert!(tokio::time::timeout(waits, &mut second).await.is_err());
        drop(first);
        assert!(second.await.is_some());
    }
}
