//! Random bytes of the operating system's quality.

/// Fills `bytes` with secret randomness.
///
/// # Panics
/// When the system has no entropy to give: nothing sensible can be done without it.
pub fn fill(bytes: &mut [u8]) {
    aws_lc_rs::rand::fill(bytes).expect("the system gives entropy");
}

/// An array of secret randomness; panics as [`fill`] does.
pub fn array<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    fill(&mut bytes);
    bytes
}

#[cfg(test)]
mod tests {
    #[test]
    fn two_draws_differ() {
        assert_ne!(super::array::<32>(), super::array::<32>());
    }
}
