//! The media graph of a session: every endpoint, and the edges between outputs and inputs.

use std::collections::BTreeMap;

use millrace_control::PutSubscription;

use super::Endpoint;

/// How far an endpoint got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// An operation is sending it to the relay, or has sent it. It is not part of the session yet and is not stored.
    Reserved,
    /// It is part of the session.
    Agreed,
}

#[derive(Clone, Debug)]
struct Node {
    /// Connection that it belongs to.
    owner: String,
    endpoint: Endpoint,
    stage: Stage,
}

/// The changes that an index outside of the session must follow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GraphDelta {
    /// Endpoints that came.
    pub added: Vec<u64>,
    /// Endpoints that went.
    pub removed: Vec<u64>,
}

/// All endpoints of a session, by id.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    nodes: BTreeMap<u64, Node>,
    /// Endpoints on each shard; `None` is the session's own.
    on_shard: BTreeMap<Option<u32>, usize>,
    /// Endpoints on the session's own shard that only receive.
    viewing_at_home: usize,
    delta: GraphDelta,
}

impl Graph {
    /// Keeps an endpoint for an operation under way, so that a reconciliation in between keeps it too.
    pub fn reserve(&mut self, owner: &str, endpoint: Endpoint) {
        self.insert(owner, endpoint, Stage::Reserved);
    }

    /// Makes an endpoint part of the session.
    pub fn agree(&mut self, owner: &str, endpoint: Endpoint) {
        self.insert(owner, endpoint, Stage::Agreed);
    }

    /// Ends the reservation of an endpoint that was not agreed. Gives whether there was one.
    pub fn release(&mut self, id: u64) -> bool {
        let is_reserved = self.nodes.get(&id).is_some_and(|node| node.stage == Stage::Reserved);
        is_reserved && self.remove(id).is_some()
    }

    /// Removes an endpoint.
    pub fn remove(&mut self, id: u64) -> Option<Endpoint> {
        let node = self.nodes.remove(&id)?;
        self.count(&node.endpoint, false);
        self.delta.removed.push(id);
        Some(node.endpoint)
    }

    /// The endpoint of that id.
    pub fn get(&self, id: u64) -> Option<&Endpoint> {
        self.nodes.get(&id).map(|node| &node.endpoint)
    }

    /// The connection that an endpoint belongs to, and the endpoint.
    pub fn owned(&self, id: u64) -> Option<(&str, &Endpoint)> {
        self.nodes.get(&id).map(|node| (node.owner.as_str(), &node.endpoint))
    }

    /// The endpoint of that id with its owner, if it is stored.
    pub fn agreed_by_id(&self, id: u64) -> Option<(&str, &Endpoint)> {
        let node = self.nodes.get(&id).filter(|node| node.stage == Stage::Agreed)?;
        Some((node.owner.as_str(), &node.endpoint))
    }

    /// Sets the receive limit of an endpoint, in bit/s. Returns whether the limit changed.
    pub fn cap(&mut self, id: u64, receive_max_bps: u64) -> bool {
        let Some(node) = self.nodes.get_mut(&id) else { return false };
        std::mem::replace(&mut node.endpoint.peer.receive_max_bps, receive_max_bps) != receive_max_bps
    }

    /// Points the outputs of an endpoint at other tracks. An output of a track in `from` gets the track in the same
    /// place of `to`. Returns the changed endpoint.
    pub fn repoint(&mut self, id: u64, from: [u64; 2], to: [u64; 2]) -> Option<&Endpoint> {
        let node = self.nodes.get_mut(&id)?;
        for output in &mut node.endpoint.outputs {
            if let Some(place) = from.iter().position(|&track| track == output.track) {
                output.track = to[place];
            }
        }
        Some(&node.endpoint)
    }

    /// Every endpoint that the relay must hold: the agreed and the reserved ones.
    pub fn endpoints(&self) -> impl Iterator<Item = &Endpoint> {
        self.nodes.values().map(|node| &node.endpoint)
    }

    /// Every endpoint of a connection, also the reserved ones.
    pub fn owned_by(&self, owner: &str) -> impl Iterator<Item = &Endpoint> {
        self.nodes.values().filter(move |node| node.owner == owner).map(|node| &node.endpoint)
    }

    /// Every endpoint that is stored, with the connection that it belongs to.
    pub fn agreed(&self) -> impl Iterator<Item = (&str, &Endpoint)> {
        let agreed = self.nodes.values().filter(|node| node.stage == Stage::Agreed);
        agreed.map(|node| (node.owner.as_str(), &node.endpoint))
    }

    /// Every edge: an output, and the id of the input's track that it shows.
    pub fn edges(&self) -> impl Iterator<Item = (&PutSubscription, u64)> {
        self.endpoints().flat_map(|endpoint| &endpoint.outputs).map(|output| (output, output.track))
    }

    /// How many endpoints are on each shard; `None` is the session's own.
    pub fn on_shard(&self) -> impl Iterator<Item = (Option<u32>, usize)> {
        self.on_shard.iter().map(|(&shard, &count)| (shard, count))
    }

    /// How many endpoints on the session's own shard only receive.
    pub const fn viewing_at_home(&self) -> usize {
        self.viewing_at_home
    }

    /// Moves every endpoint on a shard that does not exist to the session's own.
    pub fn forget_shards(&mut self, exists: impl Fn(u32) -> bool) {
        let is_gone = |node: &Node| node.endpoint.shard.is_some_and(|shard| !exists(shard));
        let gone: Vec<u64> = self.nodes.iter().filter(|(_, node)| is_gone(node)).map(|(&id, _)| id).collect();
        for id in gone {
            let Some(mut node) = self.nodes.remove(&id) else { continue };
            self.count(&node.endpoint, false);
            node.endpoint.shard = None;
            self.count(&node.endpoint, true);
            self.nodes.insert(id, node);
        }
    }

    /// What came and went since the last call.
    pub fn take_delta(&mut self) -> GraphDelta {
        std::mem::take(&mut self.delta)
    }

    fn insert(&mut self, owner: &str, endpoint: Endpoint, stage: Stage) {
        let id = endpoint.id();
        self.count(&endpoint, true);
        match self.nodes.insert(id, Node { owner: owner.to_owned(), endpoint, stage }) {
            Some(old) => self.count(&old.endpoint, false),
            None => self.delta.added.push(id),
        }
    }

    fn count(&mut self, endpoint: &Endpoint, comes: bool) {
        let step = |count: &mut usize| *count = if comes { *count + 1 } else { count.saturating_sub(1) };
        step(self.on_shard.entry(endpoint.shard).or_default());
        if endpoint.is_viewing() && endpoint.shard.is_none() {
            step(&mut self.viewing_at_home);
        }
        self.on_shard.retain(|_, count| *count > 0);
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::endpoint;
    use super::*;

    fn viewing(id: u64, shard: Option<u32>, track: u64) -> Endpoint {
        let outputs = vec![PutSubscription { subscription: id, track, ..PutSubscription::default() }];
        Endpoint { outputs, shard, ..endpoint(id) }
    }

    #[test]
    fn a_reservation_becomes_an_endpoint_or_goes() {
        let mut graph = Graph::default();
        graph.reserve("con_A", endpoint(1));
        graph.reserve("con_A", endpoint(2));
        graph.agree("con_A", endpoint(1));
        assert!(graph.release(2) && !graph.release(2) && !graph.release(1), "what is agreed stays");
        assert_eq!(graph.endpoints().map(Endpoint::id).collect::<Vec<_>>(), [1]);
        assert_eq!(graph.take_delta(), GraphDelta { added: vec![1, 2], removed: vec![2] });
        assert_eq!(graph.take_delta(), GraphDelta::default());
    }

    #[test]
    fn endpoints_are_counted_by_their_shard() {
        let mut graph = Graph::default();
        graph.agree("con_A", endpoint(1));
        graph.agree("con_B", viewing(2, None, 11));
        graph.agree("con_C", viewing(3, Some(7), 11));
        let counts = |graph: &Graph| graph.on_shard().collect::<Vec<_>>();
        assert_eq!(counts(&graph), [(None, 2), (Some(7), 1)]);
        assert_eq!(graph.viewing_at_home(), 1);
        graph.forget_shards(|shard| shard == 0);
        assert_eq!((counts(&graph), graph.viewing_at_home()), (vec![(None, 3)], 2));
        graph.remove(2);
        graph.agree("con_C", viewing(3, Some(1), 11));
        assert_eq!((counts(&graph), graph.viewing_at_home()), (vec![(None, 1), (Some(1), 1)], 0));
    }

    #[test]
    fn an_edge_is_pointed_at_another_input() {
        let mut graph = Graph::default();
        graph.agree("con_B", viewing(2, None, 11));
        assert_eq!(
            graph.edges().map(|(output, input)| (output.subscription, input)).collect::<Vec<_>>(),
            [(2, 11)]
        );
        let outputs = graph.repoint(2, [10, 11], [20, 21]).map(|endpoint| endpoint.outputs.clone());
        assert_eq!(outputs.unwrap()[0].track, 21);
        assert!(graph.repoint(9, [10, 11], [20, 21]).is_none());
    }
}
