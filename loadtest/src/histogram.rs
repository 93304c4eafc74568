//! Delays in 16 buckets per octave, so a percentile is right within 6 % whatever the number of packets.

/// Buckets per power of two.
const STEPS: u64 = 16;
const STEPS_LOG2: u32 = 4;

/// Counts of microseconds.
#[derive(Clone, Debug, Default)]
pub struct Histogram {
    counts: Vec<u64>,
    total: u64,
    max: u64,
}

impl Histogram {
    /// Adds one value.
    pub fn record(&mut self, value: u64) {
        let bucket = bucket_of(value);
        if bucket >= self.counts.len() {
            self.counts.resize(bucket + 1, 0);
        }
        self.counts[bucket] += 1;
        self.total += 1;
        self.max = self.max.max(value);
    }

    /// Adds all values of another one.
    pub fn merge(&mut self, other: &Self) {
        if other.counts.len() > self.counts.len() {
            self.counts.resize(other.counts.len(), 0);
        }
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
        self.total += other.total;
        self.max = self.max.max(other.max);
    }

    /// The value that this share (0 to 1) of all values does not exceed; 0 when there are none.
    #[must_use]
    pub fn quantile(&self, share: f64) -> u64 {
        let rank = (share * self.total as f64).ceil().max(1.0) as u64;
        let mut below = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            below += count;
            if below >= rank {
                return upper_bound(bucket).min(self.max);
            }
        }
        self.max
    }

    /// How many values there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.total
    }

    /// The largest value.
    #[must_use]
    pub fn max(&self) -> u64 {
        self.max
    }
}

fn bucket_of(value: u64) -> usize {
    if value < STEPS {
        return usize::try_from(value).unwrap_or(0);
    }
    let octave = value.ilog2() - STEPS_LOG2;
    let step = (value >> octave) - STEPS;
    usize::try_from(STEPS * u64::from(octave + 1) + step).unwrap_or(usize::MAX)
}

fn upper_bound(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < STEPS {
        return bucket;
    }
    let (octave, step) = (bucket / STEPS - 1, bucket % STEPS);
    ((STEPS + step + 1) << octave) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_near_the_truth() {
        let mut histogram = Histogram::default();
        (1..=10_000).for_each(|value| histogram.record(value));
        for (share, truth) in [(0.5, 5_000.0), (0.99, 9_900.0), (1.0, 10_000.0)] {
            let found = histogram.quantile(share) as f64;
            assert!((found / truth - 1.0).abs() < 0.07, "{share}: {found}");
        }
        assert_eq!((histogram.max(), Histogram::default().quantile(0.5)), (10_000, 0));
    }

    #[test]
    fn a_bucket_holds_its_own_upper_bound() {
        for value in (0..100_000).chain([u64::from(u32::MAX)]) {
            let bucket = bucket_of(value);
            assert!(upper_bound(bucket) >= value && bucket_of(upper_bound(bucket)) == bucket, "{value}");
        }
    }
}
