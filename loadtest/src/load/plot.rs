//! Plots as SVG text: axes with round numbers, lines, points that say their value when pointed at. No script, so that a
//! report opens anywhere; colours come from the page, light or dark.

use std::fmt::Write;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 260.0;
/// Room for the labels: left, right, top, bottom.
const MARGIN: [f64; 4] = [64.0, 16.0, 12.0, 40.0];
/// Ticks of an axis, about.
const TICKS: f64 = 6.0;
/// Series beyond this share the last colour.
const COLOURS: usize = 6;
/// Lines of more points than this have no marks.
const MARKS_MAX: usize = 60;

/// How values lie along an axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// Evenly, from zero.
    Linear,
    /// By powers of ten; values of zero and less are left out.
    Log,
}

/// One axis.
#[derive(Clone, Debug)]
pub struct Axis<'t> {
    /// What it shows, with the unit.
    pub label: &'t str,
    /// How.
    pub scale: Scale,
}

/// One line.
#[derive(Clone, Debug)]
pub struct Series {
    /// Its name in the legend.
    pub name: String,
    /// Its points from left to right.
    pub points: Vec<(f64, f64)>,
}

impl Series {
    /// A line of this name.
    pub fn new(name: impl Into<String>, points: impl IntoIterator<Item = (f64, f64)>) -> Self {
        Self { name: name.into(), points: points.into_iter().collect() }
    }
}

/// A plot of several lines. Text from outside is made harmless.
#[must_use]
pub fn lines(title: &str, x: &Axis<'_>, y: &Axis<'_>, series: &[Series]) -> String {
    let visible = |&(at, value): &(f64, f64)| {
        let fits = |scale, value: f64| value.is_finite() && (scale == Scale::Linear || value > 0.0);
        fits(x.scale, at) && fits(y.scale, value)
    };
    let shown: Vec<Series> = series
        .iter()
        .map(|line| Series::new(line.name.clone(), line.points.iter().copied().filter(visible)))
        .collect();
    let all = || shown.iter().flat_map(|line| &line.points);
    let mut figure = format!("<figure><figcaption>{}</figcaption>\n", escape(title));
    if all().next().is_none() {
        figure.push_str("<p class=\"none\">nothing to show</p></figure>\n");
        return figure;
    }
    legend(&mut figure, &shown);
    let across = Span::of(all().map(|point| point.0), x.scale, [MARGIN[0], WIDTH - MARGIN[1]]);
    let up = Span::of(all().map(|point| point.1), y.scale, [HEIGHT - MARGIN[3], MARGIN[2]]);
    let _ = writeln!(
        figure,
        "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">",
        escape(title)
    );
    axes(&mut figure, (x, &across), (y, &up));
    for (number, line) in shown.iter().enumerate() {
        draw(&mut figure, number.min(COLOURS - 1), line, &across, &up);
    }
    figure.push_str("</svg></figure>\n");
    figure
}

fn legend(figure: &mut String, series: &[Series]) {
    // One line is named by the title.
    if series.len() < 2 {
        return;
    }
    figure.push_str("<ul class=\"legend\">");
    for (number, line) in series.iter().enumerate() {
        let colour = number.min(COLOURS - 1);
        let _ = write!(figure, "<li><span class=\"key c{colour}\"></span>{}</li>", escape(&line.name));
    }
    figure.push_str("</ul>\n");
}

fn axes(figure: &mut String, (x, across): (&Axis<'_>, &Span), (y, up): (&Axis<'_>, &Span)) {
    let [left, right, top, bottom] = [MARGIN[0], WIDTH - MARGIN[1], MARGIN[2], HEIGHT - MARGIN[3]];
    for tick in up.ticks() {
        let at = up.place(tick);
        let _ = writeln!(
            figure,
            "<line class=\"grid\" x1=\"{left}\" x2=\"{right}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>\
             <text class=\"tick\" text-anchor=\"end\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            left - 6.0,
            at + 4.0,
            number(tick)
        );
    }
    for tick in across.ticks() {
        let at = across.place(tick);
        let _ = writeln!(
            figure,
            "<line class=\"grid\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{top}\" y2=\"{bottom}\"/>\
             <text class=\"tick\" text-anchor=\"middle\" x=\"{at:.1}\" y=\"{:.1}\">{}</text>",
            bottom + 16.0,
            number(tick)
        );
    }
    let _ = writeln!(
        figure,
        "<line class=\"axis\" x1=\"{left}\" x2=\"{right}\" y1=\"{bottom}\" y2=\"{bottom}\"/>\
         <text class=\"label\" text-anchor=\"end\" x=\"{right}\" y=\"{:.1}\">{}</text>\
         <text class=\"label\" x=\"{:.1}\" y=\"{:.1}\" transform=\"rotate(-90 12 {top})\" \
         text-anchor=\"end\">{}</text>",
        HEIGHT - 6.0,
        escape(x.label),
        12.0,
        top,
        escape(y.label)
    );
}

fn draw(figure: &mut String, colour: usize, line: &Series, across: &Span, up: &Span) {
    let place = |&(at, value): &(f64, f64)| (across.place(at), up.place(value));
    let path: Vec<String> = line.points.iter().map(place).map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
    let _ = writeln!(figure, "<polyline class=\"line s{colour}\" points=\"{}\"/>", path.join(" "));
    if line.points.len() > MARKS_MAX {
        return;
    }
    for point in &line.points {
        let (x, y) = place(point);
        let _ = writeln!(
            figure,
            "<circle class=\"mark f{colour}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\"><title>{}: {} at {}</title>\
             </circle>",
            escape(&line.name),
            number(point.1),
            number(point.0)
        );
    }
}

/// The values an axis shows, and where on the page.
struct Span {
    scale: Scale,
    from: f64,
    to: f64,
    page: [f64; 2],
}

impl Span {
    fn of(values: impl Iterator<Item = f64>, scale: Scale, page: [f64; 2]) -> Self {
        let (mut least, mut most) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in values {
            least = least.min(value);
            most = most.max(value);
        }
        let (from, to) = match scale {
            Scale::Linear => (least.min(0.0), if most > 0.0 { most * 1.05 } else { 1.0 }),
            Scale::Log => {
                let from = 10_f64.powf(least.log10().floor());
                (from, 10_f64.powf(most.log10().ceil()).max(from * 10.0))
            }
        };
        Self { scale, from, to, page }
    }

    fn place(&self, value: f64) -> f64 {
        let share = match self.scale {
            Scale::Linear => (value - self.from) / (self.to - self.from),
            Scale::Log => (value / self.from).log10() / (self.to / self.from).log10(),
        };
        self.page[0] + share * (self.page[1] - self.page[0])
    }

    fn ticks(&self) -> Vec<f64> {
        match self.scale {
            Scale::Linear => {
                let step = round_step((self.to - self.from) / TICKS);
                let first = (self.from / step).ceil() as i64;
                let last = (self.to / step).floor() as i64;
                (first..=last).map(|tick| tick as f64 * step).collect()
            }
            Scale::Log => {
                let (first, last) = (self.from.log10().round() as i32, self.to.log10().round() as i32);
                (first..=last).map(|power| 10_f64.powi(power)).collect()
            }
        }
    }
}

/// The next of 1, 2, 5 times a power of ten.
fn round_step(step: f64) -> f64 {
    let power = 10_f64.powf(step.log10().floor());
    let found = [1.0, 2.0, 5.0].into_iter().find(|factor| factor * power >= step * 0.999);
    found.unwrap_or(10.0) * power
}

/// A number as short as it can be read.
#[must_use]
pub fn number(value: f64) -> String {
    let (scaled, unit) = match value.abs() {
        big if big >= 1e9 => (value / 1e9, "G"),
        big if big >= 1e6 => (value / 1e6, "M"),
        big if big >= 1e4 => (value / 1e3, "k"),
        _ => (value, ""),
    };
    let digits = match scaled.abs() {
        big if big >= 100.0 => 0,
        big if big >= 1.0 => 2,
        _ => 4,
    };
    let text = format!("{scaled:.digits$}");
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text}{unit}")
}

/// Text that cannot be taken for markup.
#[must_use]
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Every element is closed in the order it was opened, and every attribute quoted.
    pub(in crate::load) fn assert_well_formed(markup: &str) {
        let mut open: Vec<&str> = Vec::new();
        let mut rest = markup;
        while let Some(start) = rest.find('<') {
            assert!(
                !rest[..start].contains('>'),
                "a stray > before {:?}",
                &rest[start..][..40.min(rest.len() - start)]
            );
            let end = rest[start..].find('>').expect("a tag ends") + start;
            let tag = &rest[start + 1..end];
            rest = &rest[end + 1..];
            if tag.starts_with('!') {
                continue;
            }
            if let Some(name) = tag.strip_prefix('/') {
                assert_eq!(open.pop(), Some(name), "closed");
                continue;
            }
            assert!(tag.matches('"').count().is_multiple_of(2), "{tag}");
            let name = tag.split_ascii_whitespace().next().unwrap_or_default();
            if !tag.ends_with('/') && name != "meta" {
                open.push(name);
            }
        }
        assert_eq!(open, Vec::<&str>::new(), "left open");
    }

    const X: Axis<'static> = Axis { label: "s", scale: Scale::Linear };

    #[test]
    fn a_plot_is_well_formed_whatever_it_shows() {
        let log = Axis { label: "us", scale: Scale::Log };
        let evil = Series::new("<b>&\"", [(0.0, 1.0), (1.0, 0.0), (2.0, f64::NAN), (3.0, 250.0)]);
        let other = Series::new("b", (0..200).map(|at| (f64::from(at), 7.0)));
        let plot = lines("<evil>", &X, &log, &[evil, other]);
        assert_well_formed(&plot);
        // Zero has no place on this axis; long lines have no marks.
        assert_eq!(plot.matches("<circle").count(), 2);
        assert!(plot.contains("&lt;b&gt;") && !plot.contains("<b>"));
        for nothing in [vec![], vec![Series::new("a", [])]] {
            let plot = lines("none", &X, &X, &nothing);
            assert_well_formed(&plot);
            assert!(plot.contains("nothing to show"));
        }
    }

    #[test]
    fn higher_values_are_higher_up_and_ticks_are_round() {
        let span = Span::of([3.0, 97.0].into_iter(), Scale::Linear, [220.0, 12.0]);
        assert!(span.place(97.0) < span.place(3.0) && span.place(0.0) == 220.0);
        assert_eq!(span.ticks(), [0.0, 20.0, 40.0, 60.0, 80.0, 100.0]);
        let log = Span::of([30.0, 2000.0].into_iter(), Scale::Log, [0.0, 300.0]);
        assert_eq!(log.ticks(), [10.0, 100.0, 1000.0, 10_000.0]);
        assert!((log.place(100.0) - 100.0).abs() < 1e-9);
    }

    #[test]
    fn numbers_are_short() {
        let words = [0.0, 0.125, 3.0, 1234.0, 25_000.0, 1_500_000.0, 2e9].map(number);
        assert_eq!(words, ["0", "0.125", "3", "1234", "25k", "1.5M", "2G"]);
    }
}
