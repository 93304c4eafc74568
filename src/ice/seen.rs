//! The ring of transactions that were seen: each counts once.

use millrace_turn::TransactionId;

use crate::records::ice::{IceRecord, SEEN_CHECKS_MAX};

const _: () =
    assert!(SEEN_CHECKS_MAX.is_power_of_two(), "the ring goes on without a jump when its count wraps");

/// Puts a transaction into the ring. `false` when it was there.
///
/// 32 bits of the 96 are kept. The peer draws them at random and nobody else can make a valid check, so a fresh one
/// is taken for an old one about once in thirty million; the peer's next check puts it right.
pub(super) fn note(record: &mut IceRecord, transaction: TransactionId) -> bool {
    let folded = fold(transaction);
    let count = usize::try_from(record.seen_count).unwrap_or(usize::MAX);
    let filled = count.min(SEEN_CHECKS_MAX);
    if record.seen[..filled].contains(&folded) {
        return false;
    }
    record.seen[count % SEEN_CHECKS_MAX] = folded;
    record.seen_count = record.seen_count.wrapping_add(1);
    true
}

/// All three words count, wherever a client puts what differs; turned, so that equal words do not cancel out.
fn fold(transaction: TransactionId) -> u32 {
    transaction
        .0
        .as_chunks::<4>()
        .0
        .iter()
        .fold(0, |folded, word| folded.rotate_left(11) ^ u32::from_be_bytes(*word))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytemuck::Zeroable;

    fn transaction(number: u32) -> TransactionId {
        let mut bytes = [0x5a; 12];
        bytes[8..].copy_from_slice(&number.to_be_bytes());
        TransactionId(bytes)
    }

    #[test]
    fn each_transaction_counts_once_while_the_ring_holds_it() {
        let mut record = IceRecord::zeroed();
        // The fold of all zeros, which the unused ring holds too.
        assert!(note(&mut record, TransactionId([0; 12])));
        assert!(!note(&mut record, TransactionId([0; 12])));
        let ring = u32::try_from(SEEN_CHECKS_MAX).unwrap();
        for number in 0..3 * ring {
            assert!(note(&mut record, transaction(number)));
            assert!(!note(&mut record, transaction(number)));
            assert!(!note(&mut record, transaction(number.saturating_sub(ring - 1))));
        }
        assert!(note(&mut record, transaction(0)), "long forgotten");
    }
}
