//! Medians, means and figures a person can read.

use std::time::Duration;

/// The middle of `values`, or the mean of the middle two; 0 for none.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => 0.0,
        n if n % 2 == 1 => sorted[n / 2],
        n => f64::midpoint(sorted[n / 2 - 1], sorted[n / 2]),
    }
}

/// The geometric mean of positive `values`; 1 for none, as an empty product.
pub(crate) fn geometric_mean(values: &[f64]) -> f64 {
    if values.is_empty() {
        return 1.0;
    }
    let logs: f64 = values.iter().map(|value| value.ln()).sum();
    (logs / count(values.len())).exp()
}

/// How far the middle half of `values` lies apart: the distance between the
/// quartiles, in parts of the median; 0 for none.
pub(crate) fn quartile_spread(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (middle, last) = (median(values), sorted.len().saturating_sub(1));
    if middle == 0.0 {
        return 0.0;
    }
    // Between two values a quartile is where it divides their distance.
    let at = |quarters: usize| {
        let (below, part) = (last * quarters / 4, last * quarters % 4);
        let above = (below + 1).min(last);
        sorted[below] + (sorted[above] - sorted[below]) * count(part) / 4.0
    };
    (at(3) - at(1)) / middle
}

/// `part / whole`, or 1 when there is nothing to compare with.
pub(crate) fn ratio(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 1.0 }
}

/// A count as a float; counts here are far below 2^52.
#[expect(clippy::cast_precision_loss, reason = "counts here are far below 2^52")]
pub(crate) fn count(value: usize) -> f64 {
    value as f64
}

/// KiB as a float.
#[expect(clippy::cast_precision_loss, reason = "memory sizes here are far below 2^52 KiB")]
pub(crate) fn kib(value: u64) -> f64 {
    value as f64
}

/// Seconds with three significant digits: `1.23 s`, `45.6 ms`, `789 us`.
pub(crate) fn seconds(value: f64) -> String {
    match value {
        v if v >= 1.0 => format!("{} s", three_digits(v)),
        v if v >= 1e-3 => format!("{} ms", three_digits(v * 1e3)),
        v => format!("{} us", three_digits(v * 1e6)),
    }
}

/// KiB as MiB with one decimal.
pub(crate) fn mebibytes(kib: f64) -> String {
    format!("{:.1} MiB", kib / 1024.0)
}

/// Three significant digits, no exponent.
pub(crate) fn three_digits(value: f64) -> String {
    match value {
        v if v >= 99.95 => format!("{v:.0}"),
        v if v >= 9.995 => format!("{v:.1}"),
        v => format!("{v:.2}"),
    }
}

/// A duration of a stage: `4.2 s`, `2 min 05 s`.
pub(crate) fn elapsed(time: Duration) -> String {
    match time.as_secs() {
        whole if whole < 60 => format!("{:.1} s", time.as_secs_f64()),
        whole => format!("{} min {:02} s", whole / 60, whole % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_takes_the_middle() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!(median(&[]), 0.0);
    }

    #[test]
    fn geometric_mean_of_inverse_ratios_is_one() {
        assert!((geometric_mean(&[4.0, 0.25]) - 1.0).abs() < 1e-12);
        assert!((geometric_mean(&[2.0, 8.0]) - 4.0).abs() < 1e-12);
    }

    #[test]
    fn spread_is_relative() {
        assert_eq!(quartile_spread(&[9.0, 10.0, 12.0]), 0.15);
        assert_eq!(quartile_spread(&[1.0, 2.0, 3.0, 4.0, 100.0]), 2.0 / 3.0);
        assert_eq!(quartile_spread(&[5.0]), 0.0);
        assert_eq!(quartile_spread(&[]), 0.0);
    }

    #[test]
    fn figures_keep_three_digits() {
        assert_eq!(seconds(1.234), "1.23 s");
        assert_eq!(seconds(0.0456), "45.6 ms");
        assert_eq!(seconds(0.000_789), "789 us");
        assert_eq!(elapsed(Duration::from_secs(125)), "2 min 05 s");
    }
}
