//! Base64 (RFC 4648 §4), writing only: passwords of the shared-secret scheme and nonces are never decoded.

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Writes `bytes` with padding into `out`; gives the length. `out` has four bytes for each three that are begun.
pub(super) fn encode(bytes: &[u8], out: &mut [u8]) -> usize {
    debug_assert!(out.len() >= bytes.len().div_ceil(3) * 4);
    let mut len = 0;
    for (chunk, out) in bytes.chunks(3).zip(out.as_chunks_mut::<4>().0) {
        let mut group = [0; 3];
        group[..chunk.len()].copy_from_slice(chunk);
        let [a, b, c] = group;
        let digits = [a >> 2, (a & 3) << 4 | b >> 4, (b & 15) << 2 | c >> 6, c & 63];
        *out = digits.map(|digit| ALPHABET[usize::from(digit)]);
        out[chunk.len() + 1..].fill(b'=');
        len += 4;
    }
    len
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vectors_of_rfc_4648() {
        for (bytes, text) in [
            (&b""[..], &b""[..]),
            (b"f", b"Zg=="),
            (b"fo", b"Zm8="),
            (b"foo", b"Zm9v"),
            (b"foob", b"Zm9vYg=="),
            (b"fooba", b"Zm9vYmE="),
            (b"foobar", b"Zm9vYmFy"),
            (&[0xff, 0xfe, 0xfd], b"//79"),
        ] {
            let mut out = [0; 8];
            let len = encode(bytes, &mut out);
            assert_eq!(&out[..len], text);
        }
    }
}
