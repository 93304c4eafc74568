//! Every spelling of an address, judged.

use super::*;

fn policy(media: &[&str], allow: &[&str], deny: &[&str], own: &[&str]) -> PeerPolicy {
    let addresses = |list: &[&str]| list.iter().map(|text| text.parse().unwrap()).collect();
    let ranges = |list: &[&str]| list.iter().map(|text| text.parse().unwrap()).collect();
    PeerPolicy {
        media: addresses(media),
        allow: ranges(allow),
        deny: ranges(deny),
        own: addresses(own),
        host: Vec::new(),
    }
}

fn judge(policy: &PeerPolicy, peer: &str) -> Result<Reach, Forbidden> {
    policy.judge(peer.parse().unwrap())
}

/// The forms that an IPv4 address can take in IPv6.
fn spellings(ip: &str) -> Vec<IpAddr> {
    let [a, b, c, d] = ip.parse::<Ipv4Addr>().unwrap().octets().map(u16::from);
    let [high, low] = [a << 8 | b, c << 8 | d];
    let texts = [
        format!("::ffff:{high:x}:{low:x}"),
        format!("::{high:x}:{low:x}"),
        format!("::ffff:0:{high:x}:{low:x}"),
        format!("64:ff9b::{high:x}:{low:x}"),
        format!("64:ff9b:1:{high:x}:{c:x}:{:x}::", d << 8),
        format!("64:ff9b:1:{a:x}:{b:x}:{:x}::", c << 8 | d),
        format!("64:ff9b:1:0:{a:x}:{:x}:{:x}::", b << 8 | c, d << 8),
        format!("64:ff9b:1::{high:x}:{low:x}"),
        format!("2002:{high:x}:{low:x}::1"),
        format!("2001:0:808:808:0:ffff:{:x}:{:x}", !high, !low),
        format!("2001:0:{high:x}:{low:x}:0:ffff:f7f7:f7f7"),
        format!("2620:0:2d0:200:0:5efe:{high:x}:{low:x}"),
        format!("2620:0:2d0:200:200:5efe:{high:x}:{low:x}"),
    ];
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

#[test]
fn an_empty_policy_reaches_nobody() {
    let nobody = PeerPolicy::default();
    for peer in ["8.8.8.8:53", "127.0.0.1:1", "[2606:4700::1111]:53", "[::1]:1", "0.0.0.0:1"] {
        assert!(judge(&nobody, peer).is_err(), "{peer}");
        assert!(nobody.judge_ip(peer.parse::<SocketAddr>().unwrap().ip()).is_err(), "{peer}");
    }
}

#[test]
fn a_media_address_opens_its_port_and_nothing_else() {
    let policy = policy(&["203.0.113.5:7000", "[2001:db8::5]:7000"], &[], &["203.0.113.0/24"], &[]);
    assert_eq!(judge(&policy, "203.0.113.5:7000"), Ok(Reach::Media), "a deny-list does not lock us out");
    assert_eq!(judge(&policy, "[::ffff:203.0.113.5]:7000"), Ok(Reach::Media), "the same in its other form");
    assert_eq!(judge(&policy, "[2001:db8::5]:7000"), Ok(Reach::Media));
    assert_eq!(judge(&policy, "203.0.113.5:7001"), Err(Forbidden::Denied));
    assert!(judge(&policy, "[2001:db8::5]:22").is_err());
    assert!(judge(&policy, "203.0.113.6:7000").is_err());
    assert_eq!(
        policy.judge_ip("203.0.113.5".parse().unwrap()),
        Ok(Reach::Media),
        "permissions are per address"
    );
    for spelled in spellings("203.0.113.5").into_iter().skip(1) {
        assert!(policy.judge(SocketAddr::new(spelled, 7000)).is_err(), "{spelled} is not our address");
    }
}

#[test]
fn the_open_internet_is_the_public_one() {
    let open = policy(&["203.0.113.5:7000"], &["0.0.0.0/0", "::/0"], &[], &[]);
    for peer in ["8.8.8.8:53", "[2606:4700::1111]:53", "[64:ff9b::8.8.8.8]:53"] {
        assert_eq!(judge(&open, peer), Ok(Reach::Outside), "{peer}");
    }
    let closed = [
        "0.0.0.0",
        "0.1.2.3",
        "10.0.0.1",
        "100.100.100.200",
        "127.0.0.1",
        "127.8.8.8",
        "168.63.129.16",
        "169.254.169.254",
        "172.16.0.1",
        "172.31.255.255",
        "192.0.0.8",
        "192.0.2.1",
        "192.88.99.1",
        "192.168.1.1",
        "198.18.0.1",
        "198.51.100.1",
        "203.0.113.7",
        "224.0.0.1",
        "239.255.255.255",
        "240.0.0.1",
        "255.255.255.255",
    ];
    for ip in closed {
        let plain = SocketAddr::new(ip.parse().unwrap(), 80);
        assert_eq!(open.judge(plain), Err(Forbidden::Special), "{ip}");
        for spelled in spellings(ip) {
            assert!(open.judge(SocketAddr::new(spelled, 80)).is_err(), "{ip} as {spelled}");
            assert!(open.judge_ip(spelled).is_err(), "{ip} as {spelled}");
        }
    }
    for ip in [
        "::",
        "::1",
        "::2",
        "100::1",
        "2001:db8::1",
        "2001:2::1",
        "2001:20::1",
        "3fff::1",
        "5f00::1",
        "fc00::1",
        "fd00:ec2::254",
        "fe80::1",
        "fec0::1",
        "ff02::1",
        "ff05::2",
        "4000::1",
        "e000::1",
    ] {
        assert!(open.judge(SocketAddr::new(ip.parse().unwrap(), 80)).is_err(), "{ip}");
    }
}

#[test]
fn a_special_range_opens_to_an_entry_within_it() {
    let open = |allow: &str, peer: &str| judge(&policy(&[], &[allow], &[], &[]), peer);
    assert_eq!(open("127.0.0.0/8", "127.0.0.1:9"), Ok(Reach::Outside));
    assert_eq!(open("127.0.0.0/7", "127.0.0.1:9"), Err(Forbidden::Special), "not one that merely covers it");
    assert_eq!(open("10.1.0.0/16", "10.1.2.3:9"), Ok(Reach::Outside));
    assert_eq!(open("10.1.0.0/16", "10.2.2.3:9"), Err(Forbidden::Special));
    assert_eq!(open("::1", "[::1]:9"), Ok(Reach::Outside));
    assert_eq!(open("fd00::/8", "[fd00::1]:9"), Ok(Reach::Outside));
    assert_eq!(open("192.0.2.0/24", "192.0.2.150:9"), Ok(Reach::Outside));
    assert_eq!(
        open("127.0.0.0/8", "[::127.0.0.1]:9"),
        Err(Forbidden::Special),
        "the dead spelling stays dead"
    );
    assert_eq!(
        open("64:ff9b::/96", "[64:ff9b::8.8.8.8]:9"),
        Err(Forbidden::NotAllowed),
        "what it means counts"
    );
}

#[test]
fn a_network_of_its_own_for_nat64_is_judged_by_all_that_it_may_mean() {
    let open = policy(&[], &["64:ff9b:1::/48", "0.0.0.0/0", "::/0"], &["8.8.0.0/16"], &[]);
    for ip in ["127.0.0.1", "169.254.169.254", "8.8.8.8"] {
        for spelled in spellings(ip).into_iter().filter(|ip| ip.to_string().starts_with("64:ff9b:1:")) {
            assert!(open.judge(SocketAddr::new(spelled, 80)).is_err(), "{ip} as {spelled}");
        }
    }
    assert_eq!(
        judge(&open, "[64:ff9b:1:101:101:101:101:101]:80"),
        Ok(Reach::Outside),
        "1.1.1.1 at every length"
    );
}

#[test]
fn what_is_denied_is_denied_in_every_spelling() {
    let policy = policy(&[], &["0.0.0.0/0", "::/0"], &["8.8.0.0/16", "2606:4700::/32"], &[]);
    assert_eq!(judge(&policy, "8.8.8.8:53"), Err(Forbidden::Denied));
    assert_eq!(judge(&policy, "[2606:4700::1111]:53"), Err(Forbidden::Denied));
    assert_eq!(judge(&policy, "1.1.1.1:53"), Ok(Reach::Outside));
    for spelled in spellings("8.8.8.8") {
        assert!(policy.judge(SocketAddr::new(spelled, 53)).is_err(), "{spelled}");
    }
}

#[test]
fn our_own_services_are_never_reached() {
    let policy = policy(
        &["8.8.4.4:7000"],
        &["127.0.0.0/8", "::1", "8.8.4.4/32", "0.0.0.0/0", "::/0"],
        &[],
        &["127.0.0.1:9090", "[::]:3478", "0.0.0.0:5349"],
    );
    assert_eq!(judge(&policy, "127.0.0.1:9090"), Err(Forbidden::Own));
    assert_eq!(judge(&policy, "[::ffff:127.0.0.1]:9090"), Err(Forbidden::Own));
    for peer in ["127.0.0.1:3478", "127.9.9.9:5349", "8.8.4.4:3478", "[::1]:3478", "8.8.4.4:5349"] {
        assert_eq!(judge(&policy, peer), Err(Forbidden::Own), "{peer}: bound to every address");
    }
    assert_eq!(judge(&policy, "8.8.8.8:3478"), Ok(Reach::Outside), "another's TURN server");
    assert_eq!(judge(&policy, "127.0.0.1:9091"), Ok(Reach::Outside));
    assert_eq!(judge(&policy, "8.8.4.4:0"), Err(Forbidden::Port));
}

#[test]
fn this_host_opens_only_when_named() {
    let mut policy = policy(&["8.8.4.4:7000"], &["0.0.0.0/0"], &[], &[]);
    policy.host.push("8.8.4.5".parse().unwrap());
    assert_eq!(judge(&policy, "8.8.4.4:22"), Err(Forbidden::Host));
    assert_eq!(judge(&policy, "8.8.4.5:50000"), Err(Forbidden::Host), "another client's relayed address");
    assert_eq!(judge(&policy, "8.8.4.4:7000"), Ok(Reach::Media));
    policy.allow.push("8.8.4.5".parse().unwrap());
    assert_eq!(judge(&policy, "8.8.4.5:50000"), Ok(Reach::Outside));
    for spelled in spellings("8.8.4.4") {
        assert!(policy.judge(SocketAddr::new(spelled, 22)).is_err(), "{spelled}");
    }
}
