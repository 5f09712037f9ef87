//! How often and how much, arm by arm, with intervals, as pictures beside the
//! numbers they show.

use super::markup::Markup;
use crate::outcome::Outcome;
use crate::report::model::{Comparison, Report};
use crate::report::moved::{Missed, told};
use crate::report::table::{figure, rate};
use crate::verdict::interval;

/// The width of a picture, in its own units.
const WIDTH: f64 = 200.0;

/// The section.
pub(super) fn figures(page: &mut Markup, report: &Report) {
    page.raw("<section aria-labelledby=\"figures\">\n<h2 id=\"figures\">How often</h2>\n")
        .raw("<table class=\"figure\">\n<caption>Trials that showed the target, and the 95 % ")
        .raw("interval of its rate, from 0 to 100 %</caption>\n");
    for arm in &report.arms {
        let result = arm.result();
        let (hits, trials) = (result.count(Outcome::Target), result.telling());
        page.raw("<tr><th scope=\"row\">").text(&arm.name);
        if arm.control {
            page.raw(" <span class=\"role\">control</span>");
        }
        page.raw("</th><td class=\"picture\">");
        let (low, high) = interval(hits, trials);
        if trials > 0 {
            let share = f64::from(hits) / f64::from(trials);
            let at = |share: f64| share * WIDTH;
            picture(page, Some((at(low), at(high))), &[], Some(at(share)));
        }
        page.raw("</td><td class=\"number\">")
            .show(hits)
            .raw("/")
            .show(trials);
        page.raw("</td><td class=\"number\">");
        page.text(&rate(hits, trials));
        page.raw("</td></tr>\n");
    }
    page.raw("</table>\n");
    for measure in &report.comparison {
        comparison(page, report, measure);
    }
    for coverage in &report.coverage {
        let (sentence, missed) = told(coverage);
        page.raw("<details>\n<summary>").text(&sentence);
        page.raw("</summary>\n<ul>\n");
        for Missed { how, row } in missed {
            page.raw("<li>")
                .text(&how)
                .raw(": <code>")
                .text(row)
                .raw("</code></li>\n");
        }
        page.raw("</ul>\n</details>\n");
    }
    page.raw("</section>\n");
}

/// A measure: each trial as a thin line, the median as a thick one.
fn comparison(page: &mut Markup, report: &Report, measure: &Comparison) {
    let most = measure
        .samples
        .iter()
        .flatten()
        .copied()
        .fold(0.0, f64::max);
    let most = measure
        .values
        .iter()
        .flatten()
        .copied()
        .fold(most, f64::max);
    let at = |value: f64| {
        if most > 0.0 {
            value / most * WIDTH
        } else {
            0.0
        }
    };
    page.raw("<table class=\"figure\">\n<caption>")
        .text(&measure.name);
    page.raw(": median and each trial, from 0 to ")
        .text(&figure(most))
        .raw("</caption>\n");
    for (number, (arm, value)) in report.arms.iter().zip(&measure.values).enumerate() {
        page.raw("<tr><th scope=\"row\">")
            .text(&arm.name)
            .raw("</th><td class=\"picture\">");
        let samples = measure.samples.get(number).map_or(&[][..], Vec::as_slice);
        let interval = of_median(samples);
        if let Some(value) = value {
            let samples: Vec<f64> = samples.iter().take(200).map(|value| at(*value)).collect();
            let interval = interval.map(|(low, high)| (at(low), at(high)));
            picture(page, interval, &samples, Some(at(*value)));
        }
        page.raw("</td><td class=\"number\">");
        page.text(&value.map_or_else(|| "-".to_owned(), figure))
            .raw("</td><td class=\"number\">");
        if let Some((low, high)) = interval {
            page.text(&format!("{}-{}", figure(low), figure(high)));
        }
        page.raw("</td></tr>\n");
    }
    page.raw("</table>\n");
}

/// A strip: an interval as a bar, samples as thin lines, a value as a thick one.
pub(crate) fn picture(
    page: &mut Markup,
    bar: Option<(f64, f64)>,
    samples: &[f64],
    value: Option<f64>,
) {
    page.raw("<svg viewBox=\"-3 0 206 20\" preserveAspectRatio=\"none\" aria-hidden=\"true\">")
        .raw("<line class=\"tick\" x1=\"0\" x2=\"200\" y1=\"10\" y2=\"10\"/>");
    if let Some((low, high)) = bar {
        page.raw("<rect class=\"interval\" x=\"")
            .at(low)
            .raw("\" y=\"4\" width=\"");
        page.at((high - low).max(1.0)).raw("\" height=\"12\"/>");
    }
    for sample in samples {
        page.raw("<rect class=\"sample\" x=\"").at(*sample);
        page.raw("\" y=\"4\" width=\"1\" height=\"12\"/>");
    }
    if let Some(value) = value {
        page.raw("<rect class=\"value\" x=\"").at(value - 1.5);
        page.raw("\" y=\"1\" width=\"3\" height=\"18\"/>");
    }
    page.raw("</svg>");
}

/// The interval of a median at 95 %, from the ranks of samples, whatever their
/// distribution; fewer than six tell none.
fn of_median(samples: &[f64]) -> Option<(f64, f64)> {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let n = sorted.len();
    // The chance that at most k of n lie on one side of the median is the
    // binomial's with one half. Take the widest k that leaves at most 2.5 %.
    let mut chance = 0.5_f64.powi(i32::try_from(n).ok()?);
    let mut sum = 0.0;
    let mut outside = 0;
    for k in 0..n / 2 {
        sum += chance;
        if sum > 0.025 {
            break;
        }
        outside = k + 1;
        #[expect(clippy::cast_precision_loss, reason = "numbers of trials")]
        let ratio = (n - k) as f64 / (k + 1) as f64;
        chance *= ratio;
    }
    (outside > 0).then(|| (sorted[outside - 1], sorted[n - outside]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_the_books() {
        // Six samples: both ends, at 1 - 2/64; of ten, the second and the ninth.
        let samples: Vec<f64> = (1..=10).map(f64::from).collect();
        assert_eq!(of_median(&samples[..5]), None);
        assert_eq!(of_median(&samples[..6]), Some((1.0, 6.0)));
        assert_eq!(of_median(&samples), Some((2.0, 9.0)));
    }
}
