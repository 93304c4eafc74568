//! Answers that a certificate authority reads over plain HTTP (RFC 8555, section 8.3).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Answers by token. There is one for each order in progress, so at most one.
#[derive(Default)]
pub(crate) struct Answers {
    by_token: Mutex<BTreeMap<String, String>>,
}

/// Removes its answer when it is dropped.
pub(super) struct Answer {
    answers: Arc<Answers>,
    token: String,
}

impl Answers {
    pub(super) fn put(self: &Arc<Self>, token: String, text: String) -> Answer {
        self.lock().insert(token.clone(), text);
        Answer { answers: Arc::clone(self), token }
    }

    /// The answer for a token.
    pub(crate) fn get(&self, token: &str) -> Option<String> {
        self.lock().get(token).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, String>> {
        self.by_token.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.answers.lock().remove(&self.token);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_there_as_long_as_it_is_held() {
        let answers = Arc::<Answers>::default();
        let held = answers.put("token".into(), "token.thumb".into());
        assert_eq!((answers.get("token").as_deref(), answers.get("other")), (Some("token.thumb"), None));
        drop(held);
        assert_eq!(answers.get("token"), None);
    }
}
