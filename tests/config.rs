//! Settings, by running the program: the file, the environment, and what `millrace config` says of them.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::fs::{self, Permissions};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use millrace_testkit::{Running, scratch};

/// `EX_CONFIG`.
const WRONG: Option<i32> = Some(78);

/// Free ports and one shard.
const FREE_PORTS: [&str; 10] =
    ["--https-port", "0", "--http-port", "0", "--media-port", "0", "--turn", "false", "--shards", "1"];

fn written(dir: &Path, text: &str) -> PathBuf {
    let path = dir.join("millrace.toml");
    fs::write(&path, text).unwrap();
    path
}

/// The program, with nothing set by whoever runs the tests.
fn millrace(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_millrace"));
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if name.starts_with("MILLRACE_") || name.starts_with("OPENVIDU_") {
            command.env_remove(name);
        }
    }
    command.args(words).env("MILLRACE_CONFIG", "/dev/null").stdin(Stdio::null());
    command
}

fn said(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

/// The value and the origin of a key as `config show` has them.
fn shown(output: &Output, path: &str) -> (String, String) {
    let (out, err) = said(output);
    let line = out.lines().find(|line| line.split_whitespace().next() == Some(path));
    let line = line.unwrap_or_else(|| panic!("{path} is missing: {out}{err}"));
    let parts: Vec<_> = line.split("  ").map(str::trim).filter(|part| !part.is_empty()).collect();
    (parts[1].to_owned(), parts[2].to_owned())
}

#[test]
fn show_tells_every_value_and_where_it_comes_from() {
    let dir = scratch();
    let holder = dir.join("secret");
    fs::write(&holder, "never to be shown\n").unwrap();
    let file = written(
        &dir,
        "[server]\nhttps-port = 1443\nhttp-port = 1480\n[streams]\nforced-video-codec = \"H264\"\n",
    );
    let output = millrace(&["config", "show", "--config", file.to_str().unwrap()])
        .env("MILLRACE_HTTPS_PORT", "2443")
        .env("MILLRACE_SECRET_FILE", &holder)
        .env("DOMAIN_OR_PUBLIC_IP", "192.0.2.7")
        .env("OPENVIDU_STREAMS_VIDEO_MAX_SEND_BANDWIDTH", "777")
        .output()
        .unwrap();
    let file = file.display();
    let secret_from = format!("{} (MILLRACE_SECRET_FILE)", holder.display());
    for (path, value, origin) in [
        ("server.https-port", "2443", "MILLRACE_HTTPS_PORT"),
        ("server.http-port", "1480", &*format!("{file}:3")),
        ("server.public-url", "https://192.0.2.7", "DOMAIN_OR_PUBLIC_IP (OpenVidu)"),
        ("server.public-ip", "192.0.2.7", "DOMAIN_OR_PUBLIC_IP (OpenVidu)"),
        ("server.secret", "(not shown)", &secret_from),
        ("streams.forced-video-codec", "H264", &format!("{file}:5")),
        ("streams.video-max-send-kbps", "777", "OPENVIDU_STREAMS_VIDEO_MAX_SEND_BANDWIDTH (OpenVidu)"),
        ("garbage.interval-s", "900", "default"),
        ("relay.backend", "-", "default"),
    ] {
        assert_eq!(shown(&output, path), (value.to_owned(), origin.to_owned()), "{path}");
    }
    assert!(!said(&output).0.contains("never to be shown"));
    assert!(output.status.success());
}

#[test]
fn check_tells_every_mistake_with_its_place() {
    let dir = scratch();
    let file = written(&dir, "[server]\nhttps-prot = 1\nhttp-port = 1480\n[relay]\nshard = 2\n");
    let path = file.to_str().unwrap();
    let output = millrace(&["config", "check", "--config", path]).output().unwrap();
    let (_, err) = said(&output);
    assert_eq!(output.status.code(), WRONG, "{err}");
    assert!(
        err.contains(&format!("{path}:2: unknown key server.https-prot; did you mean server.https-port?")),
        "{err}"
    );
    assert!(err.contains(&format!("{path}:5: unknown key relay.shard; did you mean relay.shards?")), "{err}");

    // Of both programs: each knows keys that the other does not.
    written(
        &dir,
        "[server]\nhttps-port = 70000\nsecret = \"short\"\n[relay]\nbackend = \"best\"\n[ice]\nservers = [\"url=turn:h,credentail=hidden\"]\n",
    );
    let output = millrace(&["config", "check", "--config", path]).output().unwrap();
    let (_, err) = said(&output);
    assert_eq!(
        (output.status.code(), err.lines().filter(|line| !line.contains("warning")).count()),
        (WRONG, 4),
        "{err}"
    );
    for words in [
        "2: server.https-port: ",
        "5: relay.backend: ",
        "3: the secret has less than",
        "7: ice.servers: only url,",
    ] {
        assert!(err.contains(&format!("{path}:{words}")), "{words}: {err}");
    }
    assert!(!err.contains("hidden"), "{err}");

    written(&dir, "[relay]\nshards = 2\n");
    let output = millrace(&["config", "check", "--config", path]).output().unwrap();
    assert!(output.status.success() && said(&output).0.contains("nothing is wrong"), "{output:?}");
    let (out, _) = said(&output);
    assert!(out.contains("Connections at a time") && out.contains("HTTPS "), "{out}");

    written(&dir, "[limits]\nsockets-max = 100\nparticipants-max = 200\n");
    let output = millrace(&["config", "check", "--config", path]).output().unwrap();
    let (out, err) = said(&output);
    assert!(output.status.success() && out.contains("HTTPS 100, TURN over TCP 100"), "{out}");
    assert!(err.contains("takes 100 connections, but limits.participants-max is 200"), "{err}");
}

#[test]
fn a_coturns_file_becomes_one_that_is_right() {
    let dir = scratch();
    let conf = dir.join("turnserver.conf");
    fs::write(
        &conf,
        "# coturn\nlistening-port=3479\nuse-auth-secret\nstatic-auth-secret=of a coturn\nrealm=example.org\n\
         user=alice:pass\nmin-port=50000\nmax-port=51000\nallowed-peer-ip=192.0.2.0-192.0.2.255\nuser-quota=12\n\
         tls-listening-port=5349\ncert=/c.pem\npkey=/k.pem\nstun-only\nuserdb=/var/db/turndb\nverbose\n",
    )
    .unwrap();
    let file = dir.join("made.toml");
    let words = ["config", "import-coturn", conf.to_str().unwrap(), "--output", file.to_str().unwrap()];
    let output = millrace(&words).output().unwrap();
    let (_, table) = said(&output);
    assert!(
        output.status.success() && !table.contains("of a coturn") && !table.contains("pass\n"),
        "{table}"
    );
    assert!(table.starts_with("LEFT   userdb"), "{table}");
    for row in
        ["taken  static-auth-secret  turn.secret = (not shown)", "left   verbose             logs go to"]
    {
        assert!(table.contains(row), "{row}:\n{table}");
    }
    let path = file.to_str().unwrap();
    let checked = millrace(&["config", "check", "--config", path]).output().unwrap();
    assert!(checked.status.success(), "{checked:?}");
    let output = millrace(&["config", "show", "--config", path]).output().unwrap();
    for (key, value) in [
        ("turn.enabled", "false"),
        ("turn.port", "3479"),
        ("turn.tls-port", "5349"),
        ("turn.realm", "example.org"),
        ("turn.allow", "192.0.2.0/24"),
        ("turn.relay-ports", "50000-51000"),
        ("turn.allocations-per-user-max", "12"),
        ("server.certificate-file", "/c.pem"),
    ] {
        assert_eq!(shown(&output, key).0, value, "{key}");
    }
}

#[test]
fn a_start_with_wrong_settings_ends_with_a_status_of_its_own() {
    let dir = scratch();
    let data = dir.join("data");
    let file = written(&dir, "[garbage]\ninterval-s = \"soon\"\n");
    let start = ["--data-dir", data.to_str().unwrap(), "--config", file.to_str().unwrap()];
    let output = millrace(&start).output().unwrap();
    let (_, err) = said(&output);
    assert_eq!(output.status.code(), WRONG, "{err}");
    assert!(err.contains(":2: garbage.interval-s: ") && err.contains("'soon'"), "{err}");
    assert!(!data.exists(), "nothing was begun");

    let output = millrace(&start[..2])
        .env("OPENVIDU_SECRET", "MY_SECRET")
        .env("DOMAIN_OR_PUBLIC_IP", "192.0.2.7")
        .env("CERTIFICATE_TYPE", "letsencrypt")
        .output()
        .unwrap();
    let (_, err) = said(&output);
    assert_eq!(output.status.code(), WRONG, "{err}");
    assert!(err.contains("needs a name") && err.contains("192.0.2.7"), "{err}");
}

#[test]
fn what_only_a_child_refuses_ends_all_with_that_status() {
    let scratch = scratch();
    let data = scratch.join("data");
    fs::create_dir_all(&data).unwrap();
    // Of an earlier run, and cut off since.
    fs::write(data.join("secret"), "short").unwrap();
    let output = millrace(&FREE_PORTS).arg("--data-dir").arg(&data).output().unwrap();
    let (_, err) = said(&output);
    assert_eq!(output.status.code(), WRONG, "{err}");
    assert!(
        err.contains("the secret has 5 bytes") && err.contains("signaling refuses its settings"),
        "{err}"
    );
}

#[test]
fn how_much_is_logged_is_a_setting_like_others() {
    let dir = scratch();
    let file = written(&dir, "[log]\nfilter = \"warn,millrace=debug\"\n");
    let path = file.to_str().unwrap();
    let output = millrace(&["config", "show", "--config", path]).output().unwrap();
    assert_eq!(shown(&output, "log.filter"), ("warn,millrace=debug".into(), format!("{path}:2")));
    let output =
        millrace(&["config", "show", "--config", path]).env("MILLRACE_LOG", "trace").output().unwrap();
    assert_eq!(shown(&output, "log.filter"), ("trace".into(), "MILLRACE_LOG".into()));
    let output = millrace(&["config", "check"]).env("MILLRACE_LOG", "millrace=loud").output().unwrap();
    assert_eq!(output.status.code(), WRONG);
    assert!(said(&output).1.contains("log.filter"), "{output:?}");
}

#[test]
fn both_processes_run_with_what_the_file_says() {
    let dir = scratch();
    let file = written(
        &dir,
        &format!(
            "[server]\nhttps-port = 0\nhttp-port = 0\nsecret = \"from the file\"\ndata-dir = \"{}\"\n\
             [relay]\nmedia-port = 0\nshards = 1\nbackend = \"mmsg\"\n[turn]\nport = 0\ntls-port = 0\n\
             [streams]\nvideo-max-recv-kbps = 1111\nvideo-min-recv-kbps = 222\n",
            dir.join("data").display()
        ),
    );
    let mut server = millrace(&["--json", "--config", file.to_str().unwrap()]);
    server
        // A variable wins over the file in the children too, and an empty one says nothing: sending falls to receiving.
        .env("OPENVIDU_STREAMS_VIDEO_MIN_SEND_BANDWIDTH", "333")
        .env("OPENVIDU_STREAMS_VIDEO_MAX_SEND_BANDWIDTH", "")
        .stdout(Stdio::piped());
    let mut server = Running::start(&mut server).unwrap();
    let ready = server.first_line().unwrap();
    assert_eq!(ready["secret"], "from the file");
    assert_eq!(ready["backend"], "mmsg");
    assert_eq!(ready["shards"].as_array().unwrap().len(), 1);

    let config = get(ready["http_url"].as_str().unwrap(), "/openvidu/api/config");
    for (name, value) in [("MAX_RECV", 1111), ("MIN_RECV", 222), ("MIN_SEND", 333), ("MAX_SEND", 1111)] {
        assert_eq!(config[format!("OPENVIDU_STREAMS_VIDEO_{name}_BANDWIDTH")], value, "{config}");
    }
}

#[test]
fn a_flag_of_one_process_is_a_flag_of_the_front_command() {
    let scratch = scratch();
    let data = scratch.join("data");
    let mut server = millrace(&[&FREE_PORTS[..], &["--json", "--secret", "from the file"]].concat());
    server
        .args(["--video-min-recv-kbps", "222", "--webhook-header", "A: b, c", "--webhook-header", "D: e"])
        .args(["--webhook", "--webhook-endpoint", "https://app.example/hook", "--data-dir"])
        .arg(&data)
        // Flags win over every variable, in the children too.
        .env("OPENVIDU_STREAMS_VIDEO_MIN_RECV_BANDWIDTH", "333")
        .stdout(Stdio::piped());
    let mut server = Running::start(&mut server).unwrap();
    let ready = server.first_line().unwrap();
    let config = get(ready["http_url"].as_str().unwrap(), "/openvidu/api/config");
    assert_eq!(config["OPENVIDU_STREAMS_VIDEO_MIN_RECV_BANDWIDTH"], 222, "{config}");
    assert_eq!(config["OPENVIDU_WEBHOOK_HEADERS"], serde_json::json!(["A: b, c", "D: e"]), "{config}");
}

/// What the front command prints on standard output and standard error until it is ready.
fn printed(data: &Path) -> (String, String) {
    let log = data.with_extension("log");
    let mut server = millrace(&FREE_PORTS);
    server.arg("--data-dir").arg(data).stdout(Stdio::piped()).stderr(fs::File::create(&log).unwrap());
    let mut server = Running::start(&mut server).unwrap();
    let stdout = server.child().stdout.take().unwrap();
    let mut out = String::new();
    for line in BufReader::new(stdout).lines() {
        let line = line.unwrap();
        if line.starts_with("Ctrl-C") {
            break;
        }
        out += &line;
        out.push('\n');
    }
    (out, fs::read_to_string(&log).unwrap())
}

#[test]
fn the_secret_is_printed_once_and_the_data_directory_is_private() {
    let scratch = scratch();
    let data = scratch.join("data");
    let mode = || fs::metadata(&data).unwrap().permissions().mode() & 0o777;
    let (out, log) = printed(&data);
    let secret = fs::read_to_string(data.join("secret")).unwrap();
    assert!(out.contains(secret.trim()), "it was just made: {out}{log}");
    assert_eq!(mode(), 0o700);

    // As an earlier release made it.
    fs::set_permissions(&data, Permissions::from_mode(0o755)).unwrap();
    let (out, log) = printed(&data);
    assert!(out.contains("Millrace is ready") && out.contains("in the file"), "{out}{log}");
    assert!(!out.contains(secret.trim()) && !log.contains(secret.trim()), "{out}{log}");
    assert_eq!(mode(), 0o700);
    assert!(log.contains("its mode is 0700 now"), "{log}");
}

/// One request as OPENVIDUAPP with the secret "from the file".
fn get(url: &str, path: &str) -> serde_json::Value {
    let authority = url.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(authority).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let credentials = "T1BFTlZJRFVBUFA6ZnJvbSB0aGUgZmlsZQ==";
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: {authority}\r\nAuthorization: Basic {credentials}\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    serde_json::from_str(body).unwrap()
}

#[test]
fn an_openvidu_env_becomes_a_file_that_is_right() {
    let dir = scratch();
    let env = dir.join(".env");
    fs::write(
        &env,
        "# OpenVidu configuration\nDOMAIN_OR_PUBLIC_IP=meet.example.org\nOPENVIDU_SECRET=MY_SECRET\n\
         CERTIFICATE_TYPE=owncert\nLETSENCRYPT_EMAIL=user@example.com\nHTTP_PORT=80\nALLOWED_ACCESS_TO_RESTAPI=198.51.100.1, 198.51.100.0/24\nOPENVIDU_RECORDING=false\n\
         OPENVIDU_STREAMS_VIDEO_MAX_RECV_BANDWIDTH=600\nOPENVIDU_STREAMS_FORCED_VIDEO_CODEC=VP8\n\
         OPENVIDU_SESSIONS_GARBAGE_INTERVAL=60\nOPENVIDU_WEBHOOK_EVENTS=\nCALL_RECORDING=ENABLED\n",
    )
    .unwrap();
    let file = dir.join("made.toml");
    let words = ["config", "import-openvidu", env.to_str().unwrap(), "--output", file.to_str().unwrap()];
    let output = millrace(&words).output().unwrap();
    let (_, table) = said(&output);
    assert!(output.status.success(), "{table}");
    for row in [
        "taken  OPENVIDU_SECRET                            server.secret = (not shown)",
        "taken  DOMAIN_OR_PUBLIC_IP                        server.https-port = 443",
        "left   CALL_RECORDING                             of the application OpenVidu Call",
        "left   OPENVIDU_RECORDING                         off, as here",
    ] {
        assert!(table.contains(row), "{row}:\n{table}");
    }
    assert!(!millrace(&words).output().unwrap().status.success(), "a file that is there is not touched");

    let path = file.to_str().unwrap();
    assert!(millrace(&["config", "check", "--config", path]).status().unwrap().success());
    let output = millrace(&["config", "show", "--config", path]).output().unwrap();
    let certificate = dir.canonicalize().unwrap().join("owncert/certificate.cert");
    for (key, value) in [
        ("server.public-url", "https://meet.example.org"),
        ("server.https-port", "443"),
        ("server.redirect-port", "80"),
        ("server.letsencrypt-email", "user@example.com"),
        ("server.rest-allow", "198.51.100.1, 198.51.100.0/24"),
        ("server.certificate-file", certificate.to_str().unwrap()),
        ("streams.video-max-recv-kbps", "600"),
        ("garbage.interval-s", "60"),
    ] {
        assert_eq!(shown(&output, key).0, value, "{key}");
    }
}

#[test]
fn the_documentation_lists_every_key() {
    let table = said(&millrace(&["config", "keys"]).output().unwrap()).0;
    let page =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md")).unwrap();
    assert!(
        page.contains(&table),
        "docs/configuration.md is to have what `millrace config keys` prints:\n{table}"
    );
}
