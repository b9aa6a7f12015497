//! Names that operators give.
//!
//! Owns: that a name is short and plain, and that most names are kept in place. A state of a million objects is mostly
//! names of what they belong to, which would otherwise be an allocation each.

use crate::id::IdError;
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;
use std::sync::Arc;

/// Bytes of a name that is kept in place: a UUID of 36 with a little before it.
const SHORT: usize = 38;

/// A name that an operator gave: 1 to 63 of `A-Z a-z 0-9 . _ -`, so that it fits in a path, a metric and a file.
#[derive(Clone)]
pub struct Name(Text);

#[derive(Clone)]
enum Text {
    /// So many bytes.
    Short(u8, [u8; SHORT]),
    Long(Arc<str>),
}

impl Name {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        match &self.0 {
            // Every byte of a name is ASCII.
            Text::Short(..) => std::str::from_utf8(self.bytes()).unwrap_or_default(),
            Text::Long(text) => text,
        }
    }

    fn bytes(&self) -> &[u8] {
        match &self.0 {
            Text::Short(len, bytes) => bytes.get(..usize::from(*len)).unwrap_or_default(),
            Text::Long(text) => text.as_bytes(),
        }
    }
}

impl FromStr for Name {
    type Err = IdError;
    fn from_str(s: &str) -> Result<Self, IdError> {
        let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        if s.is_empty() || s.len() > 63 || !s.bytes().all(legal) {
            return Err(IdError::new("a name of 1 to 63 letters, digits, '.', '_' or '-'", s));
        }
        let mut bytes = [0; SHORT];
        Ok(Self(match bytes.get_mut(..s.len()) {
            Some(place) => {
                place.copy_from_slice(s.as_bytes());
                Text::Short(s.len() as u8, bytes)
            }
            None => Text::Long(s.into()),
        }))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Name").field(&self.as_str()).finish()
    }
}

// A name of one length is always kept the same way, so that its bytes tell all.
impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        self.bytes() == other.bytes()
    }
}

impl Eq for Name {}

impl PartialOrd for Name {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Name {
    fn cmp(&self, other: &Self) -> Ordering {
        self.bytes().cmp(other.bytes())
    }
}

impl Hash for Name {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.bytes().hash(state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn short_and_long_names_are_one_kind() {
        let texts: Vec<String> =
            (1..=63).flat_map(|n| [b'a', b'-'].map(|b| String::from(b as char).repeat(n))).collect();
        let mut sorted = texts.clone();
        sorted.sort();
        let mut names: Vec<Name> = texts.iter().map(|t| t.parse().unwrap()).collect();
        let set: HashSet<Name> = names.iter().cloned().collect();
        assert_eq!(set.len(), texts.len());
        assert!(texts.iter().all(|t| set.contains(&t.parse::<Name>().unwrap())));
        names.sort();
        assert_eq!(names.iter().map(Name::as_str).collect::<Vec<_>>(), sorted);
    }
}
