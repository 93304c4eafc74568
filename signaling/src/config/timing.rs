//! Periods that no operator changes.

use std::time::Duration;

/// How long things may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// How long a participant is kept after its socket was lost.
    pub reconnect_grace: Duration,
    /// The same for everybody after a restart of this process.
    pub restart_grace: Duration,
    /// How long an RPC that needs the relay waits for it. Clients give up after 10 s.
    pub relay_wait: Duration,
    /// How long a client that has left may keep its socket.
    pub farewell: Duration,
    /// How long a socket may stay without joining.
    pub join_wait: Duration,
    /// How long one attempt to tell an application's server may take.
    pub webhook_timeout: Duration,
    /// Pause before the second attempt; each later one is twice as long.
    pub webhook_pause: Duration,
    /// How long the process, told to end, goes on telling what happened.
    pub events_farewell: Duration,
    /// How long the process, about to end, waits for its WebSockets to be closed.
    pub goodbye: Duration,
    /// Pause after a certificate could not be fetched; each later one is twice as long. Not more than five attempts fall
    /// into an hour: more failures than that, and Let's Encrypt hears no more.
    pub certificate_pause: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            reconnect_grace: Duration::from_secs(10),
            restart_grace: Duration::from_secs(30),
            relay_wait: Duration::from_secs(8),
            farewell: Duration::from_secs(10),
            join_wait: Duration::from_secs(60),
            webhook_timeout: Duration::from_secs(10),
            webhook_pause: Duration::from_secs(1),
            events_farewell: Duration::from_secs(3),
            goodbye: Duration::from_millis(500),
            certificate_pause: Duration::from_secs(240),
        }
    }
}
