//! The report as one page: no script, no font, no picture from elsewhere.
//!
//! Bars are drawn here, line by line: a library for charts would bring more
//! code than this crate has, for rectangles.

use super::Run;
use super::peers::is_ours;
use super::samples::{FIGURES, Figure, Measured, mean, worst};
use std::fmt::Write;

/// Colours for ratios, text for a screen and for paper.
const STYLE: &str = "
body { font: 15px/1.5 system-ui, sans-serif; max-width: 76rem; margin: 2rem auto; padding: 0 1rem;
  color: #1b1f24; background: #fff }
h1 { font-size: 1.6rem } h2 { font-size: 1.2rem; margin-top: 2.2rem }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 13px }
th, td { padding: .15rem .55rem; text-align: right; border-bottom: 1px solid #e4e7eb }
th:first-child, td:first-child { text-align: left }
thead th { position: sticky; top: 0; background: #fff }
.good { background: #dcf3e0 } .bad { background: #fde7c8 } .worse { background: #f9c9c0 }
.faint { color: #6a737d } .ours { font-weight: 600 }
details summary { cursor: pointer; font-weight: 600; margin: 1rem 0 }
svg text { font: 12px system-ui, sans-serif; fill: #1b1f24 }
";

/// The whole page.
pub(super) fn page(run: &Run) -> String {
    let mut page = String::from("<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\">\n");
    let title = "granule and its peers";
    line(&mut page, &format!("<title>{title}</title><style>{STYLE}</style>\n<h1>{title}</h1>"));
    let (here, skipped) = (run.allocators.len(), run.skipped.len());
    line(
        &mut page,
        &format!(
            "<p>{} runs on {here} allocators, medians of {} rounds. {}. Transparent huge pages: \
             {}. Each ratio is to the best peer of its run, granule not among the peers: below 1 \
             is better than all of them. {skipped} peers skipped.</p>",
            run.measured.len(),
            run.rounds,
            escape(&run.machine),
            escape(&run.huge_pages),
        ),
    );
    for (figure, what) in [(&FIGURES[0], "Processor time"), (&FIGURES[2], "Peak resident memory")] {
        line(&mut page, &format!("<h2>{what}, geometric mean</h2>"));
        bars(&mut page, run, figure);
    }
    means(&mut page, run);
    for figure in [&FIGURES[0], &FIGURES[2]] {
        line(&mut page, &format!("<h2>granule at its worst: {}</h2>", figure.title));
        worst_bars(&mut page, run, figure);
    }
    for figure in &FIGURES {
        if run.measured.iter().any(|one| one.best_peer(figure).is_some()) {
            by_run(&mut page, run, figure);
        }
    }
    origins(&mut page, run);
    page
}

/// A bar an allocator, with whiskers from the best to the worst round.
fn bars(page: &mut String, run: &Run, figure: &Figure) {
    let rows: Vec<_> = run
        .allocators
        .iter()
        .enumerate()
        .filter_map(|(at, (name, _))| Some((*name, mean(&run.measured, at, figure)?)))
        .collect();
    let rows = rows.iter().map(|(name, mean)| Bar {
        name,
        value: mean.mean,
        whiskers: Some(mean.range),
        ours: is_ours(name),
    });
    draw(page, &rows.collect::<Vec<_>>());
}

/// A bar a run, the worst first.
fn worst_bars(page: &mut String, run: &Run, figure: &Figure) {
    let worst = worst(&run.measured, figure);
    let rows = worst.iter().take(15).map(|(at, ratio)| Bar {
        name: &run.measured[*at].workload,
        value: *ratio,
        whiskers: None,
        ours: true,
    });
    draw(page, &rows.collect::<Vec<_>>());
}

/// One bar.
struct Bar<'a> {
    name: &'a str,
    value: f64,
    whiskers: Option<(f64, f64)>,
    ours: bool,
}

/// Draws bars from 0, with a line at 1.
fn draw(page: &mut String, bars: &[Bar<'_>]) {
    const LEFT: u32 = 150;
    const WIDTH: f64 = 600.0;
    const ROW: usize = 22;
    let most = bars.iter().map(|bar| bar.whiskers.map_or(bar.value, |(_, high)| high));
    let scale = WIDTH / most.fold(1.2, f64::max);
    let height = bars.len() * ROW + 6;
    line(page, &format!("<svg width=\"860\" height=\"{height}\" role=\"img\">"));
    for (at, bar) in bars.iter().enumerate() {
        let (top, width) = (at * ROW + 3, bar.value * scale);
        let (text, name, value) = (top + 13, escape(bar.name), bar.value);
        let colour = if bar.ours { "#2f6fde" } else { "#aab4c0" };
        line(
            page,
            &format!(
                "<text x=\"{}\" y=\"{text}\" text-anchor=\"end\">{name}</text>\
                 <rect x=\"{LEFT}\" y=\"{top}\" width=\"{width:.1}\" height=\"16\" fill=\"{colour}\"/>",
                LEFT - 8
            ),
        );
        let mut end = f64::from(LEFT) + width;
        if let Some((low, high)) = bar.whiskers {
            let (from, to) = (f64::from(LEFT) + low * scale, f64::from(LEFT) + high * scale);
            let middle = top + 8;
            line(
                page,
                &format!(
                    "<path d=\"M{from:.1} {middle}H{to:.1}M{from:.1} {top}v16M{to:.1} {top}v16\" \
                     stroke=\"#1b1f24\" fill=\"none\"/>"
                ),
            );
            end = end.max(to);
        }
        line(page, &format!("<text x=\"{:.1}\" y=\"{text}\">{value:.2}</text>", end + 6.0));
    }
    let one = f64::from(LEFT) + scale;
    line(
        page,
        &format!(
            "<path d=\"M{one:.1} 0V{height}\" stroke=\"#c0392b\" stroke-dasharray=\"4 3\"/></svg>"
        ),
    );
}

/// The table of geometric means.
fn means(page: &mut String, run: &Run) {
    page.push_str("<h2>Geometric means</h2>\n<table><thead><tr><th>allocator<th>runs");
    for figure in &FIGURES {
        let _ = write!(page, "<th>{}", figure.short);
    }
    line(page, "</thead>");
    for (at, (name, _)) in run.allocators.iter().enumerate() {
        let runs = mean(&run.measured, at, &FIGURES[0]).map_or(0, |mean| mean.runs);
        let class = if is_ours(name) { " class=ours" } else { "" };
        let _ = write!(page, "<tr{class}><td>{name}<td>{runs}");
        for figure in &FIGURES {
            cell(page, mean(&run.measured, at, figure).map(|mean| mean.mean));
        }
        line(page, "");
    }
    line(page, "</table>");
}

/// The table of one figure, folded away.
fn by_run(page: &mut String, run: &Run, figure: &Figure) {
    let _ = write!(
        page,
        "<details><summary>{}, run by run</summary>\n<table><thead><tr><th>run<th>best peer<th>",
        figure.title
    );
    for (name, _) in &run.allocators {
        let _ = write!(page, "<th>{name}<th class=faint>+-");
    }
    line(page, "</thead>");
    for one in &run.measured {
        row(page, one, figure);
    }
    line(page, "</table></details>");
}

fn row(page: &mut String, one: &Measured, figure: &Figure) {
    let Some((name, best)) = one.best_peer(figure) else { return };
    let (workload, about) = (escape(&one.workload), escape(&one.about));
    let _ = write!(
        page,
        "<tr><td title=\"{about}\">{workload}<td class=faint>{name}<td class=faint>{}",
        (figure.text)(best)
    );
    for (at, on) in one.on.iter().enumerate() {
        cell(page, one.ratio(at, figure));
        let _ = write!(page, "<td class=faint>{:.0}%", on.spread(figure) * 100.0);
    }
    line(page, "");
}

/// A ratio, coloured by what it means.
fn cell(page: &mut String, ratio: Option<f64>) {
    // Writing to a string cannot fail, here and above.
    let _ = match ratio {
        None => write!(page, "<td class=faint>-"),
        Some(ratio) => {
            let class = match ratio {
                r if r < 0.97 => " class=good",
                r if r > 1.5 => " class=worse",
                r if r > 1.03 => " class=bad",
                _ => "",
            };
            write!(page, "<td{class}>{ratio:.2}")
        }
    };
}

/// Who took part, who did not, and what failed.
fn origins(page: &mut String, run: &Run) {
    line(page, "<h2>Allocators</h2>\n<table>");
    for (name, origin) in &run.allocators {
        line(page, &format!("<tr><td>{name}<td style=\"text-align:left\">{}", escape(origin)));
    }
    for (name, why) in &run.skipped {
        let why = escape(why);
        line(page, &format!("<tr><td>{name}<td style=\"text-align:left\">skipped: {why}"));
    }
    line(page, "</table>");
    for one in &run.measured {
        for on in &one.on {
            if let Some(failure) = &on.failure {
                let (workload, name) = (escape(&one.workload), on.allocator);
                let why = escape(&failure.0);
                line(page, &format!("<p class=bad>{workload} failed on {name}: {why}</p>"));
            }
        }
    }
}

fn line(page: &mut String, text: &str) {
    page.push_str(text);
    page.push('\n');
}

/// Text that means itself in a page.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_means_itself() {
        assert_eq!(escape("a<b & \"c\">"), "a&lt;b &amp; &quot;c&quot;&gt;");
    }

    #[test]
    fn a_page_stands_alone() {
        let run = Run {
            machine: "one".into(),
            huge_pages: "never".into(),
            rounds: 1,
            allocators: vec![(crate::bench::peers::OURS, "here".into())],
            skipped: vec![("nobody", "not <to> be had".into())],
            calls_not_counted: None,
            measured: Vec::new(),
        };
        let page = page(&run);
        assert!(page.contains("not &lt;to&gt; be had"));
        assert!(!page.contains("http") && !page.contains("<script"), "{page}");
    }
}
