//! The network between browsers and relay: seeded loss, delay, reordering and duplication.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::egress::Path;
use crate::random::Random;
use crate::time::Timestamp;

/// What the network does to datagrams.
#[derive(Clone, Copy)]
pub(crate) struct Weather {
    /// One way.
    pub(crate) delay: Duration,
    /// Up to this much more, which reorders.
    pub(crate) jitter: Duration,
    pub(crate) loss_percent: u64,
    pub(crate) duplicates_percent: u64,
}

impl Weather {
    pub(crate) const FAIR: Self = Self {
        delay: Duration::from_millis(5),
        jitter: Duration::ZERO,
        loss_percent: 0,
        duplicates_percent: 0,
    };
    pub(crate) const FOUL: Self = Self {
        delay: Duration::from_millis(10),
        jitter: Duration::from_millis(15),
        loss_percent: 5,
        duplicates_percent: 2,
    };
}

/// Which end a datagram goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum To {
    Relay,
    Browser,
}

/// A datagram on its way.
#[derive(Clone)]
pub(crate) struct Flight {
    pub(crate) to: To,
    pub(crate) path: Path,
    pub(crate) bytes: Vec<u8>,
}

#[derive(Clone)]
pub(crate) struct Net {
    pub(crate) weather: Weather,
    random: Random,
    in_flight: BTreeMap<(Timestamp, u64), Flight>,
    sent: u64,
}

impl Net {
    pub(crate) fn new(seed: u64) -> Self {
        Self { weather: Weather::FAIR, random: Random::new(seed), in_flight: BTreeMap::new(), sent: 0 }
    }

    pub(crate) fn send(&mut self, now: Timestamp, flight: &Flight) {
        let copies = match self.below(100) {
            dice if dice < self.weather.loss_percent => 0,
            dice if dice < self.weather.loss_percent + self.weather.duplicates_percent => 2,
            _ => 1,
        };
        for _ in 0..copies {
            let jitter_nanos = self.weather.jitter.as_nanos() as u64;
            let late = if jitter_nanos > 0 {
                Duration::from_nanos(self.below(jitter_nanos))
            } else {
                Duration::ZERO
            };
            self.sent += 1;
            self.in_flight.insert((now + self.weather.delay + late, self.sent), flight.clone());
        }
    }

    pub(crate) fn next_arrival(&self) -> Timestamp {
        self.in_flight.first_key_value().map_or(Timestamp::NEVER, |((at, _), _)| *at)
    }

    pub(crate) fn pop_due(&mut self, now: Timestamp) -> Option<Flight> {
        if self.next_arrival() > now {
            return None;
        }
        self.in_flight.pop_first().map(|(_, flight)| flight)
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.random.next_u64() % end
    }
}
