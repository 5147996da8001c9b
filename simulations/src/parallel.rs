//! Many things at once, told in order: what is printed and found does not depend on which was faster.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
};

/// Works through `items`, `jobs` of them at once. `each` gets an item and its number; `done` hears of every result, in
/// order of items, and stops the rest by returning false.
pub fn in_parallel<T: Sync, R: Send>(
    items: &[T],
    jobs: usize,
    each: impl Fn(usize, &T) -> R + Sync,
    mut done: impl FnMut(usize, R) -> bool + Send,
) {
    let (next, stopped) = (AtomicUsize::new(0), AtomicBool::new(false));
    let waiting = Mutex::new((0, BTreeMap::new()));
    let done = Mutex::new(&mut done);
    thread::scope(|scope| {
        for _ in 0..jobs.max(1).min(items.len()) {
            scope.spawn(|| {
                while !stopped.load(Ordering::Relaxed) {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(item) = items.get(at) else { return };
                    let result = each(at, item);
                    // Told in order, so that what is printed and found does not depend on who was faster.
                    let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
                    let (told, ready) = &mut *waiting.lock().unwrap_or_else(PoisonError::into_inner);
                    ready.insert(at, result);
                    while let Some(result) = ready.remove(told) {
                        if !stopped.load(Ordering::Relaxed) && !done(*told, result) {
                            stopped.store(true, Ordering::Relaxed);
                        }
                        *told += 1;
                    }
                }
            });
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_told_in_order_and_the_rest_is_stopped() {
        let items: Vec<u32> = (0..50).collect();
        let mut told = Vec::new();
        in_parallel(
            &items,
            4,
            |_, item| item * 2,
            |at, double| {
                told.push((at, double));
                at < 20
            },
        );
        assert_eq!(told, (0..=20).map(|at| (at, at as u32 * 2)).collect::<Vec<_>>());
    }
}
