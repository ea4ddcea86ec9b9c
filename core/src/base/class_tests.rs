//! Every size, alignment and offset, by exhaustion.

use super::*;
use crate::check::surroundings::unless_miri;

/// All sizes that are no large ones; in Miri those around each class's.
fn sizes() -> std::vec::Vec<usize> {
    if !cfg!(miri) {
        return (0..=MAX_SMALL).collect();
    }
    let near = Class::all().flat_map(|class| class.size() - 1..=class.size() + 1);
    near.chain([0]).filter(|size| *size <= MAX_SMALL).collect()
}

#[test]
fn every_size_and_alignment_gets_the_smallest_fitting_class() {
    for shift in 0..=12 {
        let align = 1usize << shift;
        for size in sizes() {
            let class = Class::of(size, align);
            if size.max(1).next_multiple_of(align) > MAX_SMALL {
                assert!(!class.is_small());
                continue;
            }
            assert!(class.is_small());
            assert!(class.size() >= size.max(1), "{size} {align}");
            assert_eq!(class.size() % align, 0, "{size} {align}");
            assert!(class.natural_align() >= align);
            let below = Class(class.0 - 1);
            let fits = below.size() >= size.max(1) && below.size().is_multiple_of(align);
            assert!(!below.is_small() || !fits, "{size} {align} fits a smaller class");
        }
    }
    assert_eq!(Class::of(1, 8192), Class::LARGE);
    assert_eq!(Class::of(usize::MAX, 1), Class::LARGE);
    assert_eq!(Class::of(usize::MAX, 64), Class::LARGE);
}

#[test]
fn slack_is_bounded() {
    for size in sizes().into_iter().filter(|size| *size > 64) {
        let waste = Class::of(size, 1).size() - size;
        assert!(waste * 100 <= size * 25, "{size} wastes {waste}");
    }
}

#[test]
fn malloc_keeps_the_promise_of_c() {
    for size in sizes() {
        let class = Class::for_malloc(size);
        assert!(class.size() >= size.max(1));
        if size > 8 {
            assert_eq!(class.size() % 16, 0);
        }
    }
}

#[test]
fn runs_up_to_the_largest_class_have_the_smallest_that_fits() {
    assert_eq!(Class::runs().count(), RUN_CLASSES);
    let mut below = MAX_SMALL;
    for class in Class::runs() {
        let size = class.size();
        assert!(class.is_run() && !class.is_small() && size.is_multiple_of(PAGE_SIZE));
        assert!(size > below && (size - below) * 4 <= below);
        assert_eq!(class.pages().bytes(), size);
        for (size, align) in [(below + 1, 1), (size - 1, 8), (size, 16), (size, PAGE_SIZE)] {
            assert_eq!(Class::of(size, align), class, "{size} {align}");
            assert_eq!(Class::for_malloc(size), class);
        }
        assert_eq!(Class::of(size, 2 * PAGE_SIZE), Class::LARGE);
        below = size;
    }
    assert_eq!(Class::of(MAX_CLASS_RUN + 1, 1), Class::LARGE);
    let bits = Class::runs().fold(0, |bits, class| bits | class.run_bit());
    assert_eq!(bits.count_ones() as usize, RUN_CLASSES);
}

#[test]
fn the_reciprocal_divides_exactly() {
    for class in Class::all() {
        let info = class.info();
        for index in (0..info.objects as u64).step_by(unless_miri(1, 31)) {
            for offset in [0, u64::from(info.size) - 1] {
                let at = index * u64::from(info.size) + offset;
                assert_eq!((at * u64::from(info.reciprocal)) >> 32, index, "{class:?}");
            }
        }
        assert!(info.objects >= 8 && info.objects <= MAX_OBJECTS);
    }
}
