//! How many files and sockets this process may have open.

use std::fs;

/// Where the system does not say: the least that is usual.
const USUAL: usize = 1_024;

/// The limit that counts now (`ulimit -n`, `LimitNOFILE=`).
pub(crate) fn allowed() -> usize {
    fs::read_to_string("/proc/self/limits").ok().and_then(|text| soft_limit(&text)).unwrap_or(USUAL)
}

/// From a line such as `Max open files            1024                 1048576              files`.
fn soft_limit(limits: &str) -> Option<usize> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    match line.split_whitespace().next()? {
        "unlimited" => Some(usize::MAX),
        number => number.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_read() {
        let text = "Max processes  1 2 processes\nMax open files            1024     1048576      files \n";
        assert_eq!(soft_limit(text), Some(1_024));
        assert_eq!(soft_limit("Max open files  unlimited  unlimited  files"), Some(usize::MAX));
        assert_eq!(soft_limit("Max open files"), None);
        assert!(allowed() >= 64);
    }
}
