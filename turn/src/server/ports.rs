//! The ports of relayed addresses: in an order that nobody guesses, and what was given back comes last.

use std::collections::VecDeque;
use std::ops::RangeInclusive;

use crate::server::seeded::Dice;

/// How long a port rests at which no socket could be opened, in nanoseconds.
const REST_NS: u64 = 600_000_000_000;

#[derive(Default)]
pub(super) struct Ports {
    free: VecDeque<u16>,
    /// Until when, and which; the first to come back first.
    resting: VecDeque<(u64, u16)>,
}

impl Ports {
    /// All of `range` but those that are taken.
    pub(super) fn new(range: RangeInclusive<u16>, dice: &mut Dice, is_taken: impl Fn(u16) -> bool) -> Self {
        let mut free: Vec<u16> = range.filter(|&port| port != 0 && !is_taken(port)).collect();
        for at in (1..free.len()).rev() {
            free.swap(at, dice.below(at + 1));
        }
        Self { free: free.into(), resting: VecDeque::new() }
    }

    /// The next port, or the next even one.
    pub(super) fn take(&mut self, now_ns: u64, even: bool) -> Option<u16> {
        while let Some(&(until_ns, port)) = self.resting.front()
            && until_ns <= now_ns
        {
            self.resting.pop_front();
            self.free.push_back(port);
        }
        if even {
            let at = self.free.iter().position(|port| port % 2 == 0)?;
            return self.free.remove(at);
        }
        self.free.pop_front()
    }

    pub(super) fn give_back(&mut self, port: u16) {
        self.free.push_back(port);
    }

    pub(super) fn rest(&mut self, port: u16, now_ns: u64) {
        self.resting.push_back((now_ns.saturating_add(REST_NS), port));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_port_comes_once_and_comes_back() {
        let mut ports = Ports::new(50_000..=50_099, &mut Dice::new(1), |port| port == 50_007);
        let order: Vec<_> = std::iter::from_fn(|| ports.take(0, false)).collect();
        let mut sorted = order.clone();
        sorted.sort_unstable();
        assert!(sorted.into_iter().eq((50_000..=50_099).filter(|port| *port != 50_007)));
        assert!(!order.is_sorted(), "nobody guesses the next");
        for port in &order {
            ports.give_back(*port);
        }
        assert!(std::iter::from_fn(|| ports.take(0, false)).eq(order), "the longest unused first");
    }

    #[test]
    fn a_bad_port_rests() {
        let mut ports = Ports::new(50_000..=50_000, &mut Dice::new(1), |_| false);
        let port = ports.take(0, false).unwrap();
        ports.rest(port, 5);
        assert_eq!(ports.take(REST_NS, false), None);
        assert_eq!(ports.take(REST_NS + 5, false), Some(50_000));
    }

    #[test]
    fn another_seed_is_another_order() {
        let order = |seed| {
            let mut ports = Ports::new(49_152..=65_535, &mut Dice::new(seed), |_| false);
            std::iter::from_fn(move || ports.take(0, false)).collect::<Vec<_>>()
        };
        assert_ne!(order(1), order(2));
        assert_eq!(order(1).len(), 16_384);
    }

    #[test]
    fn an_even_port_is_even_and_the_others_keep_their_turn() {
        let mut ports = Ports::new(50_000..=50_099, &mut Dice::new(1), |_| false);
        let order: Vec<_> = ports.free.iter().copied().collect();
        let even = ports.take(0, true).unwrap();
        assert_eq!(Some(&even), order.iter().find(|port| *port % 2 == 0));
        let others: Vec<_> = std::iter::from_fn(|| ports.take(0, false)).collect();
        assert!(others.into_iter().eq(order.into_iter().filter(|port| *port != even)));
    }
}
