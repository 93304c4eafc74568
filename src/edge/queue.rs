//! Messages that wait to be written to one client.

use std::collections::VecDeque;

use super::framing::Framing;

/// A queue of messages for one stream.
pub(super) struct Queue {
    framing: Framing,
    bytes: VecDeque<u8>,
    /// Bytes left of each message, where messages are written one by one.
    rests: Option<VecDeque<usize>>,
}

impl Queue {
    /// An empty queue. With `one_by_one` each message gets its own TLS record, since coturn's client does not read a second
    /// message out of one record.
    pub(super) fn new(framing: Framing, one_by_one: bool) -> Self {
        Self { framing, bytes: VecDeque::new(), rests: one_by_one.then(VecDeque::new) }
    }

    /// Adds a datagram as a message of the stream.
    pub(super) fn push(&mut self, datagram: &[u8]) {
        let before = self.bytes.len();
        self.framing.wrap(datagram, &mut self.bytes);
        if let Some(rests) = &mut self.rests {
            rests.push_back(self.bytes.len() - before);
        }
    }

    /// Bytes in the queue.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The bytes to write next, in one piece. Empty when the queue is.
    pub(super) fn next(&mut self) -> &[u8] {
        let Some(&rest) = self.rests.as_ref().and_then(VecDeque::front) else {
            return self.bytes.as_slices().0;
        };
        if self.bytes.as_slices().0.len() < rest {
            self.bytes.make_contiguous();
        }
        &self.bytes.as_slices().0[..rest]
    }

    /// Removes bytes that were written.
    pub(super) fn advance(&mut self, len: usize) {
        self.bytes.drain(..len);
        let Some(rests) = &mut self.rests else { return };
        match rests.front_mut() {
            Some(rest) if *rest > len => *rest -= len,
            _ => drop(rests.pop_front()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(one_by_one: bool) -> Queue {
        let mut queue = Queue::new(Framing::Turn, one_by_one);
        for datagram in [&b"\x40\x00\x00\x01a"[..], b"\x40\x00\x00\x04abcd"] {
            queue.push(datagram);
        }
        queue
    }

    #[test]
    fn all_at_once_or_one_by_one() {
        let mut queue = filled(false);
        assert_eq!(queue.len(), 16);
        assert_eq!(queue.next().len(), 16);
        queue.advance(3);
        assert_eq!(queue.next().len(), 13);

        let mut queue = filled(true);
        assert_eq!(queue.next(), b"\x40\x00\x00\x01a\0\0\0");
        queue.advance(3);
        assert_eq!(queue.next(), b"\x01a\0\0\0");
        queue.advance(5);
        assert_eq!(queue.next(), b"\x40\x00\x00\x04abcd");
        queue.advance(8);
        assert!(queue.next().is_empty() && queue.len() == 0);
    }

    #[test]
    fn a_message_is_in_one_piece_wherever_the_ring_ends() {
        let mut queue = Queue::new(Framing::Turn, true);
        let datagram = [&b"\x40\x00\x00\x64"[..], &[7; 100]].concat();
        queue.push(&datagram);
        for _ in 0..200 {
            queue.push(&datagram);
            assert_eq!(queue.next(), datagram);
            queue.advance(datagram.len());
        }
    }
}
