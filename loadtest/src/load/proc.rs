//! What the kernel knows of a process: CPU time by thread, cores, memory (proc(5)).

use std::fs;
use std::path::Path;

/// One thread's CPU time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ThreadTime {
    /// Its name.
    pub name: String,
    /// Its id.
    pub id: u32,
    /// CPU time in nanoseconds.
    pub cpu_ns: u64,
    /// Time in which it could have run and somebody else did, in nanoseconds.
    pub waited_ns: u64,
}

/// CPU time of several threads, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Used {
    /// All threads.
    pub all_ns: u64,
    /// Those that were asked for.
    pub named_ns: u64,
    /// What those waited for a core.
    pub named_waited_ns: u64,
}

/// CPU times of a process at one moment.
#[derive(Clone, Debug, Default)]
pub struct CpuTimes {
    threads: Vec<ThreadTime>,
}

impl CpuTimes {
    /// Of every thread that lives; empty when the process is gone.
    #[must_use]
    pub fn of(pid: u32) -> Self {
        let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return Self::default() };
        let thread = |path: &Path| {
            let name = fs::read_to_string(path.join("comm")).ok()?.trim_end().to_owned();
            let times = fs::read_to_string(path.join("schedstat")).ok()?;
            let mut words = times.split_ascii_whitespace().map(|word| word.parse().ok());
            let (cpu_ns, waited_ns) = (words.next()??, words.next()??);
            Some(ThreadTime { name, id: path.file_name()?.to_str()?.parse().ok()?, cpu_ns, waited_ns })
        };
        Self { threads: tasks.flatten().filter_map(|task| thread(&task.path())).collect() }
    }

    /// CPU time since `before` of all threads, and of those whose name begins with `prefix`.
    #[must_use]
    pub fn since(&self, before: &Self, prefix: &str) -> Used {
        let mut sums = Used::default();
        for thread in &self.threads {
            let earlier = before.threads.iter().find(|other| other.id == thread.id);
            let used = thread.cpu_ns.saturating_sub(earlier.map_or(0, |earlier| earlier.cpu_ns));
            let waited = thread.waited_ns.saturating_sub(earlier.map_or(0, |earlier| earlier.waited_ns));
            sums.all_ns += used;
            if thread.name.starts_with(prefix) {
                sums.named_ns += used;
                sums.named_waited_ns += waited;
            }
        }
        sums
    }
}

/// CPU time of the whole machine, in seconds: what ran, and what its host gave to others (proc(5), `/proc/stat`).
#[derive(Clone, Copy, Debug, Default)]
pub struct MachineTime {
    /// Time in which something ran.
    pub busy_s: f64,
    /// Time in which something wanted to run and could not.
    pub stolen_s: f64,
}

impl MachineTime {
    /// As of now; zero where the kernel does not tell.
    #[must_use]
    pub fn now() -> Self {
        let text = fs::read_to_string("/proc/stat").unwrap_or_default();
        let line = text.lines().next().and_then(|line| line.strip_prefix("cpu ")).unwrap_or_default();
        let ticks: Vec<f64> = line.split_ascii_whitespace().filter_map(|word| word.parse().ok()).collect();
        // user nice system idle iowait irq softirq steal, in hundredths of a second on every Linux of today.
        let of = |places: &[usize]| places.iter().filter_map(|at| ticks.get(*at)).sum::<f64>() / 100.0;
        Self { busy_s: of(&[0, 1, 2, 5, 6]), stolen_s: of(&[7]) }
    }
}

/// Cores that threads with this prefix may run on, each once, ascending.
#[must_use]
pub fn cores_of(pid: u32, prefix: &str) -> Vec<usize> {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    let mut cores = Vec::new();
    for task in tasks.flatten() {
        let read = |name: &str| fs::read_to_string(task.path().join(name)).unwrap_or_default();
        if read("comm").starts_with(prefix) {
            let status = read("status");
            let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
            cores.extend(parse_list(list.unwrap_or_default().trim()));
        }
    }
    cores.sort_unstable();
    cores.dedup();
    cores
}

/// Ids of the threads with this prefix.
#[must_use]
pub fn threads_of(pid: u32, prefix: &str) -> Vec<u32> {
    let times = CpuTimes::of(pid);
    let named = times.threads.iter().filter(|thread| thread.name.starts_with(prefix));
    named.map(|thread| thread.id).collect()
}

/// Memory of a process that is resident, in bytes.
#[must_use]
pub fn resident_bytes(pid: u32) -> u64 {
    status_bytes(pid, "VmRSS:")
}

/// The part of it that is in no file: what a process holds, without pages of its program that it reads for the first time.
#[must_use]
pub fn anonymous_bytes(pid: u32) -> u64 {
    status_bytes(pid, "RssAnon:")
}

fn status_bytes(pid: u32, key: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(key));
    let kilobytes = line.and_then(|line| line.split_ascii_whitespace().next()?.parse::<u64>().ok());
    kilobytes.unwrap_or(0) * 1024
}

/// `0-2,5` as numbers.
fn parse_list(list: &str) -> Vec<usize> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let range = first.parse().ok()?..=last.parse().ok()?;
        Some(range)
    };
    list.split(',').filter_map(range).flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_thread_shows_under_its_name() {
        let before = CpuTimes::of(std::process::id());
        let after = std::thread::Builder::new()
            .name("busy-1".into())
            .spawn(|| {
                let start = crate::kernel::clock::thread_cpu_ns();
                while crate::kernel::clock::thread_cpu_ns() < start + 2_000_000 {
                    std::hint::spin_loop();
                }
                CpuTimes::of(std::process::id())
            })
            .unwrap()
            .join()
            .unwrap();
        let used = after.since(&before, "busy-");
        assert!(used.named_ns >= 1_000_000 && used.all_ns >= used.named_ns, "{used:?}");
        assert!(resident_bytes(std::process::id()) > 1 << 20);
        assert!(resident_bytes(std::process::id()) > anonymous_bytes(std::process::id()));
        assert!(anonymous_bytes(std::process::id()) > 0);
        assert!(resident_bytes(u32::MAX) == 0 && CpuTimes::of(u32::MAX).threads.is_empty());
    }

    #[test]
    fn lists_of_cores() {
        assert_eq!(parse_list("0-2,5"), [0, 1, 2, 5]);
        assert!(parse_list("").is_empty());
    }
}
