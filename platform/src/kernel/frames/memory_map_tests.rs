//! The sweep against a definition by single frames.

extern crate std;

use std::vec::Vec;

use proptest::prelude::*;

use super::*;

const FOUR_G: u64 = 1 << 32;

fn usable(start: u64, bytes: u64) -> MemoryRange {
    MemoryRange::usable(PhysAddr::new(start), bytes)
}

fn reserved(start: u64, bytes: u64) -> MemoryRange {
    MemoryRange::reserved(PhysAddr::new(start), bytes)
}

/// First and end of every stretch, in frames of 4 KiB. Null is far away.
fn stretches(map: &[MemoryRange]) -> Vec<(u64, u64, FrameFlags)> {
    check(map).expect("a sound map");
    let direct = DirectMap::with_offset(0xffff_8000_0000_0000);
    Sweep::new(map, 12, direct).map(|found| (found.first, found.end, found.flags)).collect()
}

#[test]
fn holes_are_cut_out_and_pieces_joined() {
    let low = FrameFlags::BELOW_4G;
    let map = [
        reserved(0x4800, 0x10),
        usable(0x8000, 0x2000),
        usable(0x1000, 0x7000),
        reserved(0x4ff0, 0x20),
        usable(0xa000, 0x3000).with_flags(FrameFlags::DMA),
        reserved(0xc000, 0x100_0000),
    ];
    let dma = low | FrameFlags::DMA;
    assert_eq!(stretches(&map), [(1, 4, low), (6, 10, low), (10, 12, dma)]);
}

#[test]
fn usable_ranges_shrink_to_frames_and_reserved_ones_grow() {
    let low = FrameFlags::BELOW_4G;
    assert_eq!(stretches(&[usable(0x1001, 0x2fff)]), [(2, 4, low)]);
    assert_eq!(stretches(&[usable(0x1000, 0x2fff)]), [(1, 3, low)]);
    assert_eq!(stretches(&[usable(0x1800, 0x1000)]), []);
    assert_eq!(
        stretches(&[usable(0x1000, 0x4000), reserved(0x2fff, 1)]),
        [(1, 2, low), (3, 5, low)]
    );
    assert_eq!(
        stretches(&[usable(0x1000, 0x4000), reserved(0x2fff, 2)]),
        [(1, 2, low), (4, 5, low)]
    );
}

#[test]
fn memory_is_divided_at_four_gibibytes() {
    let map = [usable(FOUR_G - 0x2000, 0x5000)];
    let limit = FOUR_G >> 12;
    assert_eq!(
        stretches(&map),
        [(limit - 2, limit, FrameFlags::BELOW_4G), (limit, limit + 3, FrameFlags::empty())]
    );
    // What the map says of it does not count.
    let high = usable(FOUR_G, 0x1000).with_flags(FrameFlags::BELOW_4G);
    assert_eq!(stretches(&[high]), [(limit, limit + 1, FrameFlags::empty())]);
}

#[test]
fn the_last_byte_there_is_may_be_used() {
    let top = 0u64.wrapping_sub(0x3000);
    let end = 1u64 << 52;
    let none = FrameFlags::empty();
    assert_eq!(stretches(&[usable(top, 0x3000)]), [(end - 3, end, none)]);
    let map = [usable(top, 0x3000), reserved(top + 0x1000, 0x2000)];
    assert_eq!(stretches(&map), [(end - 3, end - 2, none)]);
    assert_eq!(check(&[usable(top, 0x3001)]), Err(MapError::Wraps(usable(top, 0x3001))));
    assert_eq!(check(&[reserved(1, u64::MAX)]), Ok(()));
    assert_eq!(check(&[reserved(2, u64::MAX)]), Err(MapError::Wraps(reserved(2, u64::MAX))));
}

#[test]
fn the_frame_at_null_is_left_out() {
    let map = [usable(0, 0x3000)];
    let seen: Vec<_> = Sweep::new(&map, 12, DirectMap::identity()).collect();
    assert_eq!((seen[0].first, seen[0].end, seen.len()), (1, 3, 1));
    let map = [usable(0x7000, 0x3000)];
    let direct = DirectMap::with_offset(0usize.wrapping_sub(0x8000));
    let seen: Vec<_> = Sweep::new(&map, 12, direct).map(|found| (found.first, found.end)).collect();
    assert_eq!(seen, [(7, 8), (9, 10)]);
}

#[test]
fn empty_and_overlapping_ranges_are_named() {
    let (one, other) = (usable(0x1000, 0x2000), usable(0x2fff, 0x2000));
    assert_eq!(check(&[one, reserved(0x1000, 0)]), Err(MapError::Empty(reserved(0x1000, 0))));
    assert_eq!(check(&[one, other]), Err(MapError::Overlap(other, one)));
    assert_eq!(check(&[one, reserved(0x2000, 0x100), reserved(0x2080, 0x100)]), Ok(()));
    assert_eq!(check(&[one, usable(0x3000, 0x1000)]), Ok(()));
}

/// Usable entries side by side or apart, and holes anywhere, shuffled. In
/// bytes around 4 GiB.
fn map() -> impl Strategy<Value = Vec<MemoryRange>> {
    let flags = prop_oneof![3 => Just(FrameFlags::empty()), 1 => Just(FrameFlags::SLOW)];
    let unit = prop_oneof![3 => Just(0x1000u64), 1 => Just(0x321u64)];
    let entries = prop::collection::vec((0..3u64, 1..9u64, unit.clone(), flags), 1..8);
    let holes = prop::collection::vec((0..64u64, 1..4u64, unit), 0..6);
    (entries, holes).prop_flat_map(|(entries, holes)| {
        let mut at = FOUR_G - 0x1_0000;
        let mut map = Vec::new();
        for (gap, length, unit, flags) in entries {
            at += gap * unit;
            map.push(usable(at, length * unit).with_flags(flags));
            at += length * unit;
        }
        for (from, length, unit) in holes {
            map.push(reserved(FOUR_G - 0x1_1000 + from * unit, length * unit));
        }
        Just(map).prop_shuffle()
    })
}

/// What a frame is, by definition.
fn flags_of(map: &[MemoryRange], frame: u64) -> Option<FrameFlags> {
    let (first, last) = (frame << 12, (frame << 12) + 0xfff);
    let own = reserved(first, 0x1000);
    let hole = map.iter().any(|range| !range.is_usable() && range.overlaps(&own));
    let around = map
        .iter()
        .find(|range| range.is_usable() && range.start.get() <= first && last <= range.last());
    let low = if first < FOUR_G { FrameFlags::BELOW_4G } else { FrameFlags::empty() };
    around.filter(|_| !hole).map(|range| range.flags | low)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn stretches_are_the_usable_frames(map in map()) {
        let mut expected: Vec<(u64, u64, FrameFlags)> = Vec::new();
        for frame in (FOUR_G >> 12) - 100..(FOUR_G >> 12) + 200 {
            let Some(flags) = flags_of(&map, frame) else { continue };
            match expected.last_mut() {
                Some(last) if (last.1, last.2) == (frame, flags) => last.1 += 1,
                _ => expected.push((frame, frame + 1, flags)),
            }
        }
        prop_assert_eq!(stretches(&map), expected);
    }
}
