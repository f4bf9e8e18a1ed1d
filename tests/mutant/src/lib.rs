//! Planted faults: code that is wrong on purpose asks here whether it is its turn.
//!
//! A fault is a few lines behind `#[cfg(feature = "mutants")]` in the crate it would be a fault of. The feature is for the
//! simulator, which plants one after the other to show that its checkers find them; no program that is shipped has it.

use std::cell::Cell;

thread_local! {
    static PLANTED: Cell<Option<&'static str>> = const { Cell::new(None) };
}

/// Plants a fault on this thread in place of the one before; `None` for none.
pub fn plant(name: Option<&'static str>) {
    PLANTED.set(name);
}

/// Whether the fault of this name is planted.
pub fn planted(name: &str) -> bool {
    PLANTED.get() == Some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_fault_at_a_time() {
        assert!(!planted("a"));
        plant(Some("a"));
        assert!(planted("a") && !planted("b"));
        plant(None);
        assert!(!planted("a"));
    }
}
