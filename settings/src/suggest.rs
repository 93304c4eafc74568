//! "Did you mean": the known name that is nearest to an unknown one.

/// The candidate with the fewest changed letters, if these are few enough for a typing mistake: two, or a third of the name.
pub(crate) fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let distance_max = 2.max(name.chars().count() / 3);
    candidates
        .into_iter()
        .map(|candidate| (strsim::levenshtein(name, candidate), candidate))
        .filter(|(distance, _)| *distance <= distance_max)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_slip_is_corrected() {
        let names = ["https-port", "http-port", "shards"];
        assert_eq!(nearest("https-prot", names), Some("https-port"));
        assert_eq!(nearest("shard", names), Some("shards"));
        assert_eq!(nearest("recording", names), None);
    }
}
