//! What a simulated browser makes of what arrives.

use millrace_turn::{Class, IntegrityKey, Message, Verdict};

use super::Browser;
use super::heard::{self, What};
use super::sink::Received;
use crate::time::Timestamp;
use crate::wire::demux::{Kind, kind};
use crate::wire::extension::Elements;
use crate::wire::rtp::{Header, padding_len};

impl Browser {
    pub(crate) fn handle_datagram(&mut self, now: Timestamp, datagram: &[u8]) {
        match kind(datagram) {
            Some(Kind::Stun) => self.handle_stun(now, datagram),
            Some(Kind::Dtls) => self.handle_dtls(now, datagram),
            Some(Kind::Rtp) => self.handle_rtp(now, datagram),
            Some(Kind::Rtcp) => self.handle_rtcp(now, datagram),
            other => panic!("the relay sends no {other:?}"),
        }
    }

    fn handle_stun(&mut self, now: Timestamp, datagram: &[u8]) {
        let message = Message::parse(datagram).expect("the relay writes whole messages");
        if message.class() != Class::Success {
            return;
        }
        let key = IntegrityKey::short_term(self.relay.pwd.as_bytes());
        if message.integrity(&key) == Verdict::Valid {
            self.answered += 1;
            self.begin_handshake(now);
        }
    }

    fn handle_rtp(&mut self, now: Timestamp, datagram: &[u8]) {
        let Some(keys) = self.keys.as_ref() else { return };
        let mut packet = datagram.to_vec();
        let header = Header::parse(&packet).unwrap();
        let sink = self.sinks.entry(header.ssrc).or_default();
        let index = sink.window.estimate(header.sequence);
        if sink.window.check(index).is_err() {
            sink.repeats += 1;
            return;
        }
        let len =
            keys.open.open_rtp(index, header.header_len, &mut packet).expect("it verifies in this turn");
        sink.window.accept(index);
        let received = read(now, &header, &packet[..len]);
        sink.packets.insert(index, received.clone());
        if let Some(&media) = self.repairs.get(&header.ssrc) {
            self.repair(media, received);
        }
    }

    /// Puts what came as RTX where it belongs.
    fn repair(&mut self, media: u32, rtx: Received) {
        let Some(sink) = self.sinks.get_mut(&media) else { return };
        let (sequence, payload) = rtx.payload.split_first_chunk::<2>().expect("RTX names what it repairs");
        let index = sink.window.estimate(u16::from_be_bytes(*sequence));
        if sink.packets.contains_key(&index) {
            sink.repeats += 1;
            return;
        }
        sink.window.accept(index);
        sink.packets.insert(index, Received { repaired: true, payload: payload.to_vec(), ..rtx });
    }

    fn handle_rtcp(&mut self, now: Timestamp, datagram: &[u8]) {
        let Some(keys) = self.keys.as_ref() else { return };
        let mut compound = datagram.to_vec();
        let (len, _) = keys.open.open_rtcp(&mut compound).expect("it verifies");
        for heard in heard::read(now, &compound[..len]) {
            self.obey(&heard.what);
            self.heard.push(heard);
        }
    }

    /// As a publisher.
    fn obey(&mut self, what: &What) {
        match what {
            What::Nack(ssrc, sequences) => {
                let Some(source) = self.sources.iter().position(|source| source.ssrc == *ssrc) else {
                    return;
                };
                for sequence in sequences {
                    // Browsers keep no padding.
                    let sent =
                        self.sources[source].find(*sequence).filter(|sent| !sent.payload.is_empty()).cloned();
                    sent.into_iter().for_each(|sent| self.send_rtx(source, &sent));
                }
            }
            What::Pli(ssrc) | What::Fir(ssrc, _) => {
                let wanted = self.sources.iter_mut().find(|source| source.ssrc == *ssrc && source.obeys);
                wanted.into_iter().for_each(|source| source.key_due = true);
            }
            _ => {}
        }
    }
}

fn read(at: Timestamp, header: &Header, packet: &[u8]) -> Received {
    let elements = header.extension.iter().flat_map(|block| Elements::new(packet, block));
    let extensions = elements
        .map(|element| element.unwrap())
        .map(|element| (element.id, packet[element.start..element.start + element.len].to_vec()))
        .collect();
    let payload = &packet[header.header_len..];
    let padding = if header.padding { padding_len(payload).unwrap() } else { 0 };
    Received {
        at,
        rtp: header.timestamp,
        marker: header.marker,
        payload_type: header.payload_type,
        // A little padding behind a payload is nobody's business.
        padding: padding > 0 && padding == payload.len(),
        repaired: false,
        payload: payload[..payload.len() - padding].to_vec(),
        extensions,
    }
}
