//! The server beside a reference model: lists and nothing clever. Whatever is done in whatever order, both say the same.

use std::net::SocketAddr;

use proptest::prelude::*;

use super::*;

/// Media, media in IPv6, two outside peers of one address, a third, our own address at another port, a private one.
const PEERS: [&str; 7] =
    [MEDIA, MEDIA_V6, "192.0.2.1:9", "192.0.2.1:10", "192.0.2.2:9", "203.0.113.5:22", "10.0.0.1:9"];
const NUMBERS: [u16; 5] = [0x4000, 0x4001, 0x4010, 0x7fff, 0x8000];
const PEOPLE: usize = 4;
const USER: Quota =
    Quota { allocations_max: 2, permissions_max: 3, channels_max: 2, bandwidth_max_bytes_per_s: 0 };
const TOTAL: Quota =
    Quota { allocations_max: 3, permissions_max: 5, channels_max: 3, bandwidth_max_bytes_per_s: 0 };

/// One thing that is done, by the person of this number.
#[derive(Clone, Debug)]
enum Step {
    Allocate { who: usize, families: [bool; 2], lifetime_s: Option<u32> },
    Refresh { who: usize, lifetime_s: u32 },
    Permit { who: usize, peers: Vec<usize> },
    Bind { who: usize, number: usize, peer: usize },
    Send { who: usize, peer: usize },
    Data { who: usize, number: usize },
    FromPeer { who: usize, peer: usize },
    WrongPassword { who: usize },
    Leave { who: usize },
    Sleep { seconds: u64 },
    Timeout,
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let who = || 0..PEOPLE;
    let families = prop_oneof![3 => Just([true, false]), 1 => Just([false, true]), 2 => Just([true, true])];
    let lifetime_s = || prop_oneof![Just(600_u32), Just(0), 1_u32..4_000];
    let step = prop_oneof![
        5 => (who(), families, proptest::option::of(lifetime_s()))
            .prop_map(|(who, families, lifetime_s)| Step::Allocate { who, families, lifetime_s }),
        2 => (who(), lifetime_s()).prop_map(|(who, lifetime_s)| Step::Refresh { who, lifetime_s }),
        5 => (who(), proptest::collection::vec(0..PEERS.len(), 0..4))
            .prop_map(|(who, peers)| Step::Permit { who, peers }),
        6 => (who(), 0..NUMBERS.len(), 0..PEERS.len())
            .prop_map(|(who, number, peer)| Step::Bind { who, number, peer }),
        4 => (who(), 0..PEERS.len()).prop_map(|(who, peer)| Step::Send { who, peer }),
        4 => (who(), 0..NUMBERS.len()).prop_map(|(who, number)| Step::Data { who, number }),
        4 => (who(), 0..PEERS.len()).prop_map(|(who, peer)| Step::FromPeer { who, peer }),
        1 => who().prop_map(|who| Step::WrongPassword { who }),
        1 => who().prop_map(|who| Step::Leave { who }),
        3 => prop_oneof![Just(1_u64), Just(299), Just(300), Just(600), 1_u64..650]
            .prop_map(|seconds| Step::Sleep { seconds }),
        1 => Just(Step::Timeout),
        1 => Just(Step::Restart),
    ];
    proptest::collection::vec(step, 1..120)
}

// ------------------------------------------------------------------------------------------------ the model

#[derive(Clone, Debug)]
struct Allocation {
    who: usize,
    until_s: u64,
    families: [bool; 2],
    relayed: Vec<SocketAddr>,
    permissions: Vec<(IpAddr, u64)>,
    channels: Vec<(u16, SocketAddr, u64)>,
    /// Families with a socket.
    sockets: [bool; 2],
}

impl Allocation {
    fn permits(&self, peer: SocketAddr, now_s: u64) -> bool {
        self.permissions.iter().any(|&(ip, until_s)| ip == peer.ip() && until_s > now_s)
    }

    fn has_family_of(&self, peer: SocketAddr) -> bool {
        self.families[usize::from(peer.is_ipv6())]
    }
}

#[derive(Default)]
struct Model {
    now_s: u64,
    allocations: Vec<Allocation>,
}

/// Persons 0 and 1 are one user, 2 and 3 another.
const fn user_of(who: usize) -> usize {
    who / 2
}

fn reach(peer: SocketAddr) -> Option<Reach> {
    match peer.to_string().as_str() {
        MEDIA | MEDIA_V6 => Some(Reach::Media),
        text if text.starts_with("192.0.2.") => Some(Reach::Outside),
        _ => None,
    }
}

fn reach_of_ip(ip: IpAddr) -> Option<Reach> {
    match ip.to_string().as_str() {
        "203.0.113.5" | "2001:db8::5" => Some(Reach::Media),
        text if text.starts_with("192.0.2.") => Some(Reach::Outside),
        _ => None,
    }
}

impl Model {
    /// Forgets what is over, as every request does first.
    fn sweep(&mut self) {
        let now_s = self.now_s;
        self.allocations.retain(|allocation| allocation.until_s > now_s);
        for allocation in &mut self.allocations {
            allocation.permissions.retain(|(_, until_s)| *until_s > now_s);
            allocation.channels.retain(|(.., until_s)| *until_s > now_s);
        }
    }

    fn of(&mut self, who: usize) -> Option<&mut Allocation> {
        self.allocations.iter_mut().find(|allocation| allocation.who == who)
    }

    fn alive(&mut self, who: usize) -> Option<&mut Allocation> {
        let now_s = self.now_s;
        self.of(who).filter(|allocation| allocation.until_s > now_s)
    }

    /// How many of something the user and all have.
    fn count(&self, who: usize, of_one: impl Fn(&Allocation) -> usize) -> (u32, u32) {
        let sum = |all: bool| {
            let those = self.allocations.iter().filter(|one| all || user_of(one.who) == user_of(who));
            u32::try_from(those.map(&of_one).sum::<usize>()).unwrap()
        };
        (sum(false), sum(true))
    }

    fn allocate(&mut self, who: usize) -> Option<ErrorCode> {
        self.sweep();
        let (user, total) = self.count(who, |_| 1);
        if self.of(who).is_some() {
            Some(ErrorCode::ALLOCATION_MISMATCH)
        } else if user >= USER.allocations_max {
            Some(ErrorCode::ALLOCATION_QUOTA_REACHED)
        } else if total >= TOTAL.allocations_max {
            Some(ErrorCode::INSUFFICIENT_CAPACITY)
        } else {
            None
        }
    }

    fn permit(&mut self, who: usize, peers: &[SocketAddr]) -> Option<ErrorCode> {
        self.sweep();
        let until_s = self.now_s + 300;
        let (user, total) = self.count(who, |one| one.permissions.len());
        let Some(allocation) = self.of(who) else { return Some(ErrorCode::ALLOCATION_MISMATCH) };
        if peers.is_empty() {
            return Some(ErrorCode::BAD_REQUEST);
        }
        let mut after = allocation.clone();
        for peer in peers {
            if !allocation.has_family_of(*peer) {
                return Some(ErrorCode::PEER_ADDRESS_FAMILY_MISMATCH);
            }
            let Some(reach) = reach_of_ip(peer.ip()) else { return Some(ErrorCode::FORBIDDEN) };
            after.sockets[usize::from(peer.is_ipv6())] |= reach == Reach::Outside;
            after.permissions.retain(|(ip, _)| *ip != peer.ip());
            after.permissions.push((peer.ip(), until_s));
        }
        let more = u32::try_from(after.permissions.len() - allocation.permissions.len()).unwrap();
        if user + more > USER.permissions_max || total + more > TOTAL.permissions_max {
            return Some(ErrorCode::INSUFFICIENT_CAPACITY);
        }
        *allocation = after;
        None
    }

    fn bind(&mut self, who: usize, number: u16, peer: SocketAddr) -> Option<ErrorCode> {
        self.sweep();
        let now_s = self.now_s;
        let permissions = self.count(who, |one| one.permissions.len());
        let channels = self.count(who, |one| one.channels.len());
        let Some(allocation) = self.of(who) else { return Some(ErrorCode::ALLOCATION_MISMATCH) };
        if number > 0x7fff {
            return Some(ErrorCode::BAD_REQUEST);
        }
        if !allocation.has_family_of(peer) {
            return Some(ErrorCode::PEER_ADDRESS_FAMILY_MISMATCH);
        }
        let Some(reach) = reach(peer) else { return Some(ErrorCode::FORBIDDEN) };
        let same = |(bound, to, _): &(u16, SocketAddr, u64)| (*bound == number, *to == peer);
        if allocation.channels.iter().any(|channel| same(channel).0 != same(channel).1) {
            return Some(ErrorCode::BAD_REQUEST);
        }
        let more_channels =
            u32::from(!allocation.channels.iter().any(|channel| same(channel) == (true, true)));
        let more_permissions = u32::from(!allocation.permits(peer, now_s));
        if channels.0 + more_channels > USER.channels_max
            || channels.1 + more_channels > TOTAL.channels_max
            || permissions.0 + more_permissions > USER.permissions_max
            || permissions.1 + more_permissions > TOTAL.permissions_max
        {
            return Some(ErrorCode::INSUFFICIENT_CAPACITY);
        }
        allocation.sockets[usize::from(peer.is_ipv6())] |= reach == Reach::Outside;
        allocation.channels.retain(|(bound, ..)| *bound != number);
        allocation.channels.push((number, peer, now_s + 600));
        allocation.permissions.retain(|(ip, _)| *ip != peer.ip());
        allocation.permissions.push((peer.ip(), now_s + 300));
        None
    }

    fn gauges(&self) -> Gauges {
        let (_, allocations) = self.count(0, |_| 1);
        let (_, permissions) = self.count(0, |one| one.permissions.len());
        let (_, channels) = self.count(0, |one| one.channels.len());
        let (_, sockets) = self.count(0, |one| one.sockets.iter().filter(|open| **open).count());
        let users =
            (0..PEOPLE / 2).filter(|user| self.allocations.iter().any(|one| user_of(one.who) == *user));
        let users = u32::try_from(users.count()).unwrap();
        Gauges { allocations, permissions, channels, users, sockets }
    }
}

// ------------------------------------------------------------------------------------------------ both

struct Both<'m, 'h> {
    host: &'h mut Host<'m>,
    model: &'h mut Model,
    people: &'h mut [Person],
}

impl Both<'_, '_> {
    /// A request that is repeated with a new nonce when the old one is too old.
    fn ask(&mut self, who: usize, method: Method, more: impl Fn(&mut Writer<'_>)) -> Reply {
        let person = &mut self.people[who];
        for _ in 0..2 {
            let reply = self.host.ask(person, method, &more);
            if !reply.is_error(ErrorCode::STALE_NONCE) && !reply.is_error(ErrorCode::UNAUTHENTICATED) {
                return reply;
            }
            person.learn(&reply);
        }
        panic!("a nonce of now is good");
    }

    fn step(&mut self, step: &Step) {
        let peer = |at: usize| PEERS[at].parse::<SocketAddr>().unwrap();
        match step {
            Step::Allocate { who, families, lifetime_s } => self.allocate(*who, *families, *lifetime_s),
            Step::Refresh { who, lifetime_s } => self.refresh(*who, *lifetime_s),
            Step::Permit { who, peers } => {
                let peers: Vec<_> = peers.iter().map(|at| peer(*at)).collect();
                let reply = self.ask(*who, Method::CREATE_PERMISSION, |writer| {
                    peers.iter().for_each(|peer| writer.xor_peer_address(*peer));
                });
                assert_eq!(reply.code(), self.model.permit(*who, &peers));
            }
            Step::Bind { who, number, peer: at } => {
                let reply = self.ask(*who, Method::CHANNEL_BIND, |writer| {
                    writer.channel_number(NUMBERS[*number]);
                    writer.xor_peer_address(peer(*at));
                });
                assert_eq!(reply.code(), self.model.bind(*who, NUMBERS[*number], peer(*at)));
            }
            Step::Send { who, peer: at } => {
                let outcome = self.host.send(&mut self.people[*who], PEERS[*at], b"data");
                let now_s = self.model.now_s;
                let allocation = self.model.alive(*who).filter(|one| one.has_family_of(peer(*at)));
                let passes = allocation.is_some_and(|one| one.permits(peer(*at), now_s));
                let expected = reach(peer(*at)).filter(|_| passes).map(|reach| (peer(*at), reach));
                self.compare_to_peer(*who, &outcome, expected);
            }
            Step::Data { who, number } => {
                let outcome = self.host.channel_data(&self.people[*who], NUMBERS[*number], b"data");
                let now_s = self.model.now_s;
                let channels = self.model.alive(*who).map(|one| one.channels.clone()).unwrap_or_default();
                let channel = channels
                    .iter()
                    .find(|(bound, _, until_s)| *bound == NUMBERS[*number] && *until_s > now_s);
                let expected = channel.and_then(|&(_, peer, _)| Some((peer, reach(peer)?)));
                self.compare_to_peer(*who, &outcome, expected);
            }
            Step::FromPeer { who, peer: at } => self.data_from_peer(*who, peer(*at)),
            Step::WrongPassword { who } => {
                let mut liar = self.people[*who].clone();
                liar.password = "a lie".into();
                let code = self.host.allocate(&mut liar, |_| {}).code();
                assert_eq!(code, Some(ErrorCode::UNAUTHENTICATED));
            }
            Step::Leave { who } => {
                let client = self.people[*who].client;
                let left = self.host.server.close_client(self.host.now, &client, &mut self.host.sockets);
                // One whose time is over may have been swept, or not yet.
                assert!(left || self.model.alive(*who).is_none());
                self.model.allocations.retain(|one| one.who != *who);
            }
            Step::Sleep { seconds } => {
                self.host.sleep_s(*seconds);
                self.model.now_s += seconds;
            }
            Step::Timeout => self.compare_gauges(),
            Step::Restart => unreachable!("steps are split there"),
        }
    }

    fn allocate(&mut self, who: usize, families: [bool; 2], lifetime_s: Option<u32>) {
        let reply = self.ask(who, Method::ALLOCATE, |writer| {
            writer.requested_transport(17);
            lifetime_s.into_iter().for_each(|lifetime_s| writer.lifetime_s(lifetime_s));
            match families {
                [true, true] => writer.attribute(AttributeType::ADDITIONAL_ADDRESS_FAMILY, &[2, 0, 0, 0]),
                [false, _] => writer.attribute(AttributeType::REQUESTED_ADDRESS_FAMILY, &[2, 0, 0, 0]),
                _ => {}
            }
        });
        let expected = self.model.allocate(who);
        assert_eq!(reply.code(), expected);
        if expected.is_none() {
            let given_s = lifetime_s.unwrap_or(600).clamp(600, 3_600);
            assert_eq!(reply.message().lifetime_s(), Some(given_s));
            let slot = self.host.server.slot_of(reply.message().xor_relayed_address().unwrap()).unwrap();
            let relayed: Vec<_> = self.host.server.allocation(slot).unwrap().relayed().collect();
            assert_eq!(families, [true, false].map(|v4| relayed.iter().any(|one| one.is_ipv4() == v4)));
            for other in &self.model.allocations {
                assert!(
                    other.relayed.iter().all(|one| !relayed.contains(one)),
                    "addresses are nobody else's"
                );
            }
            self.model.allocations.push(Allocation {
                who,
                until_s: self.model.now_s + u64::from(given_s),
                families,
                relayed,
                permissions: vec![],
                channels: vec![],
                sockets: [false; 2],
            });
        }
    }

    fn refresh(&mut self, who: usize, lifetime_s: u32) {
        let reply = self.ask(who, Method::REFRESH, |writer| writer.lifetime_s(lifetime_s));
        self.model.sweep();
        let now_s = self.model.now_s;
        let Some(allocation) = self.model.of(who) else {
            return assert_eq!(reply.code(), Some(ErrorCode::ALLOCATION_MISMATCH));
        };
        let given_s = if lifetime_s == 0 { 0 } else { lifetime_s.clamp(600, 3_600) };
        assert_eq!(reply.message().lifetime_s(), Some(given_s));
        allocation.until_s = now_s + u64::from(given_s);
        self.model.sweep();
    }

    fn data_from_peer(&mut self, who: usize, peer: SocketAddr) {
        let now_s = self.model.now_s;
        let Some(allocation) = self.model.of(who) else { return };
        let is_alive = allocation.until_s > now_s;
        let relayed = allocation.relayed.iter().find(|one| one.is_ipv6() == peer.is_ipv6()).copied();
        let Some(relayed) = relayed else { return };
        let passes = is_alive && allocation.permits(peer, now_s);
        let channel = allocation.channels.iter().find(|(_, to, until_s)| *to == peer && *until_s > now_s);
        let channel = channel.map(|(number, ..)| *number);
        let slot = self.host.server.slot_of(relayed);
        let framed = slot.and_then(|slot| self.host.server.frame(self.host.now, slot, relayed, peer));
        assert_eq!(framed.is_some(), passes);
        let Some((client, framing)) = framed else { return };
        assert_eq!(client, self.people[who].client);
        match (framing, channel) {
            (Framing::Channel { number, .. }, Some(expected)) => assert_eq!(number, expected),
            (Framing::Indication { peer: from, .. }, None) => assert_eq!(from, peer),
            other => panic!("{other:?}"),
        }
    }

    fn compare_to_peer(&mut self, who: usize, outcome: &Outcome, expected: Option<(SocketAddr, Reach)>) {
        match (outcome, expected) {
            (Outcome::ToPeer(to), Some((peer, reach))) => {
                assert_eq!((to.peer, to.reach), (peer, reach));
                let allocation = self.model.of(who).unwrap();
                assert!(allocation.relayed.contains(&to.relayed) && to.relayed.is_ipv6() == peer.is_ipv6());
            }
            (Outcome::Silence(_), None) => {}
            other => panic!("{other:?}"),
        }
    }

    fn compare_gauges(&mut self) {
        self.host.timeout();
        self.model.sweep();
        assert_eq!(self.host.server.gauges(), self.model.gauges());
        let open: Vec<_> = self.host.sockets.open.iter().map(|(_, relayed)| *relayed).collect();
        let sockets = self.model.gauges().sockets as usize;
        assert_eq!(open.len(), sockets);
        for relayed in open {
            assert!(self.model.allocations.iter().any(|one| one.relayed.contains(&relayed)));
        }
        assert_eq!(self.host.server.next_deadline_ns().is_some(), !self.model.allocations.is_empty());
    }
}

fn run(steps: &[Step]) {
    let mut config = config();
    config.policy.allow = vec!["192.0.2.0/24".parse().unwrap()];
    config.limits = Limits { user: USER, total: TOTAL };
    config.ports = 50_000..=50_003;
    let (mut record, mut allocations) = records(PEOPLE);
    let mut people: Vec<_> = (0..PEOPLE)
        .map(|who| {
            let (name, password) = if user_of(who) == 0 { ("george", "pa55") } else { ("martha", "w0rd") };
            Person::new(&format!("198.51.100.9:{}", 40_000 + who), name, password)
        })
        .collect();
    let (mut model, mut now) = (Model::default(), START);
    for steps in steps.split(|step| matches!(step, Step::Restart)) {
        let mut host = Host::on(config.clone(), &mut record, &mut allocations, now);
        host.server.reopen(&mut host.sockets);
        // A server made anew has dropped what is over.
        let mut both = Both { host: &mut host, model: &mut model, people: &mut people };
        both.compare_gauges();
        for step in steps {
            both.step(step);
        }
        both.compare_gauges();
        now = host.now;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_server_does_what_the_model_does(steps in steps()) {
        run(&steps);
    }
}
