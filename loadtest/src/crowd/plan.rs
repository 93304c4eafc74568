//! Who joins when, in which room, and what they do there.

use std::net::Ipv4Addr;
use std::time::Duration;

/// Participants of one source address. The kernel has some 28 000 ports for each pair of source and destination.
const PER_ADDRESS: usize = 10_000;

/// The rooms of a run and the rate at which they fill.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Plan {
    /// Start of each room's name, unique in the server.
    pub(super) name: String,
    pub(super) shape: Shape,
    /// Joins that begin each second.
    pub(super) rate: f64,
}

/// What the rooms look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// So many rooms of so many participants; everyone publishes and watches all others of the room.
    Rooms { rooms: usize, size: usize },
    /// One room with one publisher and so many viewers.
    Lecture { viewers: usize },
}

/// One participant's part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) number: usize,
    /// The custom id of its session.
    pub(super) session: String,
    pub(super) publishes: bool,
    /// Streams it watches once everyone is there.
    pub(super) watches: usize,
    /// Address it connects from where the server is on loopback.
    pub(super) source: Ipv4Addr,
}

impl Plan {
    pub(super) const fn participants(&self) -> usize {
        match self.shape {
            Shape::Rooms { rooms, size } => rooms * size,
            Shape::Lecture { viewers } => viewers + 1,
        }
    }

    /// One small room, for a server that has just started.
    pub(super) fn warm_up(&self) -> Self {
        Self { name: format!("{}-warm-up", self.name), shape: Shape::Rooms { rooms: 1, size: 2 }, rate: 10.0 }
    }

    pub(super) const fn rooms(&self) -> usize {
        match self.shape {
            Shape::Rooms { rooms, .. } => rooms,
            Shape::Lecture { .. } => 1,
        }
    }

    pub(super) const fn publishers(&self) -> usize {
        match self.shape {
            Shape::Rooms { rooms, size } => rooms * size,
            Shape::Lecture { .. } => 1,
        }
    }

    /// Subscriptions of all participants.
    pub(super) const fn subscriptions(&self) -> usize {
        match self.shape {
            Shape::Rooms { rooms, size } => rooms * size * (size - 1),
            Shape::Lecture { viewers } => viewers,
        }
    }

    /// When participant `number` begins to join, from the start of the run.
    pub(super) fn due(&self, number: usize) -> Duration {
        Duration::from_secs_f64(number as f64 / self.rate)
    }

    pub(super) fn place(&self, number: usize) -> Place {
        let (room, publishes, watches) = match self.shape {
            Shape::Rooms { rooms, size } => (self.room_of(number, rooms, size), true, size - 1),
            Shape::Lecture { .. } => (0, number == 0, usize::from(number > 0)),
        };
        let block = u8::try_from(number / PER_ADDRESS).unwrap_or(u8::MAX).min(250);
        Place {
            number,
            session: self.session(room),
            publishes,
            watches,
            source: Ipv4Addr::new(127, 0, 0, 2 + block),
        }
    }

    /// The custom id of a room.
    pub(super) fn session(&self, room: usize) -> String {
        format!("{}-{room}", self.name)
    }

    /// Rooms fill in groups of one second's joins. So the members of a room come a second apart, and the load is the
    /// same from the first second to the last: a run that filled all rooms at once would watch most at its end.
    fn room_of(&self, number: usize, rooms: usize, size: usize) -> usize {
        let group = (self.rate as usize).clamp(1, rooms);
        let first = number / (group * size) * group;
        let group = group.min(rooms - first);
        first + (number - first * size) % group
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn plan(shape: Shape, rate: f64) -> Plan {
        Plan { name: "x".into(), shape, rate }
    }

    #[test]
    fn every_room_gets_its_size_and_fills_within_some_seconds() {
        for (rooms, rate) in [(1, 200.0), (7, 3.0), (10, 4.0), (1_000, 200.0), (3, 0.5)] {
            let plan = plan(Shape::Rooms { rooms, size: 5 }, rate);
            let mut seen = BTreeMap::<String, Vec<usize>>::new();
            for number in 0..plan.participants() {
                seen.entry(plan.place(number).session).or_default().push(number);
            }
            assert_eq!(seen.len(), rooms);
            for members in seen.values() {
                assert_eq!(members.len(), 5, "{rooms} {rate}");
                let group = (rate as usize).clamp(1, rooms);
                assert!(members[4] - members[0] <= 4 * group, "{members:?}");
            }
        }
    }

    #[test]
    fn a_lecture_has_one_publisher_that_all_others_watch() {
        let plan = plan(Shape::Lecture { viewers: 3 }, 1.0);
        let places: Vec<_> = (0..plan.participants()).map(|number| plan.place(number)).collect();
        assert_eq!(places.len(), 4);
        assert!(places.iter().all(|place| place.session == "x-0"));
        assert_eq!(places.iter().filter(|place| place.publishes).count(), plan.publishers());
        assert_eq!(places.iter().map(|place| place.watches).sum::<usize>(), plan.subscriptions());
    }

    #[test]
    fn no_source_address_runs_out_of_ports() {
        let plan = plan(Shape::Rooms { rooms: 10_000, size: 5 }, 200.0);
        let mut seen = BTreeMap::<Ipv4Addr, usize>::new();
        for number in 0..plan.participants() {
            *seen.entry(plan.place(number).source).or_default() += 1;
        }
        assert_eq!(seen.into_values().collect::<Vec<_>>(), [10_000; 5]);
    }
}
