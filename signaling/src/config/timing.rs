//! Times that are no options.

use std::time::Duration;

/// Time limits and pauses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// Time for a participant to come back after its WebSocket was lost.
    pub reconnect_grace: Duration,
    /// Time for all participants to come back after a restart of this process.
    pub restart_grace: Duration,
    /// A session whose only participant is the recorder ends after this time, as in OpenVidu.
    pub unattended: Duration,
    /// Maximum wait of an RPC for the relay. Clients give up after 10 s.
    pub relay_wait: Duration,
    /// Time for a client that has left to close its WebSocket.
    pub farewell: Duration,
    /// Time for a new WebSocket to join a session.
    pub join_wait: Duration,
    /// Time for one attempt to send an event to an application's server.
    pub webhook_timeout: Duration,
    /// Pause before the second attempt. Each later pause is twice as long.
    pub webhook_pause: Duration,
    /// Time for the process to send waiting events before it ends.
    pub events_farewell: Duration,
    /// How long answers and notifications wait for the disk. Then they leave, and the change is written later.
    pub store_deadline: Duration,
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
            unattended: Duration::from_secs(120),
            relay_wait: Duration::from_secs(8),
            farewell: Duration::from_secs(10),
            join_wait: Duration::from_secs(10),
            webhook_timeout: Duration::from_secs(10),
            webhook_pause: Duration::from_secs(1),
            events_farewell: Duration::from_secs(3),
            store_deadline: Duration::from_millis(200),
            goodbye: Duration::from_millis(500),
            certificate_pause: Duration::from_secs(240),
        }
    }
}
