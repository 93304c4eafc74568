//! MD5 (RFC 1321), which the long-term mechanism derives its key with (RFC 8489 §9.2.2).
//!
//! Nothing here rests on MD5's strength: the key's entropy is the password's, whatever it is hashed with. The crypto
//! library does not offer MD5, and a dependency for sixty lines that no attacker can aim at costs more than it saves.

const BLOCK_BYTES: usize = 64;

/// Left rotations by round and step (RFC 1321 §3.4).
const ROTATIONS: [[u32; 4]; 4] = [[7, 12, 17, 22], [5, 9, 14, 20], [4, 11, 16, 23], [6, 10, 15, 21]];

/// Digest of the parts, one after the other.
pub(crate) fn digest(parts: &[&[u8]]) -> [u8; 16] {
    let mut state = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];
    let mut block = [0; BLOCK_BYTES];
    let mut filled = 0;
    let mut len_bytes = 0_u64;
    for &byte in parts.iter().copied().flatten() {
        block[filled] = byte;
        filled += 1;
        len_bytes += 1;
        if filled == BLOCK_BYTES {
            compress(&mut state, &block);
            filled = 0;
        }
    }
    block[filled] = 0x80;
    block[filled + 1..].fill(0);
    if filled + 1 > BLOCK_BYTES - 8 {
        compress(&mut state, &block);
        block.fill(0);
    }
    block[BLOCK_BYTES - 8..].copy_from_slice(&len_bytes.wrapping_mul(8).to_le_bytes());
    compress(&mut state, &block);

    let mut digest = [0; 16];
    for (out, word) in digest.as_chunks_mut::<4>().0.iter_mut().zip(state) {
        *out = word.to_le_bytes();
    }
    digest
}

fn compress(state: &mut [u32; 4], block: &[u8; BLOCK_BYTES]) {
    let mut words = [0; 16];
    for (word, bytes) in words.iter_mut().zip(block.as_chunks::<4>().0) {
        *word = u32::from_le_bytes(*bytes);
    }
    let [mut a, mut b, mut c, mut d] = *state;
    for step in 0..64 {
        let (mixed, word) = match step / 16 {
            0 => ((b & c) | (!b & d), step),
            1 => ((d & b) | (!d & c), 5 * step + 1),
            2 => (b ^ c ^ d, 3 * step + 5),
            _ => (c ^ (b | !d), 7 * step),
        };
        let sum = a.wrapping_add(mixed).wrapping_add(sine(step)).wrapping_add(words[word % 16]);
        let rotated = sum.rotate_left(ROTATIONS[step / 16][step % 4]);
        (a, d, c, b) = (d, c, b, b.wrapping_add(rotated));
    }
    for (whole, part) in state.iter_mut().zip([a, b, c, d]) {
        *whole = whole.wrapping_add(part);
    }
}

/// Element of the sine table: 2^32 times |sin(step + 1)|, rounded down (RFC 1321 §3.4).
fn sine(step: usize) -> u32 {
    (((step + 1) as f64).sin().abs() * 4_294_967_296.0) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &[u8]) -> String {
        digest(&[text]).iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn the_test_suite_of_rfc_1321() {
        assert_eq!(hex(b""), "d41d8cd98f00b204e9800998ecf8427e");
        assert_eq!(hex(b"a"), "0cc175b9c0f1b6a831c399e269772661");
        assert_eq!(hex(b"abc"), "900150983cd24fb0d6963f7d28e17f72");
        assert_eq!(hex(b"message digest"), "f96b697d7cb7938d525a2f31aaf161d0");
        assert_eq!(hex(b"abcdefghijklmnopqrstuvwxyz"), "c3fcd3d76192e4007dfb496cca67e13b");
        assert_eq!(
            hex(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"),
            "d174ab98d277d9f5a5611c2c9f419d9f"
        );
        assert_eq!(
            hex(b"12345678901234567890123456789012345678901234567890123456789012345678901234567890"),
            "57edf4a22be3c955ac49da2e2107b67a"
        );
    }

    #[test]
    fn parts_are_one_text_and_every_padding_length_works() {
        assert_eq!(digest(&[b"mess", b"", b"age digest"]), digest(&[b"message digest"]));
        let mut seen = std::collections::BTreeSet::new();
        assert!((0..200).all(|len| seen.insert(digest(&[&vec![b'x'; len]]))));
    }
}
