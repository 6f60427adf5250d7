//! `/metrics` as numbers: Prometheus's text form, version 0.0.4
//! (<https://prometheus.io/docs/instrumenting/exposition_formats/>).

use std::collections::BTreeMap;

/// The series of an exposition, by the names of their samples.
#[derive(Clone, Debug, Default)]
pub(crate) struct Figures(BTreeMap<String, Vec<Series>>);

/// A number with its labels.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Series {
    labels: BTreeMap<String, String>,
    pub(crate) value: f64,
}

impl Series {
    /// A label; empty where it has none of this name.
    pub(crate) fn label(&self, name: &str) -> &str {
        self.labels.get(name).map_or("", String::as_str)
    }

    fn has(&self, labels: &[(&str, &str)]) -> bool {
        labels
            .iter()
            .all(|(name, value)| self.label(name) == *value)
    }
}

impl Figures {
    /// Reads an exposition; lines that are none of it are passed over.
    pub(crate) fn parse(text: &str) -> Self {
        let mut figures = Self::default();
        for (name, series) in text.lines().filter_map(sample) {
            figures.0.entry(name).or_default().push(series);
        }
        figures
    }

    /// The series of a name.
    pub(crate) fn series(&self, name: &str) -> &[Series] {
        self.0.get(name).map_or(&[], Vec::as_slice)
    }

    /// The sum over the series of a name that have these labels; `None` if there are none.
    pub(crate) fn sum(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let found: Vec<f64> = self
            .series(name)
            .iter()
            .filter(|one| one.has(labels))
            .map(|one| one.value)
            .collect();
        (!found.is_empty()).then(|| found.iter().sum())
    }

    /// The only number of a name.
    pub(crate) fn value(&self, name: &str) -> Option<f64> {
        self.sum(name, &[])
    }

    /// How much a counter has grown since `before`; all of it, where it began anew.
    pub(crate) fn growth(&self, before: &Self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let (now, before) = (
            self.sum(name, labels).unwrap_or(0.0),
            before.sum(name, labels).unwrap_or(0.0),
        );
        if now < before { now } else { now - before }
    }

    /// The series that have a label, by its values.
    pub(crate) fn split(&self, label: &str) -> BTreeMap<String, Self> {
        let mut parts: BTreeMap<String, Self> = BTreeMap::new();
        for (name, series) in &self.0 {
            for one in series.iter().filter(|one| one.labels.contains_key(label)) {
                let part = parts.entry(one.label(label).to_owned()).or_default();
                part.0.entry(name.clone()).or_default().push(one.clone());
            }
        }
        parts
    }

    /// The different values that a label has in the series of a name, in order.
    pub(crate) fn values_of(&self, name: &str, label: &str) -> Vec<String> {
        let mut values: Vec<String> = self
            .series(name)
            .iter()
            .map(|one| one.label(label).to_owned())
            .collect();
        values.sort();
        values.dedup();
        values
    }
}

/// A quantile of what a histogram counted between two looks, in its unit, between the bounds of the
/// bucket that it lies in as Prometheus's `histogram_quantile` has it. `None` if it counted
/// nothing.
pub(crate) fn quantile(
    share: f64,
    now: &Figures,
    before: &Figures,
    name: &str,
    labels: &[(&str, &str)],
) -> Option<f64> {
    let bucket = format!("{name}_bucket");
    let mut bounds: Vec<(f64, f64)> = Vec::new();
    for bound in now.values_of(&bucket, "le") {
        let labels: Vec<(&str, &str)> = labels
            .iter()
            .copied()
            .chain([("le", bound.as_str())])
            .collect();
        bounds.push((
            bound.parse().unwrap_or(f64::INFINITY),
            now.growth(before, &bucket, &labels),
        ));
    }
    bounds.sort_by(|one, other| one.0.total_cmp(&other.0));
    let total = bounds.last()?.1;
    let rank = share * total;
    let at = bounds
        .iter()
        .position(|(_, below)| *below >= rank)
        .filter(|_| total > 0.0)?;
    let (from, below) = if at == 0 { (0.0, 0.0) } else { bounds[at - 1] };
    let (to, up_to) = bounds[at];
    if to.is_infinite() {
        return Some(from);
    }
    Some(from + (to - from) * (rank - below) / (up_to - below).max(f64::MIN_POSITIVE))
}

/// A line's name, labels and value; `None` for comments and what is no sample.
fn sample(line: &str) -> Option<(String, Series)> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return None;
    }
    let end = line.find(['{', ' ', '\t'])?;
    let (name, rest) = line.split_at(end);
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(rest) => labels(rest)?,
        None => (BTreeMap::new(), rest),
    };
    let value = rest.split_whitespace().next()?.parse().ok()?;
    Some((name.to_owned(), Series { labels, value }))
}

/// Labels up to the closing brace, and what stands behind it.
fn labels(mut rest: &str) -> Option<(BTreeMap<String, String>, &str)> {
    let mut labels = BTreeMap::new();
    loop {
        rest = rest.trim_start_matches([' ', ',']);
        if let Some(rest) = rest.strip_prefix('}') {
            return Some((labels, rest));
        }
        let (name, quoted) = rest.split_once("=\"")?;
        let (value, end) = unescaped(quoted)?;
        labels.insert(name.trim().to_owned(), value);
        rest = &quoted[end..];
    }
}

/// A value up to its closing quote, and where what follows begins.
fn unescaped(quoted: &str) -> Option<(String, usize)> {
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, at + 1)),
            '\\' => match characters.next()?.1 {
                'n' => value.push('\n'),
                other => value.push(other),
            },
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_exposition_is_read_with_its_labels() {
        let figures = Figures::parse(
            "# HELP a It counts.\n# TYPE a counter\na{m=\"x\",v=\"1\"} 3\na{m=\"y\",v=\"1\"} 4.5e1 1700000000\n\
             b 1\nodd{m=\"a\\\\b\\\"c\\nd}\"} +Inf\nbroken{m=\"x\nbroken{m} 1\nnothing\n",
        );
        assert_eq!(figures.sum("a", &[("m", "x")]), Some(3.0));
        assert_eq!((figures.value("a"), figures.value("c")), (Some(48.0), None));
        assert_eq!(figures.values_of("a", "m"), ["x", "y"]);
        let parts = figures.split("m");
        assert_eq!(
            (
                parts["x"].value("a"),
                parts["y"].value("a"),
                parts["y"].value("odd")
            ),
            (Some(3.0), Some(45.0), None)
        );
        assert_eq!(figures.series("odd")[0].label("m"), "a\\b\"c\nd}");
        assert!(figures.series("odd")[0].value.is_infinite());
        assert!(figures.series("broken").is_empty());
    }

    #[test]
    fn counters_that_begin_anew_have_grown_by_all_they_have() {
        let (before, now) = (Figures::parse("a 10\nb 10"), Figures::parse("a 12\nb 3"));
        assert_eq!(
            (now.growth(&before, "a", &[]), now.growth(&before, "b", &[])),
            (2.0, 3.0)
        );
    }

    #[test]
    fn quantiles_are_those_of_what_came_between() {
        let told = |counts: [u32; 4]| {
            let bounds = ["0.1", "0.2", "0.4", "+Inf"];
            let lines = bounds
                .iter()
                .zip(counts)
                .map(|(le, count)| format!("h_bucket{{m=\"x\",le=\"{le}\"}} {count}"));
            Figures::parse(&lines.collect::<Vec<_>>().join("\n"))
        };
        let (before, now) = (told([100, 100, 100, 100]), told([100, 150, 200, 200]));
        let of = |share| quantile(share, &now, &before, "h", &[("m", "x")]).unwrap();
        // Between 0.1 and 0.2 lie 50 of 100, and between 0.2 and 0.4 the other 50.
        assert!(
            (of(0.25) - 0.15).abs() < 1e-9
                && (of(0.75) - 0.3).abs() < 1e-9
                && (of(0.99) - 0.396).abs() < 1e-9
        );
        assert_eq!(
            quantile(0.5, &before, &before, "h", &[]),
            None,
            "nothing came"
        );
        assert_eq!(
            quantile(0.5, &told([0, 0, 0, 9]), &told([0; 4]), "h", &[]),
            Some(0.4),
            "above every bound"
        );
    }

    proptest! {
        #[test]
        fn nothing_that_a_server_says_breaks_it(text in "(#|[a-z]|\\{|\\}|=|\"|\\\\|,| |[0-9]|\n){0,60}") {
            let figures = Figures::parse(&text);
            prop_assert!(figures.0.len() <= text.lines().count());
        }
    }
}
