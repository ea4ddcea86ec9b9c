//! The engine against a plain array of granules that are free or used.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::vec::Vec;

use proptest::prelude::*;

use super::super::bins::BINS;
use super::*;
use crate::check::surroundings::{cases, unless_miri};

/// Boundary marks, links and stamps in vectors.
struct Table {
    cells: RefCell<Vec<Cell>>,
}

#[derive(Clone, Copy)]
struct Cell {
    /// Length of the run with an end here, and whether it is free.
    mark: Option<(u32, bool)>,
    links: (u32, u32),
    stamp: Stamp,
}

const CLEAN: Stamp = Stamp::CLEAN;

impl Table {
    fn new(len: u32) -> Self {
        let cell = Cell { mark: None, links: (7, 7), stamp: CLEAN };
        Self { cells: RefCell::new(std::vec![cell; len as usize]) }
    }

    fn set_marks(&self, start: u32, len: u32, mark: Option<(u32, bool)>) {
        let mut cells = self.cells.borrow_mut();
        cells[start as usize].mark = mark;
        cells[(start + len - 1) as usize].mark = mark;
    }

    fn free_at(&self, at: u32) -> Option<u32> {
        let mark = self.cells.borrow().get(at as usize)?.mark;
        mark.and_then(|(len, free)| free.then_some(len))
    }
}

// SAFETY: values are kept as written; beyond the table nothing is free.
unsafe impl Granules for Table {
    fn free_run_ending_at(&self, end: u32) -> Option<u32> {
        self.free_at(end.checked_sub(1)?).map(|len| end - len)
    }

    fn free_run_at(&self, start: u32) -> Option<u32> {
        self.free_at(start)
    }

    fn unmark(&self, start: u32, len: u32) {
        self.set_marks(start, len, None);
    }

    fn mark_free(&self, start: u32, len: u32) {
        self.set_marks(start, len, Some((len, true)));
    }

    fn mark_used(&self, start: u32, len: u32) {
        self.set_marks(start, len, Some((len, false)));
    }

    fn links(&self, start: u32) -> (u32, u32) {
        self.cells.borrow()[start as usize].links
    }

    fn set_links(&self, start: u32, next: u32, previous: u32) {
        self.cells.borrow_mut()[start as usize].links = (next, previous);
    }

    fn stamp(&self, start: u32) -> Stamp {
        self.cells.borrow()[start as usize].stamp
    }

    fn set_stamp(&self, start: u32, stamp: Stamp) {
        self.cells.borrow_mut()[start as usize].stamp = stamp;
    }
}

/// What is known of one granule.
#[derive(Clone, Copy, PartialEq)]
enum Granule {
    Used,
    Free { dirty: bool, resident: bool },
}

impl Granule {
    /// Of a run that is given with a stamp for all of it.
    fn said(stamp: Stamp) -> Self {
        Self::Free { dirty: !stamp.dirty.is_empty(), resident: !stamp.resident.is_empty() }
    }
}

/// Engine and shadow side by side.
struct Model {
    runs: Runs,
    table: Table,
    phase: usize,
    shadow: Vec<Granule>,
    /// Used runs.
    used: BTreeMap<u32, u32>,
}

impl Model {
    fn new(len: u32, phase: usize) -> Self {
        let mut model = Self {
            runs: Runs::new(),
            table: Table::new(len),
            phase,
            shadow: std::vec![Granule::Used; len as usize],
            used: BTreeMap::from([(0, len)]),
        };
        model.table.mark_used(0, len);
        model.give(0, CLEAN);
        model
    }

    fn set(&mut self, start: u32, len: u32, granule: Granule) {
        self.shadow[start as usize..(start + len) as usize].fill(granule);
    }

    /// Maximal free intervals of the shadow.
    fn free_runs(&self) -> BTreeMap<u32, u32> {
        let mut runs = BTreeMap::new();
        let mut start = None;
        for at in 0..=self.shadow.len() {
            let free = self.shadow.get(at).is_some_and(|granule| *granule != Granule::Used);
            match (start, free) {
                (None, true) => start = Some(at as u32),
                (Some(from), false) => {
                    runs.insert(from, at as u32 - from);
                    start = None;
                }
                _ => {}
            }
        }
        runs
    }

    /// Spans of a run hide nothing.
    fn check_spans(&self, start: u32, len: u32, dirty: Span, resident: Span) {
        let inside = |span: Span, at: u32| (span.start..span.end).contains(&at);
        for at in start..start + len {
            if let Granule::Free { dirty: is_dirty, resident: has_memory } =
                self.shadow[at as usize]
            {
                assert!(!is_dirty || inside(dirty, at), "zero is zero");
                assert!(!has_memory || inside(resident, at), "memory is not forgotten");
            }
        }
    }

    /// Whether any free granule is dirty.
    fn any_dirty(&self, start: u32, len: u32) -> bool {
        let granules = &self.shadow[start as usize..(start + len) as usize];
        granules.iter().any(|granule| matches!(granule, Granule::Free { dirty: true, .. }))
    }

    /// R1 to R3, and that stamps do not hide anything.
    fn check(&self) {
        let expected = self.free_runs();
        let (mut found, mut known) = (BTreeMap::new(), 0);
        for bin in 0..BINS {
            let (mut at, mut before, mut last) = (self.runs.bins.head(bin), NIL, NIL);
            let mut clean = false;
            assert_eq!(self.runs.bins.next_occupied(bin) == Some(bin), at != NIL, "bits of bins");
            while at != NIL {
                let len = self.table.free_run_at(at).expect("R3: a run in a bin is free");
                assert_eq!(bin_of(len), bin, "R3: in the bin of its length");
                assert_eq!(self.table.free_run_ending_at(at + len), Some(at), "both ends marked");
                match (before, self.table.links(at).1) {
                    (NIL, previous) => last = previous,
                    (_, previous) => assert_eq!(previous, before, "linked both ways"),
                }
                assert_eq!(found.insert(at, len), None, "R3: in a bin once");
                let Stamp { dirty, resident, .. } = self.table.stamp(at);
                for span in [dirty, resident] {
                    assert_eq!(span.within(at, len), span, "no wider than the run");
                }
                self.check_spans(at, len, dirty, resident);
                assert!(!clean || resident.is_empty(), "one with memory behind one without");
                clean = resident.is_empty();
                known += resident.len();
                (before, at) = (at, self.table.links(at).0);
            }
            assert_eq!(last, before, "the first leads to the last");
        }
        assert_eq!(found, expected, "R1, R2: every maximal free interval is one run");
        assert_eq!(self.runs.free_granules(), expected.values().sum::<u32>());
        assert_eq!(self.runs.resident_granules(), known);
        for (&start, &len) in &self.used {
            let mark = Some((len, false));
            let cells = self.table.cells.borrow();
            let marks = [start, start + len - 1].map(|at| cells[at as usize].mark);
            assert_eq!(marks, [mark, mark], "R1: both ends of a used run are marked");
        }
    }

    /// Takes, and checks that it is what the index promises: of the first bin
    /// with a run that fits, the lowest such run.
    fn take(&mut self, len: u32, align: u32) -> Option<Taken> {
        let fit = Fit { len, align, phase: self.phase };
        let best = self
            .free_runs()
            .into_iter()
            .filter(|&(start, run)| fit.fits(start, run))
            .min_by_key(|&(start, run)| (bin_of(run), start));
        let taken = self.runs.take(&self.table, fit, Search::Thorough);
        assert_eq!(taken.map(|t| u64::from(t.start)), best.map(|(at, _)| fit.first_aligned(at)));
        if let Some(Taken { start, stamp: Stamp { dirty, resident, .. } }) = taken {
            assert!((self.phase.wrapping_add(start as usize)).is_multiple_of(align as usize));
            self.check_spans(start, len, dirty, resident);
            self.set(start, len, Granule::Used);
            assert_eq!(self.used.insert(start, len), None);
        }
        taken
    }

    fn give(&mut self, start: u32, stamp: Stamp) {
        let len = self.used.remove(&start).expect("used");
        self.runs.give(&self.table, start, len, stamp);
        self.set(start, len, Granule::said(stamp));
    }

    fn grow(&mut self, start: u32, by: u32) {
        let len = self.used[&start];
        let behind = self.free_runs().get(&(start + len)).copied();
        let grown = self.runs.grow(&self.table, start, len, len + by);
        assert_eq!(grown.is_some(), behind >= Some(by), "grows exactly when there is room");
        if let Some(dirty) = grown {
            assert!(dirty || !self.any_dirty(start + len, by), "said to be zero");
            self.set(start + len, by, Granule::Used);
            self.used.insert(start, len + by);
        }
    }

    fn shrink(&mut self, start: u32, by: u32, stamp: Stamp) {
        let len = self.used[&start];
        let new = len - by;
        self.runs.shrink(&self.table, start, len, new, stamp);
        self.set(start + new, by, Granule::said(stamp));
        self.used.insert(start, new);
    }

    /// Takes the run at the end.
    fn take_last(&mut self) {
        let end = self.shadow.len() as u32;
        let last = self.runs.take_last(&self.table, end).map(|(start, _)| start);
        let free = self.free_runs();
        let expected = free.iter().find(|&(at, len)| at + len == end);
        assert_eq!(last, expected.map(|(at, _)| *at));
        if let Some(start) = last {
            self.set(start, end - start, Granule::Used);
            self.used.insert(start, end - start);
        }
    }

    /// Takes what is resident of up to `count` runs, of each at most `most`.
    fn take_resident(&mut self, min_len: u32, most: u32, count: usize) {
        let mut parts = Vec::new();
        self.runs.take_parts(&self.table, &(min_len..u32::MAX), |_, _, stamp| {
            if stamp.resident.is_empty() {
                return Choice::NextBin;
            }
            if parts.len() == count {
                return Choice::End;
            }
            let part = stamp.resident.last(most);
            parts.push(part);
            Choice::Take(part)
        });
        assert!(parts.len() <= count);
        for part in &parts {
            self.note_part(*part, min_len, most);
        }
        if parts.is_empty() {
            let free = self.free_runs();
            let has_memory = |granule| matches!(granule, Granule::Free { resident: true, .. });
            let missed = free.iter().any(|(&at, &len)| {
                let run = &self.shadow[at as usize..(at + len) as usize];
                len >= min_len && run.iter().copied().any(has_memory)
            });
            assert!(!missed, "a resident run was overlooked");
        }
    }

    fn note_part(&mut self, part: Span, min_len: u32, most: u32) {
        let free = self.free_runs();
        let around = free.range(..=part.start).next_back().expect("a free run");
        assert!(*around.1 >= min_len && part.end <= around.0 + around.1, "in a free run");
        assert!((1..=most).contains(&part.len()));
        self.set(part.start, part.len(), Granule::Used);
        self.used.insert(part.start, part.len());
    }
}

#[derive(Clone, Debug)]
enum Action {
    Take { len: u32, shift: u32 },
    Give { pick: prop::sample::Index, stamp: (bool, bool) },
    Grow { pick: prop::sample::Index, by: u32 },
    Shrink { pick: prop::sample::Index, by: prop::sample::Index, stamp: (bool, bool) },
    TakeLast,
    TakeResident { min: u32, most: u32, count: usize },
}

fn actions() -> impl Strategy<Value = Vec<Action>> {
    let len = || prop_oneof![4 => 1..6u32, 2 => 6..40u32, 1 => 40..200u32];
    let pick = || any::<prop::sample::Index>();
    let action = prop_oneof![
        6 => (len(), 0..5u32).prop_map(|(len, shift)| Action::Take { len, shift }),
        5 => (pick(), any::<(bool, bool)>()).prop_map(|(pick, stamp)| Action::Give { pick, stamp }),
        2 => (pick(), len()).prop_map(|(pick, by)| Action::Grow { pick, by }),
        2 => (pick(), pick(), any::<(bool, bool)>())
            .prop_map(|(pick, by, stamp)| Action::Shrink { pick, by, stamp }),
        1 => Just(Action::TakeLast),
        1 => (len(), len(), 1..5usize)
            .prop_map(|(min, most, count)| Action::TakeResident { min, most, count }),
    ];
    prop::collection::vec(action, 1..unless_miri(150, 30))
}

proptest! {
    #![proptest_config(cases(64))]

    #[test]
    fn runs_behave_as_intervals(len in 1..500u32, phase in any::<usize>(), actions in actions()) {
        let mut model = Model::new(len, phase);
        let span = |all| if all { Span::ALL } else { Span::NONE };
        let stamp = |(dirty, resident)| Stamp {
            dirty: span(dirty),
            resident: span(resident),
            since: 0,
        };
        for action in actions {
            let starts: Vec<u32> = model.used.keys().copied().collect();
            match action {
                Action::Take { len, shift } => drop(model.take(len, 1 << shift)),
                Action::TakeLast => model.take_last(),
                Action::TakeResident { min, most, count } => model.take_resident(min, most, count),
                _ if starts.is_empty() => {}
                Action::Give { pick, stamp: known } => model.give(*pick.get(&starts), stamp(known)),
                Action::Grow { pick, by } => model.grow(*pick.get(&starts), by),
                Action::Shrink { pick, by, stamp: known } => {
                    let start = *pick.get(&starts);
                    let by = by.index(model.used[&start] as usize) as u32;
                    if by > 0 {
                        model.shrink(start, by, stamp(known));
                    }
                }
            }
            model.check();
        }
        for start in model.used.clone().into_keys() {
            model.give(start, CLEAN);
            model.check();
        }
        prop_assert_eq!(model.free_runs(), BTreeMap::from([(0, len)]), "one run again");
    }
}

/// More runs of one bin than are looked at that do not fit, in front of one that does.
#[test]
fn a_run_that_fits_is_found_behind_any_number_that_do_not() {
    const LEN: u32 = unless_miri(1000, 140) as u32;
    let mut model = Model::new(LEN, 0);
    for _ in 0..LEN / 2 {
        assert!(model.take(2, 2).is_some());
    }
    model.shrink(0, 1, CLEAN);
    let single = model.take(1, 1).expect("the second granule");
    for start in (2..LEN).step_by(2) {
        model.shrink(start, 1, CLEAN);
    }
    // What has nothing behind it comes last.
    model.give(0, CLEAN);
    assert_eq!(single.start, 1);
    model.check();
    let fit = Fit { len: 1, align: 2, phase: 0 };
    assert_eq!(model.runs.take(&model.table, fit, Search::Quick), None, "behind too many");
    assert_eq!(model.take(1, 2).map(|taken| taken.start), Some(0));
    model.check();
}
