//! The stash against what was put into it.

use std::collections::{BTreeMap, BTreeSet};
use std::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::check::surroundings::{cases, object, sheaf, unless_miri};

/// Stash and shadow: the first object tells one full sheaf from another.
struct Model {
    stash: Stash,
    full: BTreeMap<usize, Vec<(usize, u8)>>,
    empty: Vec<u8>,
    next: usize,
    /// Calls not yet answered, and classes that were put in uncalled for.
    calls: BTreeMap<usize, u8>,
    uncalled: BTreeSet<usize>,
}

impl Model {
    fn new() -> Self {
        Self {
            stash: Stash::new(),
            full: BTreeMap::new(),
            empty: Vec::new(),
            next: 0,
            calls: BTreeMap::new(),
            uncalled: BTreeSet::new(),
        }
    }

    fn bytes(&self) -> usize {
        let of = |(&class, sheaves): (&usize, &Vec<(usize, u8)>)| {
            let class = Class::from_index(class as u8);
            sheaves.iter().map(|&(_, order)| capacity(class, order) * class.size()).sum::<usize>()
        };
        self.full.iter().map(of).sum()
    }

    /// Whether what lies on top of each class's first sheaf is more than `budget`, or
    /// something was put there without a call.
    fn exceeds(&self, budget: usize) -> bool {
        let beyond = |(&class, sheaves): (&usize, &Vec<(usize, u8)>)| {
            let class = Class::from_index(class as u8);
            let bytes = |&(_, order): &(usize, u8)| capacity(class, order) * class.size();
            sheaves.iter().skip(usize::from(budget > 0)).map(bytes).sum::<usize>()
        };
        let uncalled = budget > 0 && !self.uncalled.is_empty();
        uncalled || self.full.iter().map(beyond).sum::<usize>() > budget
    }

    /// Takes the newest of a class out of the shadow; it must be this one.
    fn expect(&mut self, class: Class, mut given: Sheaf) {
        let (number, order) = self.full.get_mut(&class.index()).and_then(Vec::pop).expect("one");
        assert_eq!((given.order(), given.len()), (order, capacity(class, order)));
        self.uncalled.remove(&class.index());
        for at in (0..given.len()).rev() {
            assert_eq!(given.pop(), Some(object(number + at)), "the newest of its class");
        }
    }

    fn put_full(&mut self, class: Class, order: u8, budget: usize) {
        let order = order.min(max_order(class));
        let mut new = sheaf(class, order);
        (0..capacity(class, order)).for_each(|at| new.push(object(self.next + at)));
        self.full.entry(class.index()).or_default().push((self.next, order));
        self.next += 1000;
        self.stash.keep_full(class, new);
        let calls = self.calls.entry(class.index()).or_default();
        if *calls == 0 && self.full[&class.index()].len() > 1 {
            self.uncalled.insert(class.index());
        }
        *calls = calls.saturating_sub(1);
        loop {
            let exceeds = self.exceeds(budget);
            assert_eq!(self.stash.exceeds(budget), exceeds);
            let Some(Shed { class, sheaf, more }) = self.stash.shed(class, budget) else {
                assert!(!exceeds, "the budget is kept");
                break;
            };
            assert!(exceeds, "given up without need");
            self.expect(class, sheaf);
            assert_eq!(more, self.exceeds(budget));
        }
    }

    fn take_full(&mut self, class: Class) {
        let any = self.full.get(&class.index()).is_some_and(|sheaves| !sheaves.is_empty());
        let calls = self.calls.entry(class.index()).or_default();
        *calls = calls.saturating_add(1);
        match self.stash.take_full(class) {
            Some(sheaf) => self.expect(class, sheaf),
            None => assert!(!any, "a sheaf is lost"),
        }
    }

    fn put_empty(&mut self, class: Class, order: u8) {
        let order = order.min(max_order(class));
        if self.stash.put_empty(sheaf(class, order)).is_none() {
            self.empty.push(order);
        } else {
            assert_eq!(self.empty.len(), EMPTIES_MAX as usize, "given up without need");
        }
    }

    fn take_empty(&mut self, class: Class) {
        let order = self.stash.order(class);
        let at = self.empty.iter().position(|&kept| kept == order);
        match self.stash.take_empty(class, self.stash.order(class)) {
            Some(sheaf) => {
                assert_eq!((sheaf.order(), sheaf.len()), (order, 0));
                let top = sheaf.into_top();
                assert!(top.is_empty() && !top.is_full(), "formatted for its class");
                self.empty.swap_remove(at.expect("one of that order"));
            }
            None => assert_eq!(at, None, "an empty sheaf is lost"),
        }
    }
}

#[derive(Clone, Debug)]
enum Action {
    PutFull(Class, u8, usize),
    TakeFull(Class),
    PutEmpty(Class, u8),
    TakeEmpty(Class),
    Grow(Class, usize),
    Cool(Class),
    Reset,
}

fn actions() -> impl Strategy<Value = Vec<Action>> {
    // A few classes, the smallest and the largest among them.
    let class =
        || prop::sample::select(std::vec![1u8, 2, 8, 20, 43, 44]).prop_map(Class::from_index);
    let order = || 0..ORDERS as u8;
    let budget = || prop::sample::select(std::vec![0usize, 48, 5000, 64 << 10, 2 << 20]);
    let action = prop_oneof![
        8 => (class(), order(), budget()).prop_map(|(class, order, b)| Action::PutFull(class, order, b)),
        4 => class().prop_map(Action::TakeFull),
        4 => (class(), order()).prop_map(|(class, order)| Action::PutEmpty(class, order)),
        3 => class().prop_map(Action::TakeEmpty),
        4 => (class(), budget()).prop_map(|(class, budget)| Action::Grow(class, budget)),
        1 => class().prop_map(Action::Cool),
        1 => Just(Action::Reset),
    ];
    prop::collection::vec(action, 1..unless_miri(200, 40))
}

proptest! {
    #![proptest_config(cases(64))]

    #[test]
    fn a_stash_loses_nothing_and_keeps_its_budget(actions in actions()) {
        let mut model = Model::new();
        for action in actions {
            match action {
                Action::PutFull(class, order, budget) => model.put_full(class, order, budget),
                Action::TakeFull(class) => model.take_full(class),
                Action::PutEmpty(class, order) => model.put_empty(class, order),
                Action::TakeEmpty(class) => model.take_empty(class),
                Action::Grow(class, budget) => {
                    let before = model.stash.order(class);
                    model.stash.grow_order(class, || budget);
                    let (order, larger) = (model.stash.order(class), max_order(class).min(before + 1));
                    let more = bytes_beyond(class, larger) - bytes_beyond(class, before);
                    let fits = |held| model.stash.beyond + held <= 2 * budget;
                    if order == before {
                        let full = !fits(model.stash.grown + more);
                        prop_assert!(larger == before || full, "held back without need");
                    } else {
                        prop_assert_eq!(order, larger);
                        prop_assert!(more == 0 || fits(model.stash.grown), "beyond the budget");
                    }
                }
                Action::Cool(class) => {
                    while let Some(sheaf) = model.stash.cool(class) {
                        model.expect(class, sheaf);
                    }
                    model.calls.remove(&class.index());
                    prop_assert_eq!(model.stash.order(class), min_order(class));
                }
                Action::Reset => model.stash.reset_orders(),
            }
            prop_assert_eq!(model.stash.bytes(), model.bytes(), "bytes add up");
            let grown = Class::all().map(|class| bytes_beyond(class, model.stash.order(class)));
            prop_assert_eq!(model.stash.grown, grown.sum::<usize>(), "orders add up");
        }
        while let Some(empty) = model.stash.take_any_empty() {
            let order = empty.order();
            let at = model.empty.iter().position(|&kept| kept == order);
            model.empty.swap_remove(at.expect("one of that order"));
        }
        prop_assert!(model.empty.is_empty());
    }
}

/// Many small sheaves make room for a large one, all that it takes.
#[test]
fn small_sheaves_do_not_let_large_ones_break_the_budget() {
    let (small, large) = (Class::of(8, 8), Class::of(32 << 10, 8));
    let budget = 64 << 10;
    let mut model = Model::new();
    (0..unless_miri(1000, 60)).for_each(|_| model.put_full(small, 0, budget));
    (0..unless_miri(1000, 60)).for_each(|_| model.put_full(large, 0, budget));
    assert_eq!(model.stash.bytes(), model.bytes());
}
