//! A host of its own for a server: a network namespace at the other end of a cable (veth(4)).
//!
//! ```text
//!   here: publishers, viewers                    there: the server
//!   198.18.A.B+1  ─────────── a cable ────────── 198.18.A.B+2
//! ```
//! Janus' ICE library leaves loopback out, so whatever is held against it stands here too. The addresses are those set
//! aside for benchmarks (RFC 2544); A and B follow from our process id, so that two runs are not in each other's way.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::failure::Failure;
use crate::floor::Place;

/// First part of the names of our namespaces; the process id and `-lab` follow.
const PREFIX: &str = "millrace-";
const SUFFIX: &str = "-lab";

/// Two hosts with a cable. The other one goes when it is dropped, and the cable with it.
#[derive(Debug)]
pub struct Lab {
    name: String,
    /// Our address.
    pub here: Ipv4Addr,
    /// The server's.
    pub there: Ipv4Addr,
}

impl Lab {
    /// Makes it.
    ///
    /// # Errors
    /// [`Failure::Usage`] when this process is not root, may not make namespaces or finds no `ip`.
    pub fn new() -> Result<Self, Failure> {
        if !is_root() {
            return Err(refused("it has to be run as root"));
        }
        sweep();
        let process = std::process::id();
        let (here, there) = network_of(process);
        let lab = Self { name: format!("{PREFIX}{process}{SUFFIX}"), here, there };
        let (name, cable) = (&lab.name, format!("mrlt{process}"));
        for words in [
            format!("netns add {name}"),
            format!("link add {cable} type veth peer name eth0 netns {name}"),
            format!("address add {here}/30 dev {cable}"),
            format!("link set {cable} up"),
            format!("-n {name} address add {there}/30 dev eth0"),
            format!("-n {name} link set lo up"),
            format!("-n {name} link set eth0 up"),
        ] {
            ip(&words).map_err(|why| refused(&format!("`ip {words}` says: {why}")))?;
        }
        Ok(lab)
    }

    /// A program that will run on the server's host. It becomes the process that is started.
    #[must_use]
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).arg(program);
        command
    }

    /// The server's host as the floor's loop is to find it.
    #[must_use]
    pub fn place(&self) -> Place {
        let path = PathBuf::from("/run/netns").join(&self.name);
        Place::Namespace { path, inside: self.there, outside: self.here }
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _ = ip(&format!("netns delete {}", self.name));
    }
}

/// Both addresses of a process's network of four.
fn network_of(process: u32) -> (Ipv4Addr, Ipv4Addr) {
    let network = u32::from(Ipv4Addr::new(198, 18, 0, 0)) + (process % (1 << 15)) * 4;
    (Ipv4Addr::from(network + 1), Ipv4Addr::from(network + 2))
}

fn refused(why: &str) -> Failure {
    Failure::Usage(format!(
        "the server needs a network namespace of its own, for Janus does not speak on loopback; {why}"
    ))
}

/// Removes what a run left behind that was killed.
fn sweep() {
    let list = ip("netns list").unwrap_or_default();
    for name in list.lines().filter_map(|line| line.split(' ').next()) {
        let owner = name.strip_prefix(PREFIX).and_then(|rest| rest.strip_suffix(SUFFIX));
        if owner.is_some_and(|owner| !Path::new("/proc").join(owner).exists()) {
            let _ = ip(&format!("netns delete {name}"));
        }
    }
}

fn is_root() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ids = status.lines().find_map(|line| line.strip_prefix("Uid:")).unwrap_or_default();
    // Real, effective.
    ids.split_ascii_whitespace().nth(1) == Some("0")
}

/// What ip(8) prints, or what it complains of.
fn ip(words: &str) -> Result<String, String> {
    let output = Command::new("ip")
        .args(words.split(' '))
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("{error} (Debian's package is iproute2)"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn different_processes_have_different_networks() {
        let (here, there) = network_of(4_000);
        assert_eq!((u32::from(here) % 4, u32::from(there) - u32::from(here)), (1, 1));
        assert_eq!(u32::from(network_of(4_001).0) - u32::from(here), 4);
        for address in [network_of(0).0, network_of(u32::MAX).1] {
            assert!(address.octets()[0] == 198 && [18, 19].contains(&address.octets()[1]), "{address}");
        }
    }
}
