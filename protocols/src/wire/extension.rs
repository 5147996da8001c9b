//! `/pangea/x/NAME/1`: what an extension of a node, a plugin or an actor of its own, says to the same extension of another.
//! One number on the wire for all of them, with the name in the header; the payload is the body of the frame, and means
//! something to the two extensions only. Nothing is answered if there is no extension of that name.

use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr, sync::Arc};

/// A message of an extension. Its payload, of at most [`PAYLOAD_BYTES_MAX`] bytes, is the body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Extension {
    /// For the extension of this name.
    Message { name: Name },
}

/// Most bytes of a payload.
pub const PAYLOAD_BYTES_MAX: usize = 64 << 10;
/// Most bytes of a name.
pub const NAME_BYTES_MAX: usize = 64;

/// The name of an extension: 1 to 64 of `a` to `z`, `0` to `9` and `-`. Clones share it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(Arc<str>);

/// It is no name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a name is 1 to {NAME_BYTES_MAX} of the characters a to z, 0 to 9 and -")]
pub struct BadName;

impl Name {
    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        let good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let fits = (1..=NAME_BYTES_MAX).contains(&text.len()) && text.bytes().all(good);
        if fits { Ok(Self(text.into())) } else { Err(BadName) }
    }
}

impl TryFrom<String> for Name {
    type Error = BadName;

    fn try_from(text: String) -> Result<Self, BadName> {
        text.parse()
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0.as_ref().to_owned()
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
