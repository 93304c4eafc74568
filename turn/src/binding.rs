//! The answer to a plain Binding, by which a client learns its own address (RFC 8489 §2).

use std::net::SocketAddr;

use crate::message::{Class, Message, Method, Verdict};
use crate::writer::Writer;

/// Answers a Binding request without credentials: the source address and nothing else, 32 bytes for IPv4 and 44 for
/// IPv6. Anything else is worth no answer to a stranger, who may not be where the datagram says: `None`.
///
/// The caller asks its [`crate::Allowance`] first.
pub fn answer_binding(request: &Message<'_>, from: SocketAddr, slot: &mut [u8]) -> Option<usize> {
    let plain = request.class() == Class::Request
        && request.method() == Method::BINDING
        && request.username().is_none()
        && !request.has_integrity()
        && request.unknown_required(&[]).is_empty()
        && request.fingerprint() != Verdict::Invalid;
    if !plain {
        return None;
    }
    let mut writer = Writer::success(slot, request.method(), request.transaction());
    writer.xor_mapped_address(from);
    writer.finish().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AttributeType, IntegrityKey, TransactionId};

    const TRANSACTION: TransactionId = TransactionId([9; 12]);

    fn answer(
        class: Class,
        method: Method,
        from: &str,
        more: impl FnOnce(&mut Writer<'_>),
    ) -> Option<Vec<u8>> {
        let mut request = [0; 256];
        let mut writer = Writer::new(&mut request, class, method, TRANSACTION);
        more(&mut writer);
        let len = writer.finish().unwrap();
        let mut slot = [0; 64];
        let request = Message::parse(&request[..len]).unwrap();
        answer_binding(&request, from.parse().unwrap(), &mut slot).map(|len| slot[..len].to_vec())
    }

    #[test]
    fn thirty_two_bytes_for_ipv4_and_forty_four_for_ipv6() {
        for (from, len) in
            [("192.0.2.1:1000", 32), ("[2001:db8::1]:1000", 44), ("[::ffff:192.0.2.1]:1000", 32)]
        {
            let response = answer(Class::Request, Method::BINDING, from, |_| {}).unwrap();
            assert_eq!(response.len(), len, "{from}");
            let message = Message::parse(&response).unwrap();
            assert_eq!((message.class(), message.transaction()), (Class::Success, TRANSACTION));
            let seen = message.xor_mapped_address().unwrap();
            assert_eq!(seen.ip(), from.parse::<SocketAddr>().unwrap().ip().to_canonical());
            assert_eq!(message.attributes().count(), 1);
        }
    }

    #[test]
    fn what_may_be_ignored_is_and_adds_nothing() {
        let response = answer(Class::Request, Method::BINDING, "192.0.2.1:1", |writer| {
            writer.software(b"a client");
            writer.attribute(AttributeType(0xc057), b"1234");
            writer.fingerprint();
        });
        assert_eq!(response.unwrap().len(), 32);
    }

    #[test]
    fn all_else_is_silence() {
        let from = "192.0.2.1:1";
        assert!(answer(Class::Indication, Method::BINDING, from, |_| {}).is_none());
        assert!(answer(Class::Success, Method::BINDING, from, |_| {}).is_none());
        assert!(answer(Class::Error, Method::BINDING, from, |_| {}).is_none());
        assert!(answer(Class::Request, Method(3), from, |_| {}).is_none());
        let request = |more: fn(&mut Writer<'_>)| answer(Class::Request, Method::BINDING, from, more);
        assert!(request(|writer| writer.username(b"a:b")).is_none());
        assert!(request(|writer| writer.integrity(&IntegrityKey::short_term(b"x"))).is_none());
        assert!(request(|writer| writer.attribute(AttributeType::FINGERPRINT, &[0; 4])).is_none());
        // CHANGE-REQUEST (RFC 5780) would have us send to where nobody asked from.
        assert!(request(|writer| writer.attribute(AttributeType(0x0003), &[0; 4])).is_none());
    }
}
