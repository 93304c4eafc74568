//! How much video a publisher may send. The limits of its viewers count too.
//!
//! The relay forwards one encoding to all viewers. A publisher is therefore limited to what the viewer with the highest limit
//! may be sent.

use millrace_control::MediaKind;

use super::{Connection, Part, Session};

/// The limits of connections that have none of their own, in kbit/s; 0 is unlimited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Caps {
    /// Most video a publisher may send.
    pub receive_max_kbps: u32,
    /// Most video a viewer is sent of one stream.
    pub send_max_kbps: u32,
}

impl Caps {
    fn receive_max_kbps(self, connection: &Connection) -> u32 {
        let own = connection.properties.bandwidth.as_ref();
        limit(own.and_then(|own| own.video_max_recv_bandwidth).unwrap_or(self.receive_max_kbps))
    }

    /// A viewer's own limit, else the server's. 0 becomes [`u32::MAX`].
    pub(super) fn send_or(self, own_kbps: Option<u32>) -> u32 {
        limit(own_kbps.unwrap_or(self.send_max_kbps))
    }
}

/// Replaces 0, which means unlimited, by [`u32::MAX`].
const fn limit(kbps: u32) -> u32 {
    if kbps == 0 { u32::MAX } else { kbps }
}

impl Session {
    /// Adapts the caps of the publishers whose viewers have changed since the last call. Returns the connections
    /// whose cap changed.
    pub fn adapt_caps(&mut self, server: Caps) -> Vec<String> {
        let touched = self.watching.take_touched();
        touched.into_iter().filter(|publisher| self.adapt_cap(publisher, server).unwrap_or(false)).collect()
    }

    fn adapt_cap(&mut self, publisher: &str, server: Caps) -> Option<bool> {
        let connection = self.roster.get(publisher)?;
        let stream = connection.participant.as_ref()?.stream.as_ref()?;
        // A stream without video has no cap, and the relay never got one for it.
        self.input(stream, MediaKind::Video).filter(|input| !input.codecs.is_empty())?;
        let (endpoint, own_kbps) = (stream.endpoint, server.receive_max_kbps(connection));
        let largest = self.watching.largest_kbps(publisher, server);
        let cap_kbps = largest.map_or(own_kbps, |largest| own_kbps.min(largest));
        let cap_bps = if cap_kbps == u32::MAX { 0 } else { u64::from(cap_kbps) * 1000 };
        let is_new = self.graph.cap(endpoint, cap_bps);
        if is_new {
            self.touch(Part::Endpoint(endpoint));
        }
        Some(is_new)
    }
}

/// The limit on what `viewer` is sent of one stream, if it has one of its own, in kbit/s.
pub(super) fn own_send_max_kbps(viewer: &Connection) -> Option<u32> {
    viewer.properties.bandwidth.as_ref().and_then(|own| own.video_max_send_bandwidth)
}

#[cfg(test)]
mod tests {
    use millrace_control::{Codec, PutSubscription, PutTrack};

    use super::super::testing::{empty, endpoint, join, stream};
    use super::super::{BandwidthLimits, Endpoint, Role};
    use super::*;

    const SERVER: Caps = Caps { receive_max_kbps: 1_000, send_max_kbps: 0 };

    /// A publishes; B to D may watch.
    fn session() -> Session {
        let mut session = empty();
        for id in ["con_A", "con_B", "con_C", "con_D"] {
            join(&mut session, id, Role::Publisher);
        }
        let stream = stream("con_A", 1);
        let mut endpoint = endpoint(1);
        let (kind, track) = (MediaKind::Video.into(), stream.video_track);
        endpoint.inputs =
            vec![PutTrack { track, kind, codecs: vec![Codec::default()], ..PutTrack::default() }];
        endpoint.peer.receive_max_bps = 1_000_000;
        let _ = session.publish("con_A", stream, endpoint).unwrap();
        session
    }

    fn limited(session: &mut Session, id: &str, receive: Option<u32>, send: Option<u32>) {
        let mut connection = session.roster.remove(id).unwrap();
        connection.properties.bandwidth = Some(BandwidthLimits {
            video_max_recv_bandwidth: receive,
            video_max_send_bandwidth: send,
            ..BandwidthLimits::default()
        });
        session.roster.push(connection);
    }

    fn watch(session: &mut Session, viewer: &str, kind: MediaKind) {
        let outputs = vec![PutSubscription { kind: kind.into(), ..PutSubscription::default() }];
        let number = u64::from(viewer.as_bytes()[4]);
        let endpoint = Endpoint { outputs, ..endpoint(number) };
        let _ = session.subscribe(viewer, "str_CAM_Xxxx_con_A", endpoint, 1).unwrap();
    }

    fn cap_kbps(session: &mut Session, server: Caps) -> u64 {
        let cap_bps = |session: &Session| session.graph().get(1).unwrap().peer.receive_max_bps;
        let before = cap_bps(session);
        session.watching.touch("con_A");
        let changed = session.adapt_caps(server);
        let after = cap_bps(session);
        assert_eq!(changed, if before == after { vec![] } else { vec!["con_A"] });
        after / 1000
    }

    #[test]
    fn the_viewer_that_may_be_sent_most_counts() {
        let mut session = session();
        limited(&mut session, "con_B", None, Some(300));
        limited(&mut session, "con_C", None, Some(500));
        assert_eq!(cap_kbps(&mut session, SERVER), 1_000, "nobody watches");
        watch(&mut session, "con_B", MediaKind::Video);
        assert_eq!(cap_kbps(&mut session, SERVER), 300);
        watch(&mut session, "con_C", MediaKind::Video);
        assert_eq!(cap_kbps(&mut session, SERVER), 500);
        watch(&mut session, "con_D", MediaKind::Audio);
        assert_eq!(cap_kbps(&mut session, SERVER), 500, "who listens does not count");
        watch(&mut session, "con_D", MediaKind::Video);
        assert_eq!(cap_kbps(&mut session, SERVER), 1_000, "it may be sent anything");
        let _ = session.unsubscribe("con_D", "con_A").unwrap();
        let _ = session.unsubscribe("con_C", "con_A").unwrap();
        assert_eq!(cap_kbps(&mut session, SERVER), 300);
    }

    #[test]
    fn what_the_publisher_may_send_stays_the_most() {
        let mut session = session();
        limited(&mut session, "con_A", Some(0), None);
        assert_eq!(cap_kbps(&mut session, SERVER), 0, "unlimited");
        watch(&mut session, "con_B", MediaKind::Video);
        assert_eq!(cap_kbps(&mut session, SERVER), 0);
        assert_eq!(cap_kbps(&mut session, Caps { send_max_kbps: 800, ..SERVER }), 800, "the server's own");
        limited(&mut session, "con_A", Some(200), None);
        assert_eq!(cap_kbps(&mut session, Caps { send_max_kbps: 800, ..SERVER }), 200);
    }
}
