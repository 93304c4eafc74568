//! Which shard a session goes to.

use std::collections::BTreeMap;

use millrace_control::ShardInfo;

/// Weight of a session on its shard before anybody publishes: someone is about to.
pub const SESSION_WEIGHT: u64 = 1;

/// The least loaded shard.
///
/// `reserved` is what signaling itself has promised to each shard, and after the reconciliation that is all a shard
/// holds; what the relay said it held before is no load. Equal shards are taken in order of their id. `None` when
/// there is no shard.
pub fn choose(shards: &[ShardInfo], reserved: &BTreeMap<u32, u64>) -> Option<u32> {
    let load = |shard: &ShardInfo| (reserved.get(&shard.shard).copied().unwrap_or(0), shard.shard);
    shards.iter().min_by_key(|shard| load(shard)).map(|shard| shard.shard)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shards(peers: &[u32]) -> Vec<ShardInfo> {
        (0..).zip(peers).map(|(shard, &peers)| ShardInfo { shard, peers, ..ShardInfo::default() }).collect()
    }

    #[test]
    fn sessions_that_start_together_are_spread() {
        let shards = shards(&[0, 0, 0]);
        let mut reserved = BTreeMap::new();
        let mut chosen = Vec::new();
        for _ in 0..6 {
            let shard = choose(&shards, &reserved).unwrap();
            *reserved.entry(shard).or_default() += SESSION_WEIGHT;
            chosen.push(shard);
        }
        assert_eq!(chosen, [0, 1, 2, 0, 1, 2]);
    }

    #[test]
    fn only_what_is_promised_counts() {
        assert_eq!(choose(&shards(&[5, 2]), &BTreeMap::new()), Some(0), "it was told to forget those");
        assert_eq!(choose(&shards(&[0, 5]), &BTreeMap::from([(0, 3), (1, 2)])), Some(1));
        assert_eq!(choose(&[], &BTreeMap::new()), None);
    }
}
