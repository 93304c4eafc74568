//! Who takes part: every peer of a run with what it publishes and watches, in the order they come up.

use super::scenario::{Cast, Scenario};

/// Whose figures a peer's belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// The load itself.
    Crowd,
    /// Those beside it, who should not notice.
    Bystander,
}

/// One peer: one transport.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerPlan {
    /// Who it belongs to, from 0: somebody may have several transports.
    pub participant: usize,
    /// Its session, from 0.
    pub session: usize,
    /// Its number among all publishers, if it publishes.
    pub publishes: Option<usize>,
    /// Publishers it watches.
    pub watches: Vec<usize>,
    /// Comes up while the clock runs.
    pub late: bool,
    /// Whose figures its belong to.
    pub group: Group,
}

/// Every peer. Publishers of a session stand before its viewers, bystanders before all; late ones are last.
#[must_use]
pub fn peers(scenario: &Scenario) -> Vec<PeerPlan> {
    let mut peers = Vec::new();
    let mut publishers = 0;
    if scenario.bystander {
        // A session of its own, placed with the first.
        let plan = PeerPlan {
            participant: 0,
            session: scenario.sessions,
            publishes: Some(0),
            watches: Vec::new(),
            late: false,
            group: Group::Bystander,
        };
        peers.push(plan.clone());
        peers.push(PeerPlan { publishes: None, watches: vec![0], ..plan });
        publishers = 1;
    }
    for session in 0..scenario.sessions {
        let plan = PeerPlan {
            participant: 0,
            session,
            publishes: None,
            watches: Vec::new(),
            late: false,
            group: Group::Crowd,
        };
        let first = publishers;
        match scenario.cast {
            Cast::Stage { publishers: count, viewers } => {
                publishers += count;
                peers
                    .extend((first..publishers).map(|own| PeerPlan { publishes: Some(own), ..plan.clone() }));
                let viewer =
                    PeerPlan { watches: (first..publishers).collect(), late: scenario.storm, ..plan };
                peers.extend(std::iter::repeat_n(viewer, viewers));
            }
            Cast::Room(people) => {
                publishers += people;
                peers.extend((first..publishers).map(|own| PeerPlan {
                    publishes: Some(own),
                    watches: (first..publishers).filter(|other| *other != own).collect(),
                    late: scenario.storm,
                    ..plan.clone()
                }));
            }
        }
    }
    peers.sort_by_key(|peer| peer.late);
    peers.iter_mut().enumerate().for_each(|(participant, peer)| peer.participant = participant);
    peers
}

/// The same with a transport for each stream, as browsers have them towards the server: first what each publishes, then
/// what it watches.
#[must_use]
pub fn transports(scenario: &Scenario) -> Vec<PeerPlan> {
    let peers = peers(scenario);
    let publishes = |peer: &PeerPlan| PeerPlan { watches: Vec::new(), ..peer.clone() };
    let watches = |peer: &PeerPlan, publisher: usize| PeerPlan {
        publishes: None,
        watches: vec![publisher],
        ..peer.clone()
    };
    let publishing = peers.iter().filter(|peer| peer.publishes.is_some()).map(publishes);
    let watching =
        peers.iter().flat_map(|peer| peer.watches.iter().map(|publisher| watches(peer, *publisher)));
    let mut all: Vec<PeerPlan> = publishing.chain(watching).collect();
    all.sort_by_key(|peer| peer.late);
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::scenario::Layer;

    fn cast(layer: Layer) -> Vec<PeerPlan> {
        peers(&Scenario::resolve(layer).unwrap())
    }

    #[test]
    fn viewers_watch_the_publishers_of_their_own_session() {
        let layer = Layer {
            sessions: Some(2),
            publishers: Some(2),
            viewers: Some(3),
            bystander: Some(true),
            ..Layer::default()
        };
        let peers = cast(layer.clone());
        assert_eq!(peers.len(), 2 + 10);
        assert_eq!(peers[1].watches, [0]);
        let watches: Vec<_> = peers.iter().map(|peer| (peer.session, peer.watches.clone())).collect();
        assert_eq!(watches[4], (0, vec![1, 2]));
        assert_eq!(watches[11], (1, vec![3, 4]));
        let late = cast(Layer { storm: Some(true), ..layer });
        let order: Vec<_> = late.iter().map(|peer| peer.late).collect();
        assert_eq!(order, [vec![false; 6], vec![true; 6]].concat());
    }

    #[test]
    fn with_a_transport_for_each_stream_publishing_goes_first() {
        let layer = Layer { room: Some(3), ..Layer::default() };
        let all = transports(&Scenario::resolve(layer).unwrap());
        let told: Vec<_> = all
            .iter()
            .map(|peer| (peer.participant, peer.publishes, peer.watches.first().copied()))
            .collect();
        assert_eq!(told[..3], [(0, Some(0), None), (1, Some(1), None), (2, Some(2), None)]);
        assert_eq!(told[3..5], [(0, None, Some(1)), (0, None, Some(2))]);
        assert_eq!(told.len(), 9);
    }

    #[test]
    fn everybody_in_a_room_watches_everybody_else() {
        let peers = cast(Layer { sessions: Some(2), room: Some(3), ..Layer::default() });
        let watches: Vec<_> = peers.iter().map(|peer| peer.watches.clone()).collect();
        assert_eq!(watches, [[1, 2], [0, 2], [0, 1], [4, 5], [3, 5], [3, 4]]);
        assert_eq!(peers[5].publishes, Some(5));
    }
}
