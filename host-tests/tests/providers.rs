//! Every provider and every front end there is runs the conformance suites.

use granule::{HostEnv, HostPages, ThreadCpu};
use granule_core::cache::guarded::{Cpu, Guarded};
use granule_core::check::conformance::{Bench, Failure, Report, front_end, page_provider};
use granule_core::provider::NoPages;
use granule_host_tests::model::faulty::Faulty;
use granule_host_tests::model::fixtures::{CPUS, FastClock, OneCpu};

#[test]
fn the_host_s_pages() {
    let report = page_provider(&HostPages::new()).expect("conforms");
    assert!(report.checks > 10, "{report:?}");
    assert_eq!(report.refusals, 0, "{report:?}");
}

#[test]
fn the_faulty_provider_when_it_is_told_nothing() {
    let provider = Faulty::new(usize::MAX);
    let report = page_provider(&provider).expect("conforms");
    assert_eq!(report.refusals, 0, "{report:?}");
    assert_eq!(provider.reserved(), 0, "the suite gives everything back");
}

#[test]
fn a_provider_that_fails_is_found_out_or_counted() {
    let calls = {
        let provider = Faulty::new(usize::MAX);
        provider.refuse(usize::MAX);
        page_provider(&provider).expect("conforms");
        provider.relent()
    };
    // The first calls ask for the impossible: to refuse those is right.
    let noticed = (0..calls).filter(|&number| {
        let provider = Faulty::new(usize::MAX);
        provider.refuse(number);
        let seen: Result<Report, Failure> = page_provider(&provider);
        !seen.is_ok_and(|report| report.refusals == 0)
    });
    let noticed = noticed.count();
    assert!(noticed + 4 >= calls && noticed > 10, "{noticed} of {calls}");
    assert!(page_provider(&NoPages).is_err());
}

fn conforms<P: Cpu>(front: &Guarded<P, FastClock, CPUS>) -> Report {
    let bench = Box::leak(Box::new(Bench::new()));
    front_end(front, bench).expect("conforms")
}

#[test]
fn the_portable_front_end_on_one_cpu() {
    assert!(conforms::<OneCpu>(&Guarded::new()).checks > 10);
}

#[test]
fn the_portable_front_end_on_numbered_threads() {
    static FRONT: Guarded<ThreadCpu, HostEnv, 256> = Guarded::new();
    let together = std::sync::Barrier::new(4);
    // Each thread has a cache of its own in the same front end, as long as all
    // of them live: a number comes again afterwards.
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let bench = Box::leak(Box::new(Bench::new()));
                let seen = front_end(&FRONT, bench);
                together.wait();
                seen.expect("conforms");
            });
        }
    });
}

#[test]
fn a_front_end_that_is_entered_does_not_conform() {
    // Whoever holds a CPU refuses all others: the suite must not call that a
    // front end.
    struct Never;
    // SAFETY: nobody is ever let in.
    unsafe impl Cpu for Never {
        type Guard = ();
        fn try_enter() -> Option<(usize, ())> {
            None
        }
    }
    let front = Guarded::<Never, FastClock, CPUS>::new();
    let bench = Box::leak(Box::new(Bench::new()));
    assert!(front_end(&front, bench).is_err());
}
