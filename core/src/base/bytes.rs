//! What bytes hold.

/// Whether every byte is `value`. Compares the bytes with themselves, one byte
/// on: a loop with an early end looks at one byte at a time, `memcmp` at many.
pub(crate) fn is_all(bytes: &[u8], value: u8) -> bool {
    let Some((first, rest)) = bytes.split_first() else { return true };
    *first == value && rest == &bytes[..rest.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_other_byte_is_seen_wherever_it_is() {
        assert!(is_all(&[], 7) && is_all(&[7], 7) && !is_all(&[8], 7));
        for at in 0..9 {
            let mut bytes = [7; 9];
            assert!(is_all(&bytes, 7) && !is_all(&bytes, 8));
            bytes[at] = 8;
            assert!(!is_all(&bytes, 7) && !is_all(&bytes, 8), "{at}");
        }
    }
}
