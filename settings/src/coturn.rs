//! Translates the `turnserver.conf` of a coturn that Millrace replaces.

use std::net::IpAddr;

use crate::keys::{self, KEYS};
use crate::openvidu::{Left, Taken, Translation};
use crate::suggest::nearest;

/// What to do with an option of coturn.
#[derive(Clone, Copy)]
enum Rule {
    /// Becomes this key, with the same value.
    Take(&'static str),
    /// Has no meaning here.
    Note(&'static str),
    /// Must not be left out silently: the server would not be the one that the operator asked for.
    Refuse(&'static str),
    /// Translated by code.
    Known,
}

const ALWAYS: &str = "always on";
const ABSENT: &str = "Millrace has no such feature";
const DATABASE: &str = "there is no user database; use turn.secret, or turn.static-users for single users";
const ADDRESSES: &str = "Millrace listens on every address of this machine; restrict them with the firewall";
const LOG: &str = "logs go to standard error; set log.filter";

/// Rules by name. A trailing `*` matches any rest.
const RULES: &[(&str, Rule)] = &[
    ("listening-port", Rule::Take("turn.port")),
    ("realm", Rule::Take("turn.realm")),
    ("static-auth-secret", Rule::Known),
    ("user", Rule::Known),
    ("allowed-peer-ip", Rule::Known),
    ("denied-peer-ip", Rule::Known),
    ("min-port", Rule::Known),
    ("max-port", Rule::Known),
    ("user-quota", Rule::Known),
    ("total-quota", Rule::Known),
    ("max-bps", Rule::Known),
    ("external-ip", Rule::Known),
    ("cert", Rule::Known),
    ("pkey", Rule::Known),
    ("tls-listening-port", Rule::Known),
    ("stun-only", Rule::Known),
    ("use-auth-secret", Rule::Note(ALWAYS)),
    ("lt-cred-mech", Rule::Note(ALWAYS)),
    ("fingerprint", Rule::Note(ALWAYS)),
    ("stale-nonce", Rule::Note(ALWAYS)),
    ("no-tcp-relay", Rule::Note(ALWAYS)),
    ("no-multicast-peers", Rule::Note(ALWAYS)),
    ("no-cli", Rule::Note(ALWAYS)),
    ("no-dtls", Rule::Note(ALWAYS)),
    ("no-tlsv1", Rule::Note(ALWAYS)),
    ("no-tlsv1_1", Rule::Note(ALWAYS)),
    ("secure-stun", Rule::Note("a STUN Binding is answered without credentials")),
    ("no-stun", Rule::Note("a STUN Binding is always answered")),
    ("no-auth", Rule::Refuse("there is no TURN without credentials")),
    ("no-udp", Rule::Refuse("UDP cannot be turned off; use the firewall")),
    ("no-tcp", Rule::Refuse("TCP cannot be turned off; use the firewall")),
    ("no-tls", Rule::Note("set turn.tls-port = 0")),
    ("no-udp-relay", Rule::Refuse("Millrace relays UDP only")),
    ("allow-loopback-peers", Rule::Refuse("set turn.allow = [\"127.0.0.0/8\"] if you need this")),
    ("oauth", Rule::Refuse(ABSENT)),
    ("mobility", Rule::Note(ABSENT)),
    ("alt-*", Rule::Note(ABSENT)),
    ("aux-server", Rule::Refuse(ABSENT)),
    ("alternate-server", Rule::Refuse(ABSENT)),
    ("tls-alternate-server", Rule::Refuse(ABSENT)),
    ("bps-capacity", Rule::Refuse("there is a limit for each user, but none for all together")),
    ("listening-ip", Rule::Note(ADDRESSES)),
    ("relay-ip", Rule::Note(ADDRESSES)),
    ("listening-device", Rule::Note(ADDRESSES)),
    ("relay-device", Rule::Note(ADDRESSES)),
    ("userdb", Rule::Refuse(DATABASE)),
    ("db", Rule::Refuse(DATABASE)),
    ("psql-userdb", Rule::Refuse(DATABASE)),
    ("mysql-userdb", Rule::Refuse(DATABASE)),
    ("mongo-userdb", Rule::Refuse(DATABASE)),
    ("redis-userdb", Rule::Refuse(DATABASE)),
    ("redis-statsdb", Rule::Note("GET /millrace/stats has the counters")),
    ("prometheus*", Rule::Note("GET /millrace/stats has the counters")),
    ("cli-*", Rule::Note(ABSENT)),
    ("web-admin*", Rule::Note(ABSENT)),
    ("log-*", Rule::Note(LOG)),
    ("log_*", Rule::Note(LOG)),
    ("no-stdout-log", Rule::Note(LOG)),
    ("simple-log", Rule::Note(LOG)),
    ("syslog", Rule::Note(LOG)),
    ("verbose", Rule::Note(LOG)),
    ("Verbose", Rule::Note(LOG)),
    ("server-name", Rule::Note(ABSENT)),
    ("no-software-attribute", Rule::Note(ALWAYS)),
    ("pidfile", Rule::Note("systemd knows the process id")),
    ("proc-*", Rule::Note("set the user in the systemd unit")),
    ("relay-threads", Rule::Note("set relay.shards instead")),
    ("cipher-list", Rule::Note("always the secure ones of TLS 1.2 and 1.3")),
    ("dh*", Rule::Note("always the secure ones of TLS 1.2 and 1.3")),
];

fn rule(name: &str) -> Option<Rule> {
    let matches = |pattern: &str| match pattern.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => name == pattern,
    };
    RULES.iter().find(|(pattern, _)| matches(pattern)).map(|(_, rule)| *rule)
}

/// The lines of a `turnserver.conf`: `name=value`, `name value` or `name`; comments with `#`.
pub fn parse_conf(text: &str) -> Vec<(String, String)> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| {
            let end = line.find(|at: char| at == '=' || at.is_whitespace()).unwrap_or(line.len());
            let (name, rest) = line.split_at(end);
            let value = rest.trim_start_matches(|at: char| at == '=' || at.is_whitespace());
            (name.trim_start_matches('-').to_owned(), value.trim_matches('"').to_owned())
        })
        .collect()
}

/// Translates the lines.
pub fn translate(lines: &[(String, String)]) -> Translation {
    let mut all = Translation::default();
    for (name, value) in lines {
        match rule(name) {
            Some(Rule::Take(path)) => take(&mut all, name, path, value),
            Some(Rule::Note(why)) => leave(&mut all, name, why, false),
            Some(Rule::Refuse(why)) => leave(&mut all, name, why, true),
            Some(Rule::Known) => convert(&mut all, name, value, lines),
            None => leave(&mut all, name, &unknown(name), false),
        }
    }
    all.taken.sort_by_key(|taken| KEYS.iter().position(|key| key == taken.key));
    all
}

fn unknown(name: &str) -> String {
    let names = RULES.iter().map(|(name, _)| *name).filter(|name| !name.ends_with('*'));
    nearest(name, names).map_or_else(
        || "not known of coturn".into(),
        |known| format!("not known of coturn; did you mean {known}?"),
    )
}

fn take(all: &mut Translation, name: &str, path: &str, text: &str) {
    let key = keys::by_path(path).expect("written above, as a test shows");
    if !key.list && all.taken.iter().any(|taken| taken.key == key) {
        return leave(all, name, &format!("{path} is taken from a line before"), true);
    }
    all.taken.push(Taken { name: name.to_owned(), key, text: text.to_owned() });
}

fn leave(all: &mut Translation, name: &str, why: &str, refused: bool) {
    all.left.push(Left { name: name.to_owned(), why: why.to_owned(), refused });
}

fn convert(all: &mut Translation, name: &str, value: &str, lines: &[(String, String)]) {
    let given = |name: &str| lines.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str());
    match name {
        "static-auth-secret" => {
            let has = all.taken.iter().any(|taken| taken.key.path == "turn.secret");
            take(all, name, if has { "turn.secret-previous" } else { "turn.secret" }, value);
        }
        "user" if value.split_once(':').is_some_and(|(_, password)| password.starts_with("0x")) => {
            leave(all, name, "a key in place of a password cannot be used; give NAME:PASSWORD", true);
        }
        "user" => take(all, name, "turn.static-users", value),
        "allowed-peer-ip" | "denied-peer-ip" => {
            let path = if name == "allowed-peer-ip" { "turn.allow" } else { "turn.deny" };
            match blocks(value) {
                Some(blocks) => blocks.iter().for_each(|block| take(all, name, path, block)),
                None => leave(all, name, &format!("'{value}' is no address and no range of them"), true),
            }
        }
        // If only one bound is given, coturn's default is the other.
        "min-port" => {
            let range = format!("{value}-{}", given("max-port").unwrap_or("65535"));
            take(all, name, "turn.relay-ports", &range);
        }
        "max-port" if given("min-port").is_some() => leave(all, name, "counts with min-port", false),
        "max-port" => take(all, name, "turn.relay-ports", &format!("49152-{value}")),
        "user-quota" | "total-quota" if value == "0" => {
            leave(all, name, "there is always a bound; see turn.allocations-max", false);
        }
        "user-quota" => take(all, name, "turn.allocations-per-user-max", value),
        "total-quota" => take(all, name, "turn.allocations-max", value),
        // coturn counts bytes, we count bits.
        "max-bps" => match value.parse::<u64>().ok().and_then(|bytes| bytes.checked_mul(8)) {
            Some(bits) => take(all, name, "turn.bandwidth-per-user-max-bps", &bits.to_string()),
            None => leave(all, name, &format!("'{value}' is no number"), true),
        },
        "external-ip" => {
            take(all, name, "server.public-ip", value.split_once('/').map_or(value, |(public, _)| public));
        }
        "cert" if given("pkey").is_some() => take(all, name, "server.certificate-file", value),
        "pkey" if given("cert").is_some() => take(all, name, "server.certificate-key-file", value),
        "cert" | "pkey" => leave(all, name, "a certificate and its key go together", true),
        "tls-listening-port" if given("cert").is_some() && given("no-tls").is_none() => {
            take(all, name, "turn.tls-port", value);
        }
        "tls-listening-port" => leave(all, name, "there is no TLS without cert and pkey", false),
        _ => take(all, name, "turn.enabled", "false"),
    }
}

/// An address, a block, or a range `first-last`, as the smallest number of blocks.
fn blocks(text: &str) -> Option<Vec<String>> {
    let Some((first, last)) = text.split_once('-') else { return block(text).map(|block| vec![block]) };
    let (first, last): (IpAddr, IpAddr) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
    let (width, mut at, end) = match (first, last) {
        (IpAddr::V4(first), IpAddr::V4(last)) => (32, first.to_bits().into(), last.to_bits().into()),
        (IpAddr::V6(first), IpAddr::V6(last)) => (128, first.to_bits(), last.to_bits()),
        _ => return None,
    };
    if at > end {
        return None;
    }
    let mut found = Vec::new();
    loop {
        // The largest block that begins here and does not end after the range.
        let mut bits = at.trailing_zeros().min(width);
        while last_of(at, bits) > end {
            bits -= 1;
        }
        let address = match width {
            32 => IpAddr::V4(u32::try_from(at).expect("an address of 32 bits").into()),
            _ => IpAddr::V6(at.into()),
        };
        found.push(format!("{address}/{}", width - bits));
        let block_end = last_of(at, bits);
        if block_end == end {
            return Some(found);
        }
        at = block_end + 1;
    }
}

/// An address or a block, as a block.
fn block(text: &str) -> Option<String> {
    let (address, prefix) =
        text.split_once('/').map_or((text, None), |(address, prefix)| (address, Some(prefix)));
    let address: IpAddr = address.parse().ok()?;
    let width: u8 = if address.is_ipv4() { 32 } else { 128 };
    let prefix = prefix.map_or(Some(width), |prefix| prefix.parse().ok())?;
    (prefix <= width).then(|| format!("{address}/{prefix}"))
}

/// The last address of a block of 2^`bits`.
fn last_of(first: u128, bits: u32) -> u128 {
    first | 1_u128.checked_shl(bits).map_or(u128::MAX, |size| size - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn translated(text: &str) -> (Vec<String>, Vec<String>) {
        let translation = translate(&parse_conf(text));
        let taken = translation.taken.iter().map(|taken| format!("{}={}", taken.key.path, taken.text));
        let mark = |left: &Left| format!("{}{}", left.name, if left.refused { "!" } else { "" });
        (taken.collect(), translation.left.iter().map(mark).collect())
    }

    #[test]
    fn a_usual_file_is_taken_whole() {
        let (taken, left) = translated(
            "# coturn\nlistening-port=3479\ntls-listening-port 5349\nuse-auth-secret\nfingerprint\n\
             static-auth-secret=new secret\nstatic-auth-secret=old secret\nrealm=example.org\nuser=alice:pa:ss\n\
             min-port=50000\nmax-port=51000\nuser-quota=12\ntotal-quota=1200\nmax-bps=1000\n\
             external-ip=203.0.113.7/10.0.0.7\ncert=/etc/c.pem\npkey=/etc/k.pem\n\
             allowed-peer-ip=192.0.2.7\ndenied-peer-ip=10.0.0.0-10.255.255.255\ndenied-peer-ip=::1\n",
        );
        assert_eq!(
            taken,
            [
                "server.public-ip=203.0.113.7",
                "server.certificate-file=/etc/c.pem",
                "server.certificate-key-file=/etc/k.pem",
                "turn.port=3479",
                "turn.tls-port=5349",
                "turn.realm=example.org",
                "turn.secret=new secret",
                "turn.secret-previous=old secret",
                "turn.static-users=alice:pa:ss",
                "turn.allow=192.0.2.7/32",
                "turn.deny=10.0.0.0/8",
                "turn.deny=::1/128",
                "turn.relay-ports=50000-51000",
                "turn.allocations-max=1200",
                "turn.allocations-per-user-max=12",
                "turn.bandwidth-per-user-max-bps=8000",
            ]
        );
        assert_eq!(left, ["use-auth-secret", "fingerprint", "max-port"]);
    }

    #[test]
    fn what_would_be_another_server_is_said_so() {
        for (text, left) in [
            ("no-auth", "no-auth!"),
            ("user=bob:0xbc807ee29df3c9ffa736523fb2c4e8ee", "user!"),
            ("userdb=/var/db/turndb", "userdb!"),
            ("cert=/c.pem", "cert!"),
            ("allowed-peer-ip=10.0.0.9-10.0.0.1", "allowed-peer-ip!"),
            ("denied-peer-ip=example.org", "denied-peer-ip!"),
            ("max-bps=fast", "max-bps!"),
            ("log-file=/var/log/turn.log", "log-file"),
            ("tls-listening-port=5349", "tls-listening-port"),
            ("user-quota=0", "user-quota"),
            ("listning-port=1", "listning-port"),
        ] {
            assert_eq!(translated(text), (vec![], vec![left.to_owned()]), "{text}");
        }
        assert!(unknown("listning-port").contains("listening-port"));
        let secrets = "static-auth-secret=a\n".repeat(3);
        assert_eq!(translated(&secrets).1, ["static-auth-secret!"]);
        assert_eq!(translated("realm=a\nrealm=b"), (vec!["turn.realm=a".into()], vec!["realm!".into()]));
    }

    #[test]
    fn every_rule_leads_to_a_key_that_is_there() {
        for (name, rule) in RULES {
            if let Rule::Take(path) = rule {
                assert_eq!(translated(&format!("{name}=1")).0, [format!("{path}=1")]);
            }
        }
        assert_eq!(translated("stun-only").0, ["turn.enabled=false"]);
        assert_eq!(translated("max-port=60000").0, ["turn.relay-ports=49152-60000"]);
    }

    #[test]
    fn a_range_is_the_fewest_blocks() {
        let texts = |text: &str| -> Vec<String> { blocks(text).unwrap() };
        assert_eq!(texts("10.0.0.1-10.0.0.6"), ["10.0.0.1/32", "10.0.0.2/31", "10.0.0.4/31", "10.0.0.6/32"]);
        assert_eq!(texts("0.0.0.0-255.255.255.255"), ["0.0.0.0/0"]);
        assert_eq!(texts("::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"), ["::/0"]);
        assert_eq!(texts("255.255.255.254-255.255.255.255"), ["255.255.255.254/31"]);
        assert_eq!(blocks("10.0.0.1-::1"), None);
    }
}
