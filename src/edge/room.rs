//! How many connections there may be, in all and from one address, and who goes when one more comes.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

/// How far a connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// It has shown nothing yet that costs anything: a handshake, a Binding. The first to go.
    Stranger,
    /// A client that a shard knows. It goes only when it is idle.
    Client,
    /// Signaling's. That has its own limits and deadlines.
    Http,
}

/// How many connections there may be.
#[derive(Clone, Copy, Debug)]
pub struct RoomLimits {
    /// In all.
    pub connections_max: usize,
    /// From one address, of IPv6 from one network of 64 bits; 0 is any number, and from loopback any number may come.
    pub per_address_max: usize,
    /// Quiet for this long, a client makes room for another.
    pub idle: Duration,
}

impl Default for RoomLimits {
    fn default() -> Self {
        Self { connections_max: 16_384, per_address_max: 4_096, idle: Duration::from_secs(30) }
    }
}

/// The connections of one listener.
pub(super) struct Room {
    limits: RoomLimits,
    seats: RefCell<Seats>,
}

#[derive(Default)]
struct Seats {
    next: u64,
    taken: BTreeMap<u64, Rc<Place>>,
    by_address: BTreeMap<IpAddr, usize>,
}

struct Place {
    address: IpAddr,
    stage: Cell<Stage>,
    heard: Cell<Instant>,
    leave: Notify,
}

/// One connection's place, free again when it is dropped.
pub(super) struct Seat {
    room: Rc<Room>,
    number: u64,
    place: Rc<Place>,
}

/// What became of a newcomer.
pub(super) enum Seated {
    /// There was room.
    Free(Seat),
    /// An idle one has to leave for it.
    Instead(Seat),
    /// There is no room.
    Full,
}

impl Room {
    pub(super) fn new(limits: RoomLimits) -> Rc<Self> {
        Rc::new(Self { limits, seats: RefCell::default() })
    }

    /// A place for a connection from `address`; the oldest idle one goes for it if need be.
    pub(super) fn seat(self: &Rc<Self>, address: IpAddr, now: Instant) -> Seated {
        let address = network(address);
        let mut seats = self.seats.borrow_mut();
        let from_there = seats.by_address.get(&address).copied().unwrap_or(0);
        let max = self.limits.per_address_max;
        let goes = if max != 0 && from_there >= max && !address.is_loopback() {
            Some(seats.oldest_idle(now, self.limits.idle, |place| place.address == address))
        } else if seats.taken.len() >= self.limits.connections_max {
            Some(seats.oldest_idle(now, self.limits.idle, |_| true))
        } else {
            None
        };
        let displaces = goes.is_some();
        match goes {
            Some(Some(number)) => seats.remove(number, true),
            Some(None) => return Seated::Full,
            None => {}
        }
        let place = Rc::new(Place {
            address,
            stage: Cell::new(Stage::Stranger),
            heard: Cell::new(now),
            leave: Notify::new(),
        });
        let number = seats.next;
        seats.next += 1;
        seats.taken.insert(number, Rc::clone(&place));
        *seats.by_address.entry(address).or_default() += 1;
        drop(seats);
        let seat = Seat { room: Rc::clone(self), number, place };
        if displaces { Seated::Instead(seat) } else { Seated::Free(seat) }
    }
}

impl Seats {
    fn oldest_idle(&self, now: Instant, idle: Duration, of: impl Fn(&Place) -> bool) -> Option<u64> {
        let rank = |place: &Place| match place.stage.get() {
            Stage::Stranger => Some((0, place.heard.get())),
            Stage::Client if now.duration_since(place.heard.get()) >= idle => Some((1, place.heard.get())),
            Stage::Client | Stage::Http => None,
        };
        self.taken
            .iter()
            .filter(|(_, place)| of(place))
            .filter_map(|(number, place)| Some((rank(place)?, *number)))
            .min()
            .map(|(_, number)| number)
    }

    /// Once for each connection, whoever asks first.
    fn remove(&mut self, number: u64, tell: bool) {
        let Some(place) = self.taken.remove(&number) else { return };
        if tell {
            place.leave.notify_one();
        }
        match self.by_address.get_mut(&place.address) {
            Some(taken) if *taken > 1 => *taken -= 1,
            _ => {
                self.by_address.remove(&place.address);
            }
        }
    }
}

impl Seat {
    /// Something useful came.
    pub(super) fn heard(&self, now: Instant) {
        self.place.heard.set(now);
    }

    /// How long nothing useful has come.
    pub(super) fn quiet_for(&self, now: Instant) -> Duration {
        now.duration_since(self.place.heard.get())
    }

    /// How far it has come.
    pub(super) fn stage(&self) -> Stage {
        self.place.stage.get()
    }

    /// It has come this far.
    pub(super) fn set_stage(&self, stage: Stage) {
        self.place.stage.set(stage);
    }

    /// Waits until it has to make room.
    pub(super) async fn displaced(&self) {
        self.place.leave.notified().await;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.room.seats.borrow_mut().remove(self.number, false);
    }
}

/// Whom an address stands for: of IPv6 a customer has at least 64 bits.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(ip) if !ip.is_loopback() => Ipv6Addr::from(u128::from(ip) >> 64 << 64).into(),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDLE: Duration = Duration::from_secs(30);

    fn room(connections_max: usize, per_address_max: usize) -> Rc<Room> {
        Room::new(RoomLimits { connections_max, per_address_max, idle: IDLE })
    }

    fn come(room: &Rc<Room>, address: &str, now: Instant) -> Option<Seat> {
        match room.seat(address.parse().unwrap(), now) {
            Seated::Free(seat) | Seated::Instead(seat) => Some(seat),
            Seated::Full => None,
        }
    }

    async fn is_displaced(seat: &Seat) -> bool {
        tokio::time::timeout(Duration::ZERO, seat.displaced()).await.is_ok()
    }

    fn client(room: &Rc<Room>, address: &str, now: Instant) -> Seat {
        let seat = come(room, address, now).unwrap();
        seat.set_stage(Stage::Client);
        seat
    }

    #[tokio::test]
    async fn strangers_go_first_and_the_oldest_of_them() {
        let (room, now) = (room(3, 0), Instant::now());
        let known = client(&room, "192.0.2.1", now);
        let older = come(&room, "192.0.2.2", now + IDLE).unwrap();
        let newer = come(&room, "192.0.2.3", now + 2 * IDLE).unwrap();
        let last = come(&room, "192.0.2.4", now + 3 * IDLE).unwrap();
        assert!(is_displaced(&older).await && !is_displaced(&newer).await && !is_displaced(&known).await);
        drop(older);
        assert_eq!(room.seats.borrow().taken.len(), 3, "who was displaced has no place to give back");
        newer.set_stage(Stage::Http);
        last.set_stage(Stage::Http);
        assert!(come(&room, "192.0.2.5", now + 3 * IDLE).is_some(), "an idle client makes room");
        assert!(is_displaced(&known).await);
        assert!(come(&room, "192.0.2.6", now + 3 * IDLE).is_some(), "what has gone already is free");
    }

    #[tokio::test]
    async fn who_is_busy_stays() {
        let (room, now) = (room(2, 0), Instant::now());
        let busy = client(&room, "192.0.2.1", now);
        let other = client(&room, "192.0.2.1", now);
        let later = now + IDLE;
        busy.heard(later);
        other.heard(later);
        assert!(come(&room, "192.0.2.2", later).is_none());
        assert!(!is_displaced(&busy).await && !is_displaced(&other).await);
        assert!(room.seats.borrow().by_address.len() == 1, "nothing is kept of who was refused");
    }

    #[tokio::test]
    async fn an_address_takes_from_itself_alone() {
        let (room, now) = (room(99, 2), Instant::now());
        let mine = [(); 2].map(|()| come(&room, "2001:db8::1", now).unwrap());
        let other = come(&room, "192.0.2.1", now).unwrap();
        let third = come(&room, "2001:db8::ffff:2", now + IDLE).unwrap();
        assert!(is_displaced(&mine[0]).await && !is_displaced(&mine[1]).await && !is_displaced(&other).await);
        for seat in mine.iter().chain([&third]) {
            seat.set_stage(Stage::Http);
        }
        assert!(come(&room, "2001:db8::9", now).is_none(), "of the same network");
        assert!(come(&room, "2001:db8:0:1::9", now).is_some());
        let local: Vec<_> = (0..5).map(|_| come(&room, "::ffff:127.0.0.1", now).unwrap()).collect();
        drop((mine, other, third, local));
        let seats = room.seats.borrow();
        assert!(seats.taken.is_empty() && seats.by_address.is_empty(), "nothing is kept of who is gone");
    }
}
