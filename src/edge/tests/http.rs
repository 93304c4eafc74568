//! HTTPS on the port that it shares with TURN.

use std::os::unix::net::{UnixListener, UnixStream};

use super::*;

use millrace_signaling::net::Net;

struct Shared443 {
    edge: Edge,
    shard: FakeShard,
    socket: PathBuf,
    files: CertificateFiles,
}

impl Shared443 {
    fn start(name: &str, timing: Timing) -> Self {
        Self::with(name, |config| config.timing = timing)
    }

    fn with(name: &str, change: impl FnOnce(&mut Config)) -> Self {
        let (shard, files) = (FakeShard::new(), certificate(name));
        let socket = files.key.with_file_name("http.sock");
        let plain = PlainHttp { port: 0, must: true, authority: None };
        let mut config = Config {
            https: Some(Https { port: 0, socket: socket.clone(), plain: Some(plain) }),
            turn: Some(shard.address()),
            certificate: Some(files.clone()),
            ..Config::default()
        };
        change(&mut config);
        Self { edge: start(config), shard, socket, files }
    }

    fn tls(&self) -> StreamOwned<ClientConnection, TcpStream> {
        tls(self.edge.https_port, &self.files)
    }
}

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n";

/// Takes one connection; what it says of its client.
fn take(signaling: &UnixListener) -> (UnixStream, Vec<u8>) {
    let (mut stream, _) = signaling.accept().unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let header = read(&mut stream, 16 + 12);
    (stream, header)
}

#[test]
fn http_goes_to_signaling_with_its_clients_address() {
    let world = Shared443::start("http", Timing::default());
    let signaling = UnixListener::bind(&world.socket).unwrap();
    let mut client = world.tls();
    say(&mut client, REQUEST);
    let (mut stream, header) = take(&signaling);
    let port = client.sock.local_addr().unwrap().port().to_be_bytes();
    assert_eq!(
        header[12..],
        [&[0x21, 0x11, 0, 12, 127, 0, 0, 1, 127, 0, 0, 1][..], &port, &header[26..]].concat()
    );
    assert_eq!(read(&mut stream, REQUEST.len()), REQUEST);
    let body = vec![b'x'; 300_000];
    std::thread::scope(|scope| {
        scope.spawn(|| say(&mut stream, &body));
        assert_eq!(read(&mut client, body.len()), body);
    });
    // What a WebSocket says later goes on both ways, and an end is an end.
    say(&mut client, b"\x81\x00");
    assert_eq!(read(&mut stream, 2), b"\x81\x00");
    drop(stream);
    assert!(is_closed(&mut client));
    assert_eq!(world.edge.counters().get(Count::Http), 1);
}

#[test]
fn turn_shares_the_port_with_tls_and_without() {
    let world = Shared443::start("share", Timing::default());
    let mut inside = world.tls();
    say(&mut inside, &stun(4));
    assert_eq!(world.shard.hello().0.transport, edge_hello::Transport::Tls);
    assert_eq!(world.shard.message(), stun(4));
    let mut plain = tcp(world.edge.https_port);
    say(&mut plain, &stun(8));
    assert_eq!(world.shard.hello().0.transport, edge_hello::Transport::Tcp);
    assert_eq!(world.shard.message(), stun(8));
    let mut strange = tcp(world.edge.https_port);
    say(&mut strange, b"\xffstrange");
    assert!(is_closed(&mut strange));
    wait_for(&world.edge, Count::Strange, 1);
}

/// An edge that believes what comes from loopback.
fn behind_a_proxy(name: &str) -> Shared443 {
    Shared443::with(name, |config| config.known.trusted_proxies = vec![Net::parse("127.0.0.0/8").unwrap()])
}

fn whole_answer(stream: &mut impl Read) -> String {
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    answer
}

#[test]
fn plain_http_is_served_to_this_machine_and_explained_to_others() {
    let world = behind_a_proxy("plain");
    let signaling = UnixListener::bind(&world.socket).unwrap();
    let mut here = tcp(world.edge.https_port);
    say(&mut here, REQUEST);
    let (mut stream, header) = take(&signaling);
    assert_eq!(header[12..20], [0x21, 0x11, 0, 12 + 4, 127, 0, 0, 1]);
    assert_eq!(read(&mut stream, 4), [0xe0, 0, 1, 1], "not by TLS");
    assert_eq!(read(&mut stream, REQUEST.len()), REQUEST);

    let mut elsewhere = tcp(world.edge.https_port);
    say(&mut elsewhere, b"PROXY TCP4 192.0.2.7 198.51.100.1 50123 443\r\n");
    say(&mut elsewhere, REQUEST);
    let answer = whole_answer(&mut elsewhere);
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("Use the same address with https://"));
    wait_for(&world.edge, Count::HttpsOnly, 1);
}

#[test]
fn a_trusted_proxy_says_whose_connection_it_is() {
    let world = behind_a_proxy("proxy");
    let signaling = UnixListener::bind(&world.socket).unwrap();
    let ends = [192, 0, 2, 7, 198, 51, 100, 1, 0xc3, 0xcb, 1, 0xbb];
    let version_2 = [&b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c"[..], &ends].concat();
    for header in [&b"PROXY TCP4 192.0.2.7 198.51.100.1 50123 443\r\n"[..], &version_2] {
        let mut web = world.tls();
        say(&mut web.sock, header);
        say(&mut web, REQUEST);
        assert_eq!(take(&signaling).1[16..], ends);
        let mut turn = tcp(world.edge.https_port);
        say(&mut turn, header);
        say(&mut turn, &stun(4));
        let hello = world.shard.hello().0;
        assert_eq!(hello.remote, "192.0.2.7:50123".parse().unwrap());
        assert_eq!(world.shard.message(), stun(4));
        drop(turn);
        world.shard.goodbye();
    }
    // Without a header it is the proxy's own.
    let mut own = world.tls();
    say(&mut own, REQUEST);
    assert_eq!(take(&signaling).1[16..20], [127, 0, 0, 1]);
}

#[test]
fn nobody_else_may_say_whose_connection_it_is() {
    let world = Shared443::start("claims", Timing::default());
    let mut client = world.tls();
    say(&mut client.sock, b"PROXY TCP4 127.0.0.1 127.0.0.1 50123 443\r\n");
    assert!(client.conn.complete_io(&mut client.sock).is_err());
    let mut client = world.tls();
    say(&mut client.sock, b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c");
    assert!(client.conn.complete_io(&mut client.sock).is_err());
    wait_for(&world.edge, Count::Strange, 1);
}

#[test]
fn plain_http_redirects_and_a_certificate_authority_is_answered_by_signaling() {
    let world = Shared443::start("redirect", Timing::default());
    let mut browser = tcp(world.edge.redirect_port);
    say(&mut browser, b"GET /room?x=y HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let answer = whole_answer(&mut browser);
    let port = world.edge.https_port.unwrap();
    assert!(answer.starts_with("HTTP/1.1 301 "), "{answer}");
    assert!(answer.contains(&format!("location: https://localhost:{port}/room?x=y\r\n")), "{answer}");

    let signaling = UnixListener::bind(&world.socket).unwrap();
    let mut authority = tcp(world.edge.redirect_port);
    let request = b"GET /.well-known/acme-challenge/token HTTP/1.1\r\nHost: h\r\n\r\n";
    say(&mut authority, request);
    let (mut stream, _) = take(&signaling);
    assert_eq!(read(&mut stream, 4), [0xe0, 0, 1, 2], "the port of redirects");
    assert_eq!(read(&mut stream, request.len()), request);
    say(&mut stream, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi");
    drop(stream);
    assert!(whole_answer(&mut authority).ends_with("\r\n\r\nhi"));
    wait_for(&world.edge, Count::Redirected, 1);
}

#[test]
fn a_port_of_plain_http_that_was_taken_is_served_later() {
    let taken = listen_everywhere(0).unwrap();
    let port = taken.local_addr().unwrap().port();
    let world = Shared443::with("later", |config| {
        config.timing.listen_interval = Duration::from_millis(1);
        config.https.as_mut().unwrap().plain = Some(PlainHttp { port, must: false, authority: None });
    });
    assert_eq!(world.edge.redirect_port, None);
    drop(taken);
    let start = std::time::Instant::now();
    let answer = loop {
        if let Ok(mut browser) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) {
            let _ = browser.write_all(REQUEST);
            let answer = whole_answer(&mut browser);
            if !answer.is_empty() {
                break answer;
            }
        }
        assert!(start.elapsed() < PATIENCE, "it is never served");
    };
    assert!(answer.starts_with("HTTP/1.1 301 "), "{answer}");
}

#[test]
fn a_connection_that_signaling_has_closed_makes_room_at_once() {
    let world = Shared443::with("given-up", |config| {
        config.limits.https = ConnectionLimits { grace: Duration::ZERO, ..ConnectionLimits::new(1, 0) };
    });
    let signaling = UnixListener::bind(&world.socket).unwrap();
    let mut silent = world.tls();
    say(&mut silent, REQUEST);
    let (stream, _) = take(&signaling);
    // Signaling has the connection, so no newcomer takes its place.
    assert!(is_closed(&mut tcp(world.edge.https_port)));
    wait_for(&world.edge, Count::Refused, 1);
    // The client keeps its end open, but signaling has closed.
    drop(stream);
    assert_eq!(silent.read(&mut [0; 99]).unwrap_or(0), 0);
    let mut next = world.tls();
    say(&mut next, REQUEST);
    take(&signaling);
    assert!(is_closed(&mut silent.sock));
    wait_for(&world.edge, Count::Displaced, 1);
}

#[test]
fn a_request_waits_for_signaling_and_gets_503_if_that_does_not_come() {
    let world = Shared443::start("wait", Timing::default());
    let mut early = world.tls();
    say(&mut early, REQUEST);
    let signaling = UnixListener::bind(&world.socket).unwrap();
    let (mut stream, _) = take(&signaling);
    assert_eq!(read(&mut stream, REQUEST.len()), REQUEST);

    let nobody = Shared443::start(
        "nobody",
        Timing { signaling_wait: Duration::from_millis(100), ..Timing::default() },
    );
    let mut client = nobody.tls();
    say(&mut client, REQUEST);
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    wait_for(&nobody.edge, Count::HttpUnavailable, 1);

    // The socket of a killed process counts as missing. The next process replaces it.
    drop((signaling, stream));
    let mut client = world.tls();
    say(&mut client, REQUEST);
    std::fs::remove_file(&world.socket).unwrap();
    let signaling = UnixListener::bind(&world.socket).unwrap();
    assert_eq!(read(&mut take(&signaling).0, REQUEST.len()), REQUEST);
}

#[test]
fn who_keeps_his_end_or_does_not_read_keeps_no_place() {
    let world = Shared443::start("stalled", Timing { stalled: Duration::from_secs(1), ..Timing::default() });
    let signaling = UnixListener::bind(&world.socket).unwrap();
    // The answer is read, and then nothing: signaling has closed, the client has not.
    let mut keeps = world.tls();
    say(&mut keeps, REQUEST);
    drop(take(&signaling));
    // More than both kernels take: signaling's end breaks, as the edge drops the client.
    let mut deaf = world.tls();
    say(&mut deaf, REQUEST);
    let (mut stream, _) = take(&signaling);
    let piece = vec![0; 1 << 20];
    while stream.write_all(&piece).is_ok() {}
    wait_for(&world.edge, Count::HttpEnded, 2);
    assert!(is_closed(&mut keeps.sock) && is_closed(&mut deaf.sock));
}

#[test]
fn a_turn_client_does_not_notice_that_signaling_ends() {
    let world = Shared443::start("outlive", Timing::default());
    let signaling = UnixListener::bind(&world.socket).unwrap();
    let mut web = world.tls();
    say(&mut web, REQUEST);
    let (stream, _) = take(&signaling);
    let mut turn = world.tls();
    say(&mut turn, &stun(4));
    let (_, from) = world.shard.hello();
    drop((signaling, stream));
    assert!(is_closed(&mut web));
    world.shard.send(&stun(8), from);
    assert_eq!(read(&mut turn, 28), stun(8));
}

#[test]
fn a_new_certificate_is_taken_without_a_restart_and_a_broken_one_is_not() {
    let world = Shared443::start("renewed", Timing::default());
    let mut before = world.tls();
    say(&mut before, &stun(4));
    assert_eq!(world.shard.message(), stun(4));
    let put = |files: &CertificateFiles| {
        std::fs::copy(&files.key, &world.files.key).unwrap();
        std::fs::copy(&files.certificate, &world.files.certificate).unwrap();
    };
    let next = certificate("renewed-next");
    put(&next);
    let trusts = |files: &CertificateFiles| {
        let mut client = tls(world.edge.https_port, files);
        client.conn.complete_io(&mut client.sock).is_ok()
    };
    // The edge looks at the files when a connection comes, at most once a second.
    let until = |what: Count, number: u64| {
        let start = std::time::Instant::now();
        while world.edge.counters().get(what) < number {
            assert!(start.elapsed() < PATIENCE, "{} is never counted", what.name());
            trusts(&next);
            std::thread::sleep(Duration::from_millis(10));
        }
    };
    until(Count::CertificateRenewed, 1);
    assert!(trusts(&next));
    std::fs::write(&world.files.certificate, "garbage").unwrap();
    until(Count::CertificateRefused, 1);
    assert!(trusts(&next));
    let last = certificate("renewed-last");
    put(&last);
    until(Count::CertificateRenewed, 2);
    assert!(trusts(&last) && !trusts(&next));
    say(&mut before, &stun(12));
    while world.shard.message() != stun(12) {}
}
