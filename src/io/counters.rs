//! What a backend counts. The cores count their own discards; these are the kernel's side.

use crate::ingress::Train;

/// Counters of one backend since it was opened. They only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Cycles of the loop: a watchdog's sign of life.
    pub cycles: u64,
    /// Wakes by other threads that reached this one; a burst counts once.
    pub wakeups: u64,
    /// Datagrams handed to the shard.
    pub datagrams_in: u64,
    /// Receives that brought them: `datagrams_in / receives` is what the kernel gathered.
    pub receives: u64,
    /// Their bytes, without headers.
    pub bytes_in: u64,
    /// Datagrams dropped because they were longer than a receive buffer.
    pub truncated: u64,
    /// Datagrams dropped because they were empty, or came without an address.
    pub unusable: u64,
    /// Receives that failed; mostly ICMP errors of earlier sends.
    pub receive_errors: u64,
    /// Times all receive buffers were in use, so that datagrams waited in the socket (io_uring only).
    pub buffers_exhausted: u64,
    /// Datagrams the kernel took.
    pub datagrams_out: u64,
    /// Their bytes, without headers.
    pub bytes_out: u64,
    /// Sends that brought them there: `datagrams_out / sends` is what segmentation saves.
    pub sends: u64,
    /// Sends of more than one datagram.
    pub gso_runs: u64,
    /// Runs the kernel refused to segment, and that went one by one.
    pub gso_refused: u64,
    /// Sends repeated because the socket's buffer was full.
    pub send_retries: u64,
    /// Datagrams lost because the kernel would not send them: no route, a firewall, no room after all retries.
    pub send_errors: u64,
    /// Times every slot was taken in the middle of a cycle, and what was queued left early.
    pub slots_exhausted: u64,
    /// Reservations refused because even that freed none.
    pub slots_refused: u64,
}

impl Counters {
    /// Counts what is handed to the shard.
    pub(super) const fn count_train(&mut self, train: &Train<'_>) {
        self.receives += 1;
        self.datagrams_in += train.len() as u64;
        self.bytes_in += train.bytes.len() as u64;
    }

    /// Every counter with its name, in a fixed order.
    pub const fn each(&self) -> [(&'static str, u64); 18] {
        [
            ("io_cycles", self.cycles),
            ("io_wakeups", self.wakeups),
            ("io_datagrams_in", self.datagrams_in),
            ("io_receives", self.receives),
            ("io_bytes_in", self.bytes_in),
            ("io_truncated", self.truncated),
            ("io_unusable", self.unusable),
            ("io_receive_errors", self.receive_errors),
            ("io_buffers_exhausted", self.buffers_exhausted),
            ("io_datagrams_out", self.datagrams_out),
            ("io_bytes_out", self.bytes_out),
            ("io_sends", self.sends),
            ("io_gso_runs", self.gso_runs),
            ("io_gso_refused", self.gso_refused),
            ("io_send_retries", self.send_retries),
            ("io_send_errors", self.send_errors),
            ("io_slots_exhausted", self.slots_exhausted),
            ("io_slots_refused", self.slots_refused),
        ]
    }
}
