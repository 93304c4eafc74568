//! Which clients there are.

use serde::{Deserialize, Serialize};

/// Release line of a client. What it is told differs; what it may do does not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Generation {
    /// openvidu-browser 1.x.
    First,
    /// openvidu-browser 2.x, and everybody stored before there was a difference.
    #[default]
    Second,
}
