//! Each address that the server announces, tried from another host. The hosts are network namespaces.
//!
//! ```text
//!   client                          router                                 server
//!   wan 203.0.113.9  ────────────── wan 203.0.113.1
//!                                       203.0.113.10 <= 1:1 NAT => 10.71.1.3
//!   nic0 10.71.1.1, fd71:1::1 ───── lan 10.71.1.254 (a switch) ─────────── nic0 10.71.1.2 and .3, fd71:1::2 and ::3
//!   nic1 10.71.2.1, fd71:2::1 ──────────────────────────────────────────── nic1 10.71.2.2, fd71:2::2
//! ```
//!
//! By itself the kernel would answer from the first address of nic0 always. An answer from the second one shows that the
//! relay answers from the address that a packet was sent to. The NAT leads to the second one and drops other answers.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::report::Outcome;
use crate::server::{Server, in_namespace};
use crate::setup::is_root;
use crate::shell::exists;

/// The public address: the router translates it.
const PUBLIC: &str = "203.0.113.10";

/// All addresses of the server.
const ADDRESSES: [&str; 7] =
    ["10.71.1.2", "10.71.1.3", "10.71.2.2", PUBLIC, "fd71:1::2", "fd71:1::3", "fd71:2::2"];

/// First part of the names of our namespaces; the process's id and a letter follow.
const PREFIX: &str = "millrace-";

/// `$c`, `$r` and `$s` are the namespaces.
const WORLD: &str = "
ip link add nic0 netns $s type veth peer name port0 netns $r
ip link add nic0 netns $c type veth peer name port1 netns $r
ip link add nic1 netns $s type veth peer name nic1 netns $c
ip link add wan netns $r type veth peer name wan netns $c
ip -n $r link add lan type bridge
ip -n $r link set port0 master lan up
ip -n $r link set port1 master lan up
ip -n $r link set lan up
ip -n $r link set wan up
ip -n $r address add 10.71.1.254/24 dev lan
ip -n $r address add 203.0.113.1/24 dev wan
ip -n $r address add 203.0.113.10/24 dev wan
for each in $s/lo $s/nic0 $s/nic1 $c/lo $c/nic0 $c/nic1 $c/wan; do ip -n ${each%/*} link set ${each#*/} up; done
ip -n $s address add 10.71.1.2/24 dev nic0
ip -n $s address add 10.71.1.3/24 dev nic0
ip -n $s address add fd71:1::2/64 dev nic0 nodad
ip -n $s address add fd71:1::3/64 dev nic0 nodad
ip -n $s address add 10.71.2.2/24 dev nic1
ip -n $s address add fd71:2::2/64 dev nic1 nodad
ip -n $s route add default via 10.71.1.254
ip -n $c address add 10.71.1.1/24 dev nic0
ip -n $c address add fd71:1::1/64 dev nic0 nodad
ip -n $c address add 10.71.2.1/24 dev nic1
ip -n $c address add fd71:2::1/64 dev nic1 nodad
ip -n $c address add 203.0.113.9/24 dev wan
ip netns exec $r sh -c 'echo 1 >/proc/sys/net/ipv4/ip_forward'
ip netns exec $r iptables -t nat -A PREROUTING -i wan -d 203.0.113.10 -j DNAT --to-destination 10.71.1.3
ip netns exec $r iptables -t nat -A POSTROUTING -o wan -s 10.71.1.3 -j SNAT --to-source 203.0.113.10
";

/// A short call over each address.
pub(crate) fn every_address(backend: &str) -> Outcome {
    if !is_root() {
        return Outcome::Skipped("only root may make network namespaces".into());
    }
    if let Some(missing) = ["ip", "iptables"].into_iter().find(|program| !exists(program)) {
        return Outcome::Failed(format!("{missing} is missing: cargo xtask setup"));
    }
    World::sweep();
    let world = match World::new() {
        Ok(world) => world,
        Err(Refused::Namespaces(why)) => {
            return Outcome::Skipped(format!("root may not make network namespaces here: {why}"));
        }
        Err(Refused::Rest(why)) => return Outcome::Failed(why),
    };
    match world.calls(backend) {
        Ok(Some(failed)) => Outcome::Counted { passed: ADDRESSES.len() as u64 - failed, failed },
        Ok(None) => Outcome::Skipped(format!("the kernel refuses {backend}")),
        Err(why) => Outcome::Failed(why),
    }
}

/// Whether this process may make network namespaces; else the reason.
pub(crate) fn may_be_made() -> Result<(), String> {
    if !is_root() {
        return Err("only root may make them".into());
    }
    let name = format!("{PREFIX}{}-x", std::process::id());
    let made = shell(&format!("ip netns add {name}"));
    remove(&name);
    made.map(drop)
}

/// Why the hosts could not be made.
enum Refused {
    /// The kernel refused a namespace.
    Namespaces(String),
    /// A namespace could not be configured.
    Rest(String),
}

/// Three hosts and their cables, removed when dropped.
struct World {
    client: String,
    router: String,
    server: String,
}

impl World {
    fn new() -> Result<Self, Refused> {
        let name = |host: &str| format!("{PREFIX}{}-{host}", std::process::id());
        let world = Self { client: name("c"), router: name("r"), server: name("s") };
        for namespace in world.namespaces() {
            shell(&format!("ip netns add {namespace}")).map_err(Refused::Namespaces)?;
        }
        let names = format!("c={} r={} s={}", world.client, world.router, world.server);
        shell(&format!("set -e; export PATH=$PATH:/usr/sbin:/sbin; {names}\n{WORLD}"))
            .map_err(Refused::Rest)?;
        Ok(world)
    }

    fn namespaces(&self) -> [&str; 3] {
        [&self.client, &self.router, &self.server]
    }

    /// Removes the namespaces of runs that were killed.
    fn sweep() {
        let list = shell("ip netns list").unwrap_or_default();
        for name in list.lines().filter_map(|line| line.split(' ').next()) {
            let owner = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next());
            if owner.is_some_and(|owner| !Path::new("/proc").join(owner).exists()) {
                remove(name);
            }
        }
    }

    /// Number of addresses that did not work; `None` where the kernel refuses the backend.
    fn calls(&self, backend: &str) -> Result<Option<u64>, String> {
        let server = Server::start_in(&self.server, backend, &["--public-ip", PUBLIC])?;
        if server.backend != backend {
            return Ok(None);
        }
        let mut failures = 0;
        for address in ADDRESSES {
            match self.call(&server, address) {
                Ok(()) => println!("{backend}: {address} ok"),
                Err(why) => {
                    failures += 1;
                    println!("{backend}: {address} FAILED: {why}");
                }
            }
        }
        Ok(Some(failures))
    }

    /// Signaling and media over one address, for a publisher and a viewer.
    fn call(&self, server: &Server, address: &str) -> Result<(), String> {
        let ip: IpAddr = address.parse().map_err(|error| format!("{address}: {error}"))?;
        let host = if ip.is_ipv6() { format!("[{address}]") } else { address.to_owned() };
        let url = format!("https://{host}:{}", server.https_port);
        let output = in_namespace(&self.client, "millrace-loadtest")
            .args(["smoke", "--json", "--url", &url, "--secret", &server.secret, "--candidate", address])
            .args(["--viewers", "1", "--packets", "100", "--rate", "200"])
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()
            .map_err(|error| format!("the load test could not be started: {error}"))?;
        let said = String::from_utf8_lossy(&output.stdout);
        if !output.status.success() {
            return Err(said.trim().to_owned());
        }
        let report: Value = serde_json::from_str(&said).map_err(|error| format!("{error} in: {said}"))?;
        let remote = report["publishers"][0]["remote"].as_str().unwrap_or_default();
        if remote.rsplit_once(':').is_none_or(|(remote, _)| remote != host) {
            return Err(format!("media went to {remote}"));
        }
        announces_all(&report)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.namespaces().into_iter().for_each(remove);
    }
}

fn remove(namespace: &str) {
    // It fails where the namespace was never made.
    let _ = shell(&format!("ip netns delete {namespace}"));
}

/// Checks that each address is announced once, the public one first.
fn announces_all(report: &Value) -> Result<(), String> {
    let candidates = report["publishers"][0]["candidates"].as_array().into_iter().flatten();
    let announced: Vec<IpAddr> = candidates
        .filter_map(|candidate| candidate.as_str()?.parse::<SocketAddr>().ok())
        .map(|candidate| candidate.ip())
        .collect();
    let wanted: BTreeSet<IpAddr> = ADDRESSES.iter().filter_map(|address| address.parse().ok()).collect();
    let found: BTreeSet<IpAddr> = announced.iter().copied().collect();
    let first_is_public = announced.first().is_some_and(|first| Some(*first) == PUBLIC.parse().ok());
    if found == wanted && announced.len() == wanted.len() && first_is_public {
        return Ok(());
    }
    Err(format!("the server announces {announced:?}"))
}

/// Runs words of a shell. Gives what they print, else their error.
fn shell(words: &str) -> Result<String, String> {
    let output = Command::new("sh")
        .args(["-c", words])
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("sh could not be started: {error}"))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(candidates: &[&str]) -> Value {
        serde_json::json!({"publishers": [{"candidates": candidates, "remote": "10.71.1.2:4"}]})
    }

    #[test]
    fn a_missing_doubled_or_misplaced_address_is_noticed() {
        let all = [
            "203.0.113.10:4",
            "10.71.1.2:4",
            "10.71.1.3:4",
            "10.71.2.2:4",
            "[fd71:1::2]:4",
            "[fd71:1::3]:4",
            "[fd71:2::2]:4",
        ];
        assert_eq!(announces_all(&report(&all)), Ok(()));
        assert!(announces_all(&report(&all[1..])).is_err());
        assert!(announces_all(&report(&[&all[..], &all[..1]].concat())).is_err());
        let mut swapped = all;
        swapped.swap(0, 1);
        assert!(announces_all(&report(&swapped)).is_err());
    }

    #[test]
    fn the_error_of_a_shell_is_kept() {
        assert_eq!(shell("echo good"), Ok("good\n".into()));
        assert_eq!(shell("echo bad >&2; exit 1"), Err("bad".into()));
    }
}
