//! The order of the house, as a test: who may import whom, where `unsafe` may stand, which outside crate has which
//! door, and who may read a clock. ARCHITECTURE.md says why. The last tests show that a wrong house is noticed.

#[path = "house/scan.rs"]
mod scan;

use std::fs;
use std::path::Path;

use scan::{PathUse, Token, crate_paths, product_tokens, tokens};

/// One crate whose rooms are in order.
struct House {
    /// Its sources.
    src: &'static str,
    /// The name it has in paths.
    name: &'static str,
    /// Every room and its layer. A room imports from rooms of lower layers. A new room gets its line here.
    rooms: &'static [(&'static str, u8)],
    /// What else is allowed: from, to, and the one module behind the door (empty for the whole room).
    side_doors: &'static [(&'static str, &'static str, &'static str)],
}

const HOUSES: [House; 2] = [
    House { src: "src/", name: "millrace", rooms: &RELAY_ROOMS, side_doors: &RELAY_SIDE_DOORS },
    House {
        src: "signaling/src/",
        name: "millrace_signaling",
        rooms: &SIGNALING_ROOMS,
        side_doors: &SIGNALING_SIDE_DOORS,
    },
];

/// The rooms of signaling. Those of layer 6 are adapters: each speaks one protocol, and nothing below knows it.
const SIGNALING_ROOMS: [(&str, u8); 30] = [
    // 7: wiring only
    ("main", 7),
    ("server", 7),
    ("routes", 7),
    ("memory", 7),
    // 6: adapters, one protocol each
    ("openvidu", 6),
    ("readiness", 6),
    ("stats", 6),
    ("web", 6),
    // 5: the core: what a client or an application may do, and what follows
    ("app", 5),
    // 4: every session, and what is known of all of them
    ("registry", 4),
    // 3: the kernel's doors
    ("http", 3),
    ("acme", 3),
    ("relay", 3),
    // 2: what the operator says
    ("config", 2),
    // 1: the model, and parts that know nothing of each other
    ("access", 1),
    ("cdr", 1),
    ("delivery", 1),
    ("ice_servers", 1),
    ("origin", 1),
    ("rate", 1),
    ("sdp", 1),
    ("session", 1),
    ("store", 1),
    ("tls", 1),
    // 0: vocabulary
    ("clock", 0),
    ("descriptors", 0),
    ("files", 0),
    ("ids", 0),
    ("net", 0),
    ("supervise", 0),
];

const SIGNALING_SIDE_DOORS: [(&str, &str, &str); 11] = [
    // The program and the crate's face.
    ("main", "server", ""),
    ("server", "routes", ""),
    ("server", "memory", ""),
    // Notices become texts, facts become events.
    ("delivery", "session", ""),
    ("cdr", "session", ""),
    // Plain HTTP answers the questions of a certificate authority.
    ("http", "acme", "Answers"),
    // What one participant may say is a rate.
    ("delivery", "rate", ""),
    // Wrong secrets are counted by a rate, and an invitation names a role.
    ("access", "rate", ""),
    ("access", "session", "Role"),
    // The ICE servers of a connection are part of the model.
    ("ice_servers", "session", ""),
    // A URL has a host and a port, as an ICE server has.
    ("origin", "ice_servers", "split_host"),
];

/// The rooms of the relay.
const RELAY_ROOMS: [(&str, u8); 29] = [
    // 6: wiring only
    ("main", 6),
    ("bin", 6),
    ("front", 6),
    ("relay", 6),
    ("config", 6),
    ("systemd", 6),
    // 5: the kernel, the control socket, TCP and TLS
    ("io", 5),
    ("control", 5),
    ("edge", 5),
    // 4: one core's whole world, sans-IO
    ("shard", 4),
    ("turn", 4),
    // 3: tracks and fan-out; one browser
    ("router", 3),
    ("peer", 3),
    // 2: protocol machines, one concern each
    ("feedback", 2),
    ("congestion", 2),
    ("ice", 2),
    ("dtls", 2),
    ("srtp", 2),
    // 1: bytes and values; sealing
    ("wire", 1),
    ("crypto", 1),
    // 0: vocabulary
    ("records", 0),
    ("metrics", 0),
    ("egress", 0),
    ("ingress", 0),
    ("discard", 0),
    ("limits", 0),
    ("ids", 0),
    ("random", 0),
    ("time", 0),
];

const RELAY_SIDE_DOORS: [(&str, &str, &str); 13] = [
    // The router writes through what a browser's streams out need, and sees nothing else of a browser.
    ("router", "peer", "outbound"),
    // TURN gives the shard what its clients send to the media port, and stands around what the shard sends.
    ("turn", "shard", ""),
    // A shard's thread is control's; what it runs on is io. Nothing goes the other way.
    ("control", "io", ""),
    // Threads meet only in the mailbox.
    ("edge", "control", "mailbox"),
    // The numbers of a peer's header extensions are plain bytes and part of its record.
    ("records", "wire", "extension"),
    // What the edge says to a shard is nothing without its tag.
    ("wire", "crypto", "mac"),
    // Each program's wiring.
    ("main", "front", ""),
    ("front", "relay", ""),
    ("bin", "relay", ""),
    ("relay", "systemd", ""),
    ("relay", "config", ""),
    ("front", "config", ""),
    ("bin", "config", ""),
];

/// Helpers for tests may see the whole house, and every test may use them.
const TESTING: &str = "testing";

/// Where each outside crate may be named. Everything outside these folders goes through our own types.
const DOORS: [(&str, &[&str]); 6] = [
    ("io_uring", &["src/io/uring", "loadtest/src/kernel"]),
    ("libc", &["src/io", "loadtest/src/kernel", "signaling/src/memory/heap"]),
    ("dimpl", &["src/dtls"]),
    ("aws_lc_rs", &["src/crypto", "turn", "signaling", "http-client", "loadtest"]),
    // The edge is not on the packet path, and timers, TLS and a thousand slow readers come with the runtime.
    ("tokio", &["signaling", "http-client", "loadtest", "benches", "src/edge"]),
    ("tokio_rustls", &["signaling", "http-client/tests", "loadtest", "src/edge"]),
];

/// Where `unsafe` may stand: what touches the kernel, of the product and of the load generator; and the one call by which
/// signaling reaches its allocator.
const UNSAFE: [&str; 3] = ["src/io/", "loadtest/src/kernel/", "signaling/src/memory/heap.rs"];

/// Folders that hold Rust of ours.
const FOLDERS: [&str; 10] = [
    "src",
    "signaling",
    "http-client",
    "turn",
    "settings",
    "loadtest",
    "benches",
    "tests",
    "xtask",
    "systemd",
];

// ------------------------------------------------------------------------------------------------ rules

impl House {
    /// The house that a file stands in.
    fn of(path: &str) -> Option<&'static Self> {
        HOUSES.iter().find(|house| path.starts_with(house.src))
    }

    fn layer(&self, room: &str) -> Option<u8> {
        self.rooms.iter().find(|(name, _)| *name == room).map(|(_, layer)| *layer)
    }
}

/// What is wrong with `from` importing the path, if anything.
fn wrong_import(house: &House, from: &str, path: &[String]) -> Option<String> {
    let to = path.first()?.as_str();
    let free = to == from || from == TESTING || to == TESTING;
    if free {
        return None;
    }
    let Some(upper) = house.layer(from) else {
        return Some(format!("the room `{from}` has no layer yet; give it a line in ROOMS"));
    };
    let Some(lower) = house.layer(to) else {
        return Some(format!(
            "`crate::{}` is not a room; import from the room where it lives",
            path.join("::")
        ));
    };
    let behind = path.get(1).map_or("", String::as_str);
    let door = house
        .side_doors
        .iter()
        .any(|(f, t, module)| *f == from && *t == to && (module.is_empty() || *module == behind));
    // Vocabulary words may explain each other.
    let allowed = lower < upper || (lower == 0 && upper == 0) || door;
    (!allowed)
        .then(|| format!("`{from}` (layer {upper}) may not import `{}` (layer {lower})", path.join("::")))
}

/// `src/wire/rtp.rs` hangs at `wire::rtp`; `mod.rs` at its folder.
fn module_of<'p>(house: &House, path: &'p str) -> Vec<&'p str> {
    let inner = path.trim_start_matches(house.src).trim_end_matches(".rs");
    let mut module: Vec<&str> = inner.split('/').collect();
    if module.last() == Some(&"mod") {
        module.pop();
    }
    module
}

fn import_faults(path: &str, text: &str) -> Vec<String> {
    let Some(house) = House::of(path) else { return Vec::new() };
    let module = module_of(house, path);
    let from = module[0];
    if from == "lib" {
        return Vec::new();
    }
    let fault = |used: PathUse| {
        wrong_import(house, from, &used.segments).map(|words| format!("{path}:{}: {words}", used.line))
    };
    crate_paths(text, &module, house.name).into_iter().filter_map(fault).collect()
}

fn unsafe_faults(path: &str, text: &str) -> Vec<String> {
    let lines: Vec<&str> = text.lines().collect();
    let all = tokens(text);
    let fault = |(at, token): (usize, &Token<'_>)| {
        // The declaration of an unsafe function promises nothing; calling it does.
        let promises = all.get(at + 1).is_none_or(|next| next.text != "fn");
        if !UNSAFE.iter().any(|folder| path.starts_with(folder)) {
            Some(format!("{path}:{}: `unsafe` belongs into {}", token.line, UNSAFE.join(" or ")))
        } else if promises && !has_safety_note(&lines, token.line) {
            Some(format!("{path}:{}: `unsafe` without a SAFETY comment above", token.line))
        } else {
            None
        }
    };
    all.iter().enumerate().filter(|(_, token)| token.text == "unsafe").filter_map(fault).collect()
}

/// Looks up from the line, through comments, attributes and the beginning of the same statement.
fn has_safety_note(lines: &[&str], line: usize) -> bool {
    let is_note =
        |text: &str| text.contains("// SAFETY:") || (text.starts_with("///") && text.contains("# Safety"));
    if is_note(lines[line - 1].trim()) {
        return true;
    }
    for above in lines[..line - 1].iter().rev() {
        let above = above.trim();
        if is_note(above) {
            return true;
        }
        let passable = above.starts_with("//") || above.starts_with("#[");
        if !passable && (above.is_empty() || above.ends_with([';', '{', '}', ','])) {
            return false;
        }
    }
    false
}

fn door_faults(path: &str, text: &str) -> Vec<String> {
    let all = tokens(text);
    let mut faults = Vec::new();
    for (at, token) in all.iter().enumerate() {
        let Some((name, folders)) = DOORS.iter().find(|(name, _)| *name == token.text) else { continue };
        let before = at.checked_sub(1).map_or("", |before| all[before].text);
        let after = all.get(at + 1).map_or("", |after| after.text);
        // A module or a field of ours may bear the same name.
        let named = before != "::" && (after == "::" || before == "use" || before == "crate" && at >= 2);
        let inside =
            |folder: &&str| path == format!("{folder}.rs") || path.starts_with(&format!("{folder}/"));
        if named && !folders.iter().any(inside) {
            faults.push(format!("{path}:{}: `{name}` has its door in {}", token.line, folders.join(", ")));
        }
    }
    faults
}

/// The relay's cores take `now`; io reads it. The front command, the edge with its runtime's timers, and the other
/// packages have clocks of their own.
fn clock_faults(path: &str, text: &str) -> Vec<String> {
    if !path.starts_with("src/")
        || ["src/io/", "src/front/", "src/edge/"].iter().any(|room| path.starts_with(room))
    {
        return Vec::new();
    }
    let all = tokens(text);
    let product = product_tokens(&all);
    let reads = |window: &&[Token<'_>]| {
        matches!(window[0].text, "Instant" | "SystemTime")
            && window[1].text == "::"
            && window[2].text == "now"
    };
    let fault = |window: &[Token<'_>]| format!("{path}:{}: clocks are read in src/io/ only", window[0].line);
    product.windows(3).filter(reads).map(fault).collect()
}

// ------------------------------------------------------------------------------------------------ the house

/// Every Rust file of ours as (path from the root, text), in the order of names.
fn sources(folders: &[&str]) -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    for folder in folders {
        collect(root, &root.join(folder), &mut found);
    }
    found.sort();
    found
}

fn collect(root: &Path, folder: &Path, found: &mut Vec<(String, String)>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for path in entries.flatten().map(|entry| entry.path()) {
        if path.is_dir() {
            let built = path.ends_with("target") || path.ends_with("node_modules");
            if !built {
                collect(root, &path, found);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let name = path.strip_prefix(root).expect("found below the root").to_string_lossy().into_owned();
            found.push((name, fs::read_to_string(&path).expect("sources are readable text")));
        }
    }
}

fn check(folders: &[&str], rule: fn(&str, &str) -> Vec<String>) {
    let sources = sources(folders);
    assert!(sources.len() > 3, "no sources found: the test looks in the wrong place");
    let faults: Vec<String> = sources.iter().flat_map(|(path, text)| rule(path, text)).collect();
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

#[test]
fn imports_run_downwards() {
    check(&["src", "signaling/src"], import_faults);
}

#[test]
fn unsafe_stays_in_io_and_is_explained() {
    check(&FOLDERS, unsafe_faults);
}

#[test]
fn outside_crates_have_one_door() {
    check(&FOLDERS, door_faults);
}

#[test]
fn clocks_are_read_in_io() {
    check(&["src"], clock_faults);
}

// ------------------------------------------------------------------------------------------------ a wrong house

#[track_caller]
fn refused(rule: fn(&str, &str) -> Vec<String>, path: &str, text: &str) {
    assert_eq!(rule(path, text).len(), 1, "{path}: {text}: {:?}", rule(path, text));
}

#[track_caller]
fn accepted(rule: fn(&str, &str) -> Vec<String>, path: &str, text: &str) {
    assert_eq!(rule(path, text), Vec::<String>::new(), "{path}: {text}");
}

#[test]
fn notices_a_wrong_import() {
    refused(import_faults, "src/srtp/send.rs", "use crate::dtls::keys::SrtpKeys;");
    refused(import_faults, "src/srtp/send.rs", "use crate::{time::Timestamp, wire::rtp, ice::Agent};");
    refused(import_faults, "src/peer/mod.rs", "use crate::router::Track;");
    refused(import_faults, "src/peer/inbound.rs", "use super::super::router::Track;");
    refused(import_faults, "src/router/fanout.rs", "use crate::peer::inbound::Inbound;");
    refused(import_faults, "src/wire/rtp.rs", "fn f() { crate::shard::Shard::new() }");
    refused(import_faults, "src/time.rs", "mod tests { use crate::wire::rtp; use super::*; }");
    refused(import_faults, "src/shard/mod.rs", "use crate::io::cycle;");
    refused(import_faults, "src/attic.rs", "use crate::wire::rtp;");
    refused(import_faults, "src/wire/rtp.rs", "use crate::Something;");
    refused(import_faults, "src/systemd.rs", "use millrace::front::Child;");
    refused(import_faults, "src/io/cycle.rs", "use crate::control::mailbox::Mailbox;");
    refused(import_faults, "signaling/src/session/mod.rs", "use crate::app::App;");
    refused(import_faults, "signaling/src/app/mod.rs", "use crate::openvidu::events;");
    refused(import_faults, "signaling/src/registry/mod.rs", "use crate::{session::Session, openvidu::rpc};");
    refused(import_faults, "signaling/src/sdp/mod.rs", "use crate::session::Endpoint;");
}

#[test]
fn accepts_a_right_import() {
    accepted(import_faults, "src/router/fanout.rs", "use crate::peer::outbound::Outbound;");
    accepted(
        import_faults,
        "src/router/fanout.rs",
        "use crate::{ids::PeerId, wire::{self, rtp as r}, srtp::send};",
    );
    accepted(
        import_faults,
        "src/peer/mod.rs",
        "use super::ice; mod tests { use super::*; use super::super::dtls; }",
    );
    accepted(
        import_faults,
        "src/srtp/send.rs",
        "// use crate::dtls::Keys;\n/* crate::ice */ const A: &str = \"crate::dtls\";",
    );
    accepted(import_faults, "src/srtp/send.rs", "pub(in crate::peer) fn f<'a>(x: &'a str) -> char { '\"' }");
    accepted(import_faults, "src/main.rs", "use millrace::io::cycle;");
    accepted(import_faults, "src/ice/mod.rs", "mod tests { use crate::testing::net; }");
    accepted(import_faults, "signaling/src/openvidu/rpc/mod.rs", "use crate::app::App; use super::events;");
}

#[test]
fn notices_wrong_unsafe() {
    refused(unsafe_faults, "src/wire/rtp.rs", "// SAFETY: no.\nunsafe { f() }");
    refused(unsafe_faults, "loadtest/src/peer/mod.rs", "// SAFETY: no.\nunsafe { f() }");
    accepted(unsafe_faults, "loadtest/src/kernel/send.rs", "// SAFETY: ours.\nunsafe { f() }");
    refused(unsafe_faults, "signaling/src/lib.rs", "unsafe impl Send for A {}");
    refused(unsafe_faults, "src/io/pool.rs", "let a = 1;\nunsafe { f() }");
    refused(unsafe_faults, "src/io/pool.rs", "// SAFETY: for the first.\nunsafe { f() };\nunsafe { g() }");
    accepted(
        unsafe_faults,
        "src/io/pool.rs",
        "// SAFETY: the pointer is ours.\nlet a =\n    unsafe { f() };",
    );
    accepted(
        unsafe_faults,
        "src/io/pool.rs",
        "/// # Safety\n/// The caller owns it.\n#[inline]\nunsafe fn f() {}",
    );
    accepted(unsafe_faults, "src/lib.rs", "#![deny(unsafe_code)] // unsafe");
}

#[test]
fn notices_a_second_door() {
    refused(door_faults, "src/shard/mod.rs", "use io_uring::IoUring;");
    refused(door_faults, "src/io/mmsg.rs", "use io_uring::{opcode, types};");
    refused(door_faults, "src/srtp/send.rs", "let key = aws_lc_rs::aead::LessSafeKey::new();");
    refused(door_faults, "src/control/listener.rs", "#[tokio::main] async fn main() {}");
    refused(door_faults, "src/shard/mod.rs", "use libc;");
    accepted(door_faults, "src/io/uring/ring.rs", "use io_uring::IoUring;");
    accepted(door_faults, "src/io/uring.rs", "use io_uring::IoUring;");
    accepted(door_faults, "src/shard/mod.rs", "let tokio = 1; use crate::io_uring::x; config.dimpl();");
    accepted(door_faults, "signaling/src/main.rs", "#[tokio::main] async fn main() {}");
}

#[test]
fn notices_a_clock() {
    refused(clock_faults, "src/shard/mod.rs", "let now = std::time::Instant::now();");
    refused(clock_faults, "src/peer/mod.rs", "SystemTime :: now()");
    accepted(clock_faults, "src/io/cycle.rs", "Instant::now()");
    accepted(
        clock_faults,
        "src/peer/mod.rs",
        "#[cfg(test)]\nmod tests { fn f() { Instant::now(); } }\nfn g(now: Instant) {}",
    );
    refused(
        clock_faults,
        "src/peer/mod.rs",
        "#[cfg(test)]\nmod tests { fn f() {} }\nfn g() { Instant::now(); }",
    );
}
