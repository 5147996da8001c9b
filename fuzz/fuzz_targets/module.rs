//! A module is refused, or becomes a valid one, always the same: no bytes make the pass panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pangea_sandbox::pass;

fuzz_target!(|module: &[u8]| {
    if let Ok(instrumented) = pass::instrument(module) {
        assert_eq!(pass::instrument(module).as_ref(), Ok(&instrumented), "the same module becomes the same");
    }
});
