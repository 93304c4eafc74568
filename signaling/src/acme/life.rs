//! How long a certificate is valid: the one field of it (RFC 5280, section 4.1.2.5) that nobody else here reads.

/// From when and until when, in milliseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Life {
    not_before_ms: u64,
    not_after_ms: u64,
}

const INTEGER: u8 = 0x02;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
/// The version, which the oldest certificates do not have.
const VERSION: u8 = 0xa0;

impl Life {
    /// Of a certificate in DER.
    pub(super) fn of(certificate: &[u8]) -> Option<Self> {
        let mut outer = Der(certificate);
        let mut signed = outer.take(SEQUENCE)?.take(SEQUENCE)?;
        if signed.0.first() == Some(&VERSION) {
            signed.take(VERSION)?;
        }
        signed.take(INTEGER)?;
        // Algorithm and issuer.
        signed.take(SEQUENCE)?;
        signed.take(SEQUENCE)?;
        let mut validity = signed.take(SEQUENCE)?;
        let (not_before_ms, not_after_ms) = (validity.time()?, validity.time()?);
        (not_before_ms < not_after_ms).then_some(Self { not_before_ms, not_after_ms })
    }

    /// When a third of it is left.
    pub(super) const fn renewal_ms(&self) -> u64 {
        self.not_after_ms - (self.not_after_ms - self.not_before_ms) / 3
    }

    /// What is left of it.
    pub(super) const fn left_ms(&self, now_ms: u64) -> u64 {
        self.not_after_ms.saturating_sub(now_ms)
    }
}

/// What is left to read.
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    /// The content of the next element, if it is of this kind.
    fn take(&mut self, kind: u8) -> Option<Self> {
        let (&tag, rest) = self.0.split_first()?;
        let (&first, rest) = rest.split_first()?;
        let (len, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            0x81..=0x84 => {
                let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
                (bytes.iter().fold(0, |len, byte| len << 8 | usize::from(*byte)), rest)
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(len)?;
        self.0 = rest;
        (tag == kind).then_some(Self(content))
    }

    /// The next element, a time, in milliseconds since 1970.
    fn time(&mut self) -> Option<u64> {
        match *self.0.first()? {
            UTC_TIME => {
                let text = self.take(UTC_TIME)?.0;
                // Until 2049, as the RFC has it.
                let century = if number(text.get(..2)?)? < 50 { 2000 } else { 1900 };
                since_1970(century + number(&text[..2])?, &text[2..])
            }
            GENERALIZED_TIME => {
                let text = self.take(GENERALIZED_TIME)?.0;
                since_1970(number(text.get(..4)?)?, &text[4..])
            }
            _ => None,
        }
    }
}

/// `rest` is `MMDDHHMMSSZ`.
fn since_1970(year: u64, rest: &[u8]) -> Option<u64> {
    let (digits, zone) = rest.split_at_checked(10)?;
    if zone != b"Z" || year < 1970 {
        return None;
    }
    let part = |at: usize| number(&digits[at..at + 2]);
    let (month, day) = (part(0)?, part(2)?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    // Years that begin in March have their odd day at the end.
    let (year, month) = if month < 3 { (year - 1, month + 9) } else { (year, month - 3) };
    let days_before = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day - 1;
    /// From March of the year 0.
    const DAYS_TO_1970: u64 = 719_468;
    let seconds = (days_before - DAYS_TO_1970) * 86_400 + part(4)? * 3_600 + part(6)? * 60 + part(8)?;
    Some(seconds * 1_000)
}

fn number(digits: &[u8]) -> Option<u64> {
    let is_number = digits.iter().all(u8::is_ascii_digit);
    is_number.then(|| digits.iter().fold(0, |number, digit| number * 10 + u64::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    fn life(from: (i32, u8, u8), to: (i32, u8, u8)) -> (Option<Life>, [u64; 2], Vec<u8>) {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.not_before = date_time_ymd(from.0, from.1, from.2);
        params.not_after = date_time_ymd(to.0, to.1, to.2);
        let ms = [params.not_before, params.not_after]
            .map(|time| u64::try_from(time.unix_timestamp()).unwrap() * 1_000);
        let der = params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec();
        (Life::of(&der), ms, der)
    }

    #[test]
    fn both_spellings_of_a_time_are_read() {
        for (from, to) in [
            ((2024, 2, 29), (2024, 3, 1)),
            ((1999, 12, 31), (2000, 1, 1)),
            ((2025, 1, 1), (2049, 12, 31)),
            ((2026, 11, 21), (2100, 3, 1)),
            ((1970, 3, 1), (9999, 12, 31)),
        ] {
            let (life, [not_before_ms, not_after_ms], _) = life(from, to);
            assert_eq!(life, Some(Life { not_before_ms, not_after_ms }), "{from:?} {to:?}");
        }
    }

    #[test]
    fn a_third_is_left_at_renewal() {
        let life = Life { not_before_ms: 1_000, not_after_ms: 91_000 };
        assert_eq!((life.renewal_ms(), life.left_ms(61_000), life.left_ms(99_000)), (61_000, 30_000, 0));
    }

    #[test]
    fn what_is_cut_off_is_refused() {
        let (_, _, der) = life((2025, 1, 1), (2045, 1, 1));
        for len in 0..der.len() {
            assert_eq!(Life::of(&der[..len]), None, "{len} bytes");
        }
        assert_eq!(since_1970(2025, b"0132000000Z"), None);
        assert_eq!(since_1970(2025, b"1301000000Z"), None);
        assert_eq!(since_1970(2025, b"0101000000+"), None);
    }
}
