//! "Did you mean": the known name that is nearest to an unknown one.

/// The candidate with the fewest letters to change, if those are few enough to be a slip.
pub(crate) fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let distance_max = 2.max(name.chars().count() / 3);
    candidates
        .into_iter()
        .map(|candidate| (distance(name, candidate), candidate))
        .filter(|(distance, _)| *distance <= distance_max)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Letters to insert, remove or replace between the two (Levenshtein).
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    // Row by row of the table; `row[j]` is the distance of what was read of `from` to the first j letters of `to`.
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (at, letter) in from.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = at + 1;
        for (j, other) in to.iter().enumerate() {
            let replaced = diagonal + usize::from(letter != *other);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_right() {
        for (from, to, expected) in
            [("", "", 0), ("a", "", 1), ("port", "prot", 2), ("kitten", "sitting", 3), ("same", "same", 0)]
        {
            assert_eq!((distance(from, to), distance(to, from)), (expected, expected), "{from} {to}");
        }
    }

    #[test]
    fn only_a_slip_is_corrected() {
        let names = ["https-port", "http-port", "shards"];
        assert_eq!(nearest("https-prot", names), Some("https-port"));
        assert_eq!(nearest("shard", names), Some("shards"));
        assert_eq!(nearest("recording", names), None);
    }
}
