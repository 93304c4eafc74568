//! The checks that CI may skip.
//!
//! A skipped check has checked nothing, so CI counts it as failed. The exceptions are listed here, each with its reason.

/// Name of the step, and why CI cannot run it.
const ALLOWED: [(&str, &str); 2] = [
    (
        "advisories",
        "the list of known vulnerabilities is a Git repository that the build machines cannot reach",
    ),
    ("beside Janus", "Debian's package starts Janus as a service, so `setup` does not install it"),
];

/// What happens to a step that is skipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Policy {
    /// It is reported and fails nothing: a developer's machine may lack a tool.
    Lenient,
    /// It fails, unless it is listed: CI.
    Strict,
}

impl Policy {
    /// `Strict` where the environment has `CI=true`, as build servers set it.
    pub(crate) fn of_environment() -> Self {
        if std::env::var("CI").is_ok_and(|value| value == "true") { Self::Strict } else { Self::Lenient }
    }

    /// Whether this step may be skipped.
    pub(crate) fn allows(self, step: &str) -> bool {
        self == Self::Lenient || ALLOWED.iter().any(|(name, _)| *name == step)
    }
}

/// Why CI may skip this step; `None` where it may not.
pub(crate) fn reason(step: &str) -> Option<&'static str> {
    ALLOWED.iter().find(|(name, _)| *name == step).map(|(_, why)| *why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ci_is_strict_and_only_the_list_is_excepted() {
        assert!(Policy::Lenient.allows("clippy"));
        assert!(!Policy::Strict.allows("clippy"));
        assert!(Policy::Strict.allows("advisories"));
        assert!(ALLOWED.iter().all(|(step, why)| reason(step) == Some(*why) && !why.is_empty()));
    }
}
