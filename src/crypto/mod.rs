//! The thin door to the one crypto library. Nothing else in the relay names it.
//!
//! Every function here works on slices, allocates nothing after construction of a key, and is a pure function of its
//! arguments (random bytes apart). Keys take their bytes by value of length: a wrong length is a bug of the caller.

pub mod ctr;
pub mod digest;
pub mod gcm;
pub mod mac;
pub mod p256;
pub mod random;

/// A tag did not verify. Says nothing else, on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unauthenticated;

/// Bytes of a hex string, for vectors; blanks are skipped.
#[cfg(test)]
pub(crate) fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    assert!(digits.len().is_multiple_of(2), "odd number of digits");
    let value = |digit: u8| u8::try_from(char::from(digit).to_digit(16).unwrap()).unwrap();
    digits.chunks(2).map(|pair| value(pair[0]) << 4 | value(pair[1])).collect()
}
