//! FINGERPRINT (RFC 8489 §14.7): tells STUN from what shares its port; no protection against anybody.

/// XORed into the CRC so that a payload with a CRC of its own does not pass by accident.
const FINGERPRINT_XOR: u32 = 0x5354_554e;

/// CRC-32 of ITU-T V.42, reflected.
const POLYNOMIAL: u32 = 0xedb8_8320;

const TABLE: [u32; 256] = table();

const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ POLYNOMIAL } else { crc >> 1 };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
}

fn crc32(bytes: &[u8]) -> u32 {
    let crc = bytes.iter().fold(u32::MAX, |crc, byte| {
        let [low, ..] = crc.to_le_bytes();
        TABLE[usize::from(low ^ byte)] ^ (crc >> 8)
    });
    !crc
}

/// Value of FINGERPRINT over a message up to that attribute, whose header counts the attribute already.
pub(crate) fn of(covered: &[u8]) -> [u8; 4] {
    (crc32(covered) ^ FINGERPRINT_XOR).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_value_of_crc_32() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        assert_eq!(crc32(b""), 0);
    }
}
