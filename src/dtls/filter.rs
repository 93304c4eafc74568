//! Drops datagrams that no honest peer sends at this point, before the DTLS library spends anything on them.
//!
//! Before keys exist a record proves nothing, and one bad record can end a handshake: a plaintext alert is fatal to the
//! library, a stray fragment blocks its queue. So only what the peer's next flight consists of comes through.

use super::Role;

/// Bytes of a DTLS 1.2 record header (RFC 6347 §4.1).
const RECORD_HEADER_BYTES: usize = 13;
/// Bytes of a handshake message header (RFC 6347 §4.2.2).
const MESSAGE_HEADER_BYTES: usize = 12;
/// Most records in one datagram; the library takes no more.
const RECORDS_MAX: usize = 8;
/// Highest message number of a peer that neither renegotiates nor sends more than a few messages.
const MESSAGE_SEQ_MAX: u16 = 8;
/// Longest message: room for a chain of certificates, not for one that was made to hurt.
pub(super) const MESSAGE_BYTES_MAX: u32 = 16 * 1024;

/// Content types (RFC 5246 §6.2.1, RFC 9147 §4).
const CHANGE_CIPHER_SPEC: u8 = 20;
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const APPLICATION_DATA: u8 = 23;
const ACK: u8 = 26;

/// Handshake types (RFC 5246 §7.4, RFC 6347 §4.3.2).
const CLIENT_HELLO: u8 = 1;
const SERVER_HELLO: u8 = 2;
const HELLO_VERIFY_REQUEST: u8 = 3;
const NEW_SESSION_TICKET: u8 = 4;
const CERTIFICATE: u8 = 11;
const SERVER_KEY_EXCHANGE: u8 = 12;
const CERTIFICATE_REQUEST: u8 = 13;
const SERVER_HELLO_DONE: u8 = 14;
const CERTIFICATE_VERIFY: u8 = 15;
const CLIENT_KEY_EXCHANGE: u8 = 16;

/// What a datagram may hold just now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// We are the server and have not answered: a ClientHello.
    AwaitingHello,
    /// Flights go back and forth.
    Flights,
    /// Connected not long ago: our last flight may be lost, and the peer repeats its own.
    LastFlight,
    /// Connected: protected records only.
    Protected,
}

/// The view of the handshake that the filter needs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Filter {
    pub(super) role: Role,
    pub(super) stage: Stage,
    /// Whether DTLS 1.3 may be spoken, which has another header for protected records.
    pub(super) allows_13: bool,
}

impl Filter {
    /// Whether every record of the datagram may pass. One that may not takes the whole datagram with it.
    pub(super) fn passes(self, datagram: &[u8]) -> bool {
        let mut rest = datagram;
        for _ in 0..RECORDS_MAX {
            // A protected record of DTLS 1.3 has 001 in its top bits (RFC 9147 §4); the rest is for the library.
            if self.allows_13 && rest.first().is_some_and(|first| first & 0xe0 == 0x20) {
                return self.stage != Stage::AwaitingHello;
            }
            let Some((header, body)) = rest.split_at_checked(RECORD_HEADER_BYTES) else { return false };
            let len = usize::from(u16::from_be_bytes([header[11], header[12]]));
            let Some((body, next)) = body.split_at_checked(len) else { return false };
            let epoch = u16::from_be_bytes([header[3], header[4]]);
            if header[1] != 0xfe || !self.passes_record(header[0], epoch, body) {
                return false;
            }
            if next.is_empty() {
                return true;
            }
            rest = next;
        }
        false
    }

    fn passes_record(self, content: u8, epoch: u16, body: &[u8]) -> bool {
        if epoch != 0 {
            let is_protected = matches!(content, ALERT | HANDSHAKE | APPLICATION_DATA);
            return is_protected && self.stage != Stage::AwaitingHello;
        }
        match (self.stage, content) {
            (Stage::Protected, _) | (_, ALERT | APPLICATION_DATA) => false,
            (_, HANDSHAKE) => self.passes_messages(body),
            (Stage::Flights | Stage::LastFlight, CHANGE_CIPHER_SPEC) => body == [1],
            (Stage::Flights, ACK) => self.allows_13,
            _ => false,
        }
    }

    fn passes_messages(self, mut rest: &[u8]) -> bool {
        if rest.is_empty() {
            return false;
        }
        while !rest.is_empty() {
            let Some((header, body)) = rest.split_at_checked(MESSAGE_HEADER_BYTES) else { return false };
            let seq = u16::from_be_bytes([header[4], header[5]]);
            let (len, offset, part) = (u24(header, 1), u24(header, 6), u24(header, 9));
            let is_sane = seq <= MESSAGE_SEQ_MAX
                && len <= MESSAGE_BYTES_MAX
                && offset + part <= len
                && (part > 0 || len == 0);
            if !is_sane || !self.expects(header[0], seq) {
                return false;
            }
            let Some(next) = body.get(part as usize..) else { return false };
            rest = next;
        }
        true
    }

    /// Whether the peer, in its role, sends this type of message in plaintext now.
    fn expects(self, message: u8, seq: u16) -> bool {
        match (self.role, self.stage) {
            // The second hello of DTLS 1.3, after our HelloRetryRequest, is number 1.
            (Role::Server, Stage::AwaitingHello) => message == CLIENT_HELLO && seq == 0,
            (Role::Server, Stage::Flights) => {
                matches!(message, CLIENT_HELLO | CERTIFICATE | CLIENT_KEY_EXCHANGE | CERTIFICATE_VERIFY)
            }
            (Role::Server, Stage::LastFlight) => {
                matches!(message, CERTIFICATE | CLIENT_KEY_EXCHANGE | CERTIFICATE_VERIFY)
            }
            (Role::Client, Stage::Flights) => matches!(
                message,
                SERVER_HELLO
                    | HELLO_VERIFY_REQUEST
                    | NEW_SESSION_TICKET
                    | CERTIFICATE
                    | SERVER_KEY_EXCHANGE
                    | CERTIFICATE_REQUEST
                    | SERVER_HELLO_DONE
            ),
            // The server's last flight is protected, and it has ours, or it would not have sent it.
            (Role::Client, _) | (_, Stage::Protected) => false,
        }
    }
}

/// The big-endian 24-bit number at `place` of a message header.
fn u24(header: &[u8], place: usize) -> u32 {
    u32::from_be_bytes([0, header[place], header[place + 1], header[place + 2]])
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A record of this content type and epoch.
    pub(in crate::dtls) fn record(content: u8, epoch: u8, seq: u8, body: &[u8]) -> Vec<u8> {
        let len = (body.len() as u16).to_be_bytes();
        [&[content, 0xfe, 0xfd, 0, epoch, 0, 0, 0, 0, 0, seq, len[0], len[1]], body].concat()
    }

    /// A fragment of a handshake message: `part` of `len` bytes from `offset` on.
    pub(in crate::dtls) fn message(message: u8, len: u32, seq: u16, offset: u32, part: &[u8]) -> Vec<u8> {
        let mut bytes = vec![message];
        bytes.extend(&len.to_be_bytes()[1..]);
        bytes.extend(seq.to_be_bytes());
        bytes.extend(&offset.to_be_bytes()[1..]);
        bytes.extend(&(part.len() as u32).to_be_bytes()[1..]);
        bytes.extend(part);
        bytes
    }

    fn at(stage: Stage) -> Filter {
        Filter { role: Role::Server, stage, allows_13: false }
    }

    #[test]
    fn before_our_answer_only_a_hello_passes() {
        let filter = at(Stage::AwaitingHello);
        let hello = record(HANDSHAKE, 0, 0, &message(CLIENT_HELLO, 3, 0, 0, b"abc"));
        assert!(filter.passes(&hello));
        assert!(filter.passes(&record(HANDSHAKE, 0, 0, &message(CLIENT_HELLO, 9, 0, 6, b"abc"))));
        for other in [SERVER_HELLO, CERTIFICATE, CLIENT_KEY_EXCHANGE, CERTIFICATE_VERIFY, 0, 20, 255] {
            assert!(!filter.passes(&record(HANDSHAKE, 0, 0, &message(other, 3, 0, 0, b"abc"))), "{other}");
        }
        assert!(!filter.passes(&record(CHANGE_CIPHER_SPEC, 0, 0, &[1])));
        assert!(!filter.passes(&record(HANDSHAKE, 1, 0, &[0; 40])));
        let and_alert = [hello.clone(), record(ALERT, 0, 1, &[2, 40])].concat();
        assert!(!filter.passes(&and_alert), "one bad record takes the datagram with it");
    }

    #[test]
    fn plaintext_alerts_and_data_never_pass() {
        for stage in [Stage::AwaitingHello, Stage::Flights, Stage::LastFlight, Stage::Protected] {
            assert!(!at(stage).passes(&record(ALERT, 0, 0, &[2, 40])));
            assert!(!at(stage).passes(&record(ALERT, 0, 0, &[1, 0])));
            assert!(!at(stage).passes(&record(APPLICATION_DATA, 0, 0, b"data")));
        }
        assert!(at(Stage::Flights).passes(&record(ALERT, 1, 0, &[0; 26])));
    }

    #[test]
    fn impossible_fragments_are_dropped() {
        let filter = at(Stage::Flights);
        let passes = |body: Vec<u8>| filter.passes(&record(HANDSHAKE, 0, 0, &body));
        assert!(passes(message(CERTIFICATE, 3, 1, 0, b"abc")));
        assert!(!passes(message(CERTIFICATE, 3, 9, 0, b"abc")), "message number");
        assert!(!passes(message(CERTIFICATE, 3, u16::MAX, 0, b"abc")), "message number");
        assert!(!passes(message(CERTIFICATE, (1 << 24) - 1, 1, 0, b"abc")), "length");
        assert!(!passes(message(CERTIFICATE, 5, 1, 3, b"abc")), "past the end");
        assert!(!passes(message(CERTIFICATE, 5, 1, 3, b"")), "empty with an offset");
        let mut cut = message(CERTIFICATE, 3, 1, 0, b"abc");
        cut.pop();
        assert!(!passes(cut), "cut");
        assert!(!passes(vec![]), "nothing");
    }

    #[test]
    fn once_connected_a_hello_is_nothing_to_us() {
        let hello = record(HANDSHAKE, 0, 0, &message(CLIENT_HELLO, 3, 0, 0, b"abc"));
        let verify = record(HANDSHAKE, 0, 0, &message(CERTIFICATE_VERIFY, 3, 3, 0, b"abc"));
        assert!(!at(Stage::LastFlight).passes(&hello));
        assert!(at(Stage::LastFlight).passes(&verify));
        assert!(!at(Stage::Protected).passes(&verify));
        assert!(at(Stage::Protected).passes(&record(ALERT, 1, 9, &[0; 26])));
    }

    #[test]
    fn every_length_and_first_byte_is_judged_without_a_panic() {
        for first in 0..=u8::MAX {
            for allows_13 in [false, true] {
                for role in [Role::Server, Role::Client] {
                    for len in 0..200 {
                        let mut datagram = vec![0xfe; len];
                        if let Some(byte) = datagram.first_mut() {
                            *byte = first;
                        }
                        let filter = Filter { role, stage: Stage::AwaitingHello, allows_13 };
                        assert!(!filter.passes(&datagram));
                    }
                }
            }
        }
    }

    #[test]
    fn no_more_than_eight_records_pass() {
        let one = record(HANDSHAKE, 0, 0, &message(CLIENT_HELLO, 3, 0, 0, b"abc"));
        assert!(at(Stage::Flights).passes(&one.repeat(8)));
        assert!(!at(Stage::Flights).passes(&one.repeat(9)));
    }
}
