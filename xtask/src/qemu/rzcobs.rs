//! The coding of log frames: reverse zero-compressing COBS.
//!
//! Coded bytes are never 0. They are read from the end: a byte up to 7F says
//! of each of the next seven whether it is a zero that was left out (a bit
//! set); one from 80 stands for a zero, before it `(byte & 7F) + 7` bytes as
//! they are; FF for 134 bytes as they are and no zero.

/// The bytes that `coded` stands for; `None` when that cannot have been coded.
pub(super) fn decode(coded: &[u8]) -> Option<Vec<u8>> {
    let mut from_end = coded.iter().rev().copied();
    let mut bytes = Vec::with_capacity(coded.len());
    while let Some(code) = from_end.next() {
        match code {
            0 => return None,
            0x01..=0x7F => {
                for bit in (0..7).rev() {
                    bytes.push(if code & (1 << bit) == 0 { from_end.next()? } else { 0 });
                }
            }
            0x80..=0xFF => {
                if code != 0xFF {
                    bytes.push(0);
                }
                for _ in 0..usize::from(code & 0x7F) + 7 {
                    bytes.push(from_end.next()?);
                }
            }
        }
    }
    bytes.reverse();
    Some(bytes)
}

/// The inverse, as loggers do it: for tests of what reads frames.
#[cfg(test)]
pub(super) fn encode(bytes: &[u8]) -> Vec<u8> {
    let (mut coded, mut run, mut zeros) = (Vec::new(), 0_u8, 0_u8);
    for byte in bytes {
        match (run < 7, *byte) {
            (true, 0) => zeros |= 1 << run,
            (false, 0) => {
                coded.push((run - 7) | 0x80);
                (run, zeros) = (0, 0);
                continue;
            }
            (_, other) => coded.push(other),
        }
        run += 1;
        if run == 7 && zeros != 0 {
            coded.push(zeros);
            (run, zeros) = (0, 0);
        } else if run == 134 {
            coded.push(0xFF);
            (run, zeros) = (0, 0);
        }
    }
    match run {
        0 => {}
        1..7 => coded.push((zeros | (0xFF << run)) & 0x7F),
        _ => coded.push((run - 7) | 0x80),
    }
    coded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_coded_comes_back_with_zeros_after_it_at_most() {
        let mut all: Vec<Vec<u8>> = vec![vec![], vec![0], vec![0; 20], (0..=255).collect()];
        all.extend((0..300).map(|n| vec![0xFF; n]));
        all.extend((0..40).map(|n| (0..n).map(|at: u8| (at % 3) * 100).collect()));
        for bytes in all {
            let coded = encode(&bytes);
            assert!(!coded.contains(&0), "{bytes:?}");
            let mut back = decode(&coded).expect("well formed");
            assert!(back.starts_with(&bytes), "{bytes:?} came back as {back:?}");
            // The last group is padded: a frame knows its own length.
            assert!(back.split_off(bytes.len()).iter().all(|byte| *byte == 0));
        }
    }

    #[test]
    fn what_ends_too_early_is_refused() {
        assert_eq!(decode(&[0x12, 0x01]), None);
        assert_eq!(decode(&[0x90]), None);
        assert_eq!(decode(&[]), Some(vec![]));
    }
}
