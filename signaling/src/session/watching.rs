//! Who watches each publisher, and with which limits.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::Caps;

/// Most video that a viewer is sent, in kbit/s. `None` is the server's limit.
type Limit = Option<u32>;

#[derive(Clone, Debug, Default)]
struct Watchers {
    /// The viewers by connection; those that receive video have a limit.
    viewers: BTreeMap<String, Option<Limit>>,
    /// The publisher's own limit, where it receives its own video over the endpoint that it publishes with.
    itself: Option<Limit>,
    /// How many connections receive video with each limit.
    limits: BTreeMap<Limit, usize>,
}

/// The viewers of each publisher of a session.
///
/// It counts viewers by their limit, so that one more viewer costs the same in a room of any size.
#[derive(Clone, Debug, Default)]
pub(super) struct Watching {
    of: HashMap<String, Watchers>,
    /// Publishers whose viewers have changed since the last look.
    touched: BTreeSet<String>,
}

impl Watching {
    /// `viewer` watches `publisher`. The limit is given where it receives video.
    pub(super) fn add(&mut self, publisher: &str, viewer: &str, video: Option<Limit>) {
        self.remove(publisher, viewer);
        let watchers = self.of.entry(publisher.to_owned()).or_default();
        watchers.viewers.insert(viewer.to_owned(), video);
        watchers.count(video, true);
        self.touched.insert(publisher.to_owned());
    }

    /// `viewer` no longer watches `publisher`.
    pub(super) fn remove(&mut self, publisher: &str, viewer: &str) {
        let Some(watchers) = self.of.get_mut(publisher) else { return };
        if let Some(video) = watchers.viewers.remove(viewer) {
            watchers.count(video, false);
            self.touched.insert(publisher.to_owned());
        }
        if watchers.viewers.is_empty() && watchers.itself.is_none() {
            self.of.remove(publisher);
        }
    }

    /// Notes whether a publisher receives its own video, and with which limit.
    pub(super) fn set_itself(&mut self, publisher: &str, video: Option<Limit>) {
        let watchers = self.of.entry(publisher.to_owned()).or_default();
        let before = std::mem::replace(&mut watchers.itself, video);
        watchers.count(before, false);
        watchers.count(video, true);
        self.touched.insert(publisher.to_owned());
    }

    /// The connections that watch `publisher`.
    pub(super) fn viewers(&self, publisher: &str) -> Vec<String> {
        self.of.get(publisher).map(|watchers| watchers.viewers.keys().cloned().collect()).unwrap_or_default()
    }

    /// Forgets a publisher. Its viewers are forgotten with it.
    pub(super) fn forget(&mut self, publisher: &str) {
        self.of.remove(publisher);
        self.touched.remove(publisher);
    }

    /// The largest limit of all receivers of video of `publisher`, in kbit/s. [`u32::MAX`] is unlimited. `None` if
    /// the video has no receiver.
    pub(super) fn largest_kbps(&self, publisher: &str, server: Caps) -> Option<u32> {
        let limits = self.of.get(publisher)?.limits.keys();
        limits.map(|limit| server.send_or(*limit)).max()
    }

    /// The next look considers this publisher too.
    #[cfg(test)]
    pub(super) fn touch(&mut self, publisher: &str) {
        self.touched.insert(publisher.to_owned());
    }

    /// The publishers whose viewers have changed since the last call.
    pub(super) fn take_touched(&mut self) -> BTreeSet<String> {
        std::mem::take(&mut self.touched)
    }
}

impl Watchers {
    fn count(&mut self, video: Option<Limit>, comes: bool) {
        let Some(limit) = video else { return };
        let count = self.limits.entry(limit).or_default();
        *count = if comes { *count + 1 } else { count.saturating_sub(1) };
        if *count == 0 {
            self.limits.remove(&limit);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVER: Caps = Caps { receive_max_kbps: 1_000, send_max_kbps: 700 };

    #[test]
    fn the_largest_limit_counts_as_long_as_its_viewer_is_there() {
        let mut watching = Watching::default();
        let largest = |watching: &Watching| watching.largest_kbps("con_A", SERVER);
        assert_eq!(largest(&watching), None);
        watching.add("con_A", "con_B", Some(Some(300)));
        watching.add("con_A", "con_C", Some(None));
        watching.add("con_A", "con_D", None);
        assert_eq!(largest(&watching), Some(700), "the server's own");
        assert_eq!(watching.viewers("con_A"), ["con_B", "con_C", "con_D"]);
        watching.add("con_A", "con_C", Some(Some(0)));
        assert_eq!(largest(&watching), Some(u32::MAX), "0 is unlimited");
        watching.remove("con_A", "con_C");
        assert_eq!(largest(&watching), Some(300));
        watching.set_itself("con_A", Some(Some(900)));
        assert_eq!(largest(&watching), Some(900));
        watching.set_itself("con_A", None);
        watching.remove("con_A", "con_B");
        assert_eq!(largest(&watching), None);
        assert_eq!(watching.take_touched().into_iter().collect::<Vec<_>>(), ["con_A"]);
        watching.remove("con_A", "con_D");
        assert!(watching.of.is_empty(), "nothing is left behind");
    }
}
