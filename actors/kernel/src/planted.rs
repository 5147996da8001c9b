//! Planted bugs: mistakes that a build for testing the simulator can switch on, one at a time, to prove that it finds
//! them.
//!
//! A site reads `if planted!("name")`. Without the cargo feature `planted-bugs`, which no default enables, that is the
//! constant `false`, and the compiler leaves nothing of the site. With it, one bug at most is active in a process: the
//! one that [`plant`] has named. The list of names, with what each bug is and who finds it, is in
//! `simulations/src/mutants.rs`; a test compares it with the sites.

/// True if the bug of this name is planted in this process.
#[macro_export]
macro_rules! planted {
    ($name:literal) => {
        $crate::planted::is_planted($name)
    };
}

/// See [`planted!`].
#[cfg(not(feature = "planted-bugs"))]
#[inline(always)]
pub const fn is_planted(_: &str) -> bool {
    false
}

#[cfg(feature = "planted-bugs")]
pub use active::{is_planted, plant};

#[cfg(feature = "planted-bugs")]
mod active {
    use std::sync::OnceLock;

    static PLANTED: OnceLock<String> = OnceLock::new();

    /// Plants a bug for the rest of this process. False if there is one already: a run has one bug, or none.
    pub fn plant(name: &str) -> bool {
        PLANTED.set(name.to_owned()).is_ok()
    }

    /// See [`planted!`](crate::planted!).
    pub fn is_planted(name: &str) -> bool {
        PLANTED.get().is_some_and(|planted| planted == name)
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn nothing_is_planted_unless_somebody_plants_it() {
        assert!(!crate::planted!("receipt-before-sync"));
    }
}
