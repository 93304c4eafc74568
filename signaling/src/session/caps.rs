//! How much video a publisher may send, with what its viewers may be sent in mind.
//!
//! The relay forwards one encoding to everybody. What no viewer may be sent is therefore not asked for: the publisher is
//! held to the cap of the viewer that may be sent most.

use std::collections::BTreeMap;

use millrace_control::MediaKind;

use super::{Connection, Media, Session};

/// What counts for connections that have no limits of their own, in kbit/s; 0 is unlimited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Caps {
    /// Most video a publisher may send.
    pub receive_max_kbps: u32,
    /// Most video a viewer is sent of one stream.
    pub send_max_kbps: u32,
}

impl Caps {
    fn receive_max_kbps(self, connection: &Connection) -> u32 {
        let own = connection.properties.kurento_options.as_ref();
        limit(own.and_then(|own| own.video_max_recv_bandwidth).unwrap_or(self.receive_max_kbps))
    }

    fn send_max_kbps(self, connection: &Connection) -> u32 {
        let own = connection.properties.kurento_options.as_ref();
        limit(own.and_then(|own| own.video_max_send_bandwidth).unwrap_or(self.send_max_kbps))
    }
}

/// 0 as the largest number there is.
const fn limit(kbps: u32) -> u32 {
    if kbps == 0 { u32::MAX } else { kbps }
}

impl Session {
    /// Brings the caps of all publishers in line with their viewers. Gives the connections of those that changed.
    pub fn adapt_caps(&mut self, server: Caps) -> Vec<String> {
        let mut most: BTreeMap<String, u32> = BTreeMap::new();
        for (viewer, participant) in self.participants() {
            let sent_kbps = server.send_max_kbps(viewer);
            let watched = participant.subscriptions.iter().filter(|watched| has_video(&watched.media));
            let itself = participant.stream.iter().filter(|own| has_video(&own.media)).map(|_| &viewer.id);
            for publisher in watched.map(|watched| &watched.publisher).chain(itself) {
                match most.get_mut(publisher) {
                    Some(most) => *most = sent_kbps.max(*most),
                    None => drop(most.insert(publisher.clone(), sent_kbps)),
                }
            }
        }
        let mut changed = Vec::new();
        for connection in &mut self.connections {
            let own_kbps = server.receive_max_kbps(connection);
            let stream = connection.participant.as_mut().and_then(|participant| participant.stream.as_mut());
            // Without video there is nothing to hold back, and the cap was never said.
            let Some(stream) = stream.filter(|stream| !stream.codecs(MediaKind::Video).is_empty()) else {
                continue;
            };
            let cap_kbps = most.get(&connection.id).map_or(own_kbps, |most| own_kbps.min(*most));
            let cap_bps = if cap_kbps == u32::MAX { 0 } else { u64::from(cap_kbps) * 1000 };
            if std::mem::replace(&mut stream.media.peer.receive_max_bps, cap_bps) != cap_bps {
                changed.push(connection.id.clone());
            }
        }
        changed
    }
}

/// Whether video is watched over it.
fn has_video(media: &Media) -> bool {
    media.subscriptions.iter().any(|watched| watched.kind() == MediaKind::Video)
}

#[cfg(test)]
mod tests {
    use millrace_control::{Codec, PutSubscription, PutTrack};

    use super::super::testing::{empty, join, media, stream};
    use super::super::{KurentoOptions, Role};
    use super::*;

    const SERVER: Caps = Caps { receive_max_kbps: 1_000, send_max_kbps: 0 };

    /// A publishes; B to D may watch.
    fn session() -> Session {
        let mut session = empty();
        for id in ["con_A", "con_B", "con_C", "con_D"] {
            join(&mut session, id, Role::Publisher);
        }
        let mut stream = stream("con_A", 1);
        let video = MediaKind::Video.into();
        stream.media.tracks =
            vec![PutTrack { kind: video, codecs: vec![Codec::default()], ..PutTrack::default() }];
        stream.media.peer.receive_max_bps = 1_000_000;
        let _ = session.publish("con_A", stream).unwrap();
        session
    }

    fn limited(session: &mut Session, id: &str, receive: Option<u32>, send: Option<u32>) {
        let connection = session.connections.iter_mut().find(|connection| connection.id == id).unwrap();
        connection.properties.kurento_options = Some(KurentoOptions {
            video_max_recv_bandwidth: receive,
            video_max_send_bandwidth: send,
            ..KurentoOptions::default()
        });
    }

    fn watch(session: &mut Session, viewer: &str, kind: MediaKind) {
        let subscriptions = vec![PutSubscription { kind: kind.into(), ..PutSubscription::default() }];
        let media = Media { subscriptions, ..media(9) };
        let _ = session.subscribe(viewer, "str_CAM_Xxxx_con_A", media, 1).unwrap();
    }

    fn cap_kbps(session: &mut Session, server: Caps) -> u64 {
        let before = session.publisher("str_CAM_Xxxx_con_A").unwrap().1.media.peer.receive_max_bps;
        let changed = session.adapt_caps(server);
        let after = session.publisher("str_CAM_Xxxx_con_A").unwrap().1.media.peer.receive_max_bps;
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
