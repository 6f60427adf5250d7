//! `/metrics` as numbers. The format is the text format of Prometheus, version 0.0.4
//! (<https://prometheus.io/docs/instrumenting/exposition_formats/>).

use std::collections::BTreeMap;

/// The samples of an exposition, by metric name.
#[derive(Clone, Debug, Default)]
pub(crate) struct MetricSamples(BTreeMap<String, Vec<Series>>);

/// A value with its labels.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Series {
    labels: BTreeMap<String, String>,
    pub(crate) value: f64,
}

impl Series {
    /// A label, or an empty text.
    pub(crate) fn label(&self, name: &str) -> &str {
        self.labels.get(name).map_or("", String::as_str)
    }

    fn has(&self, labels: &[(&str, &str)]) -> bool {
        labels
            .iter()
            .all(|(name, value)| self.label(name) == *value)
    }
}

impl MetricSamples {
    /// Reads an exposition, and skips lines that it cannot read.
    pub(crate) fn parse(text: &str) -> Self {
        let mut samples = Self::default();
        for (name, series) in text.lines().filter_map(parse_sample) {
            samples.0.entry(name).or_default().push(series);
        }
        samples
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

    /// The sum over all series of a name; `None` if there are none.
    pub(crate) fn value(&self, name: &str) -> Option<f64> {
        self.sum(name, &[])
    }

    /// How much a counter has grown since `before`, as `increase` of PromQL has it.
    pub(crate) fn increase(&self, before: &Self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let now = self.sum(name, labels).unwrap_or(0.0);
        // A series that did not exist then has counted from 0.
        let before = before.sum(name, labels).unwrap_or(0.0);
        // A counter that is smaller than before was reset: the process restarted.
        if now < before { now } else { now - before }
    }

    /// The series that have a label, grouped by its values.
    pub(crate) fn group_by(&self, label: &str) -> BTreeMap<String, Self> {
        let mut groups: BTreeMap<String, Self> = BTreeMap::new();
        for (name, series) in &self.0 {
            for one in series.iter().filter(|one| one.labels.contains_key(label)) {
                let group = groups.entry(one.label(label).to_owned()).or_default();
                group.0.entry(name.clone()).or_default().push(one.clone());
            }
        }
        groups
    }

    /// The different values of a label in the series of a name, sorted.
    pub(crate) fn label_values(&self, name: &str, label: &str) -> Vec<String> {
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

/// A quantile of what a histogram counted between `before` and `now`, in its unit; `None` if it
/// counted nothing. Interpolates within a bucket as `histogram_quantile` of PromQL does.
pub(crate) fn quantile(
    share: f64,
    now: &MetricSamples,
    before: &MetricSamples,
    name: &str,
    labels: &[(&str, &str)],
) -> Option<f64> {
    let buckets = bucket_increases(now, before, &format!("{name}_bucket"), labels);
    let total = buckets.last()?.1;
    if total <= 0.0 {
        return None;
    }
    let rank = share * total;
    let at = buckets.iter().position(|(_, count)| *count >= rank)?;
    // Values are taken to be spread evenly within a bucket, and the first bucket to begin at 0.
    let (lower, count_below) = if at == 0 { (0.0, 0.0) } else { buckets[at - 1] };
    let (upper, count) = buckets[at];
    if upper.is_infinite() {
        // Nothing is known beyond the largest finite bound.
        return Some(lower);
    }
    // The quantile 0 of an empty first bucket would be 0 / 0.
    let in_bucket = (count - count_below).max(f64::MIN_POSITIVE);
    Some(lower + (upper - lower) * (rank - count_below) / in_bucket)
}

/// The buckets of a histogram, sorted: upper bound and cumulative increase.
fn bucket_increases(
    now: &MetricSamples,
    before: &MetricSamples,
    bucket: &str,
    labels: &[(&str, &str)],
) -> Vec<(f64, f64)> {
    let mut buckets = Vec::new();
    for bound in now.label_values(bucket, "le") {
        let mut labels = labels.to_vec();
        labels.push(("le", &bound));
        let upper = bound.parse().unwrap_or(f64::INFINITY);
        buckets.push((upper, now.increase(before, bucket, &labels)));
    }
    buckets.sort_by(|one, other| one.0.total_cmp(&other.0));
    buckets
}

/// A line's name, labels and value; `None` for comments and for lines that are not samples.
fn parse_sample(line: &str) -> Option<(String, Series)> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return None;
    }
    let end = line.find(['{', ' ', '\t'])?;
    let (name, rest) = line.split_at(end);
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(rest) => parse_labels(rest)?,
        None => (BTreeMap::new(), rest),
    };
    // A timestamp may follow the value.
    let value = rest.split_whitespace().next()?.parse().ok()?;
    Some((name.to_owned(), Series { labels, value }))
}

/// Labels up to the closing brace, and the rest of the line.
fn parse_labels(mut rest: &str) -> Option<(BTreeMap<String, String>, &str)> {
    let mut labels = BTreeMap::new();
    loop {
        // The format allows a comma after the last label too.
        rest = rest.trim_start_matches([' ', ',']);
        if let Some(rest) = rest.strip_prefix('}') {
            return Some((labels, rest));
        }
        let (name, quoted) = rest.split_once("=\"")?;
        let (value, end) = unescape(quoted)?;
        labels.insert(name.trim().to_owned(), value);
        rest = &quoted[end..];
    }
}

/// A value up to its closing quote, and the index after that quote.
fn unescape(quoted: &str) -> Option<(String, usize)> {
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, at + 1)),
            // The format escapes the backslash, the quote and the line feed, nothing else.
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
    fn an_exposition_is_parsed_with_its_labels() {
        let samples = MetricSamples::parse(
            "# HELP a It counts.\n# TYPE a counter\na{m=\"x\",v=\"1\"} 3\na{m=\"y\",v=\"1\"} 4.5e1 1700000000\n\
             b 1\nodd{m=\"a\\\\b\\\"c\\nd}\"} +Inf\nbroken{m=\"x\nbroken{m} 1\nnothing\n",
        );
        assert_eq!(samples.sum("a", &[("m", "x")]), Some(3.0));
        assert_eq!((samples.value("a"), samples.value("c")), (Some(48.0), None));
        assert_eq!(samples.label_values("a", "m"), ["x", "y"]);
        let parts = samples.group_by("m");
        assert_eq!(
            (
                parts["x"].value("a"),
                parts["y"].value("a"),
                parts["y"].value("odd")
            ),
            (Some(3.0), Some(45.0), None)
        );
        assert_eq!(samples.series("odd")[0].label("m"), "a\\b\"c\nd}");
        assert!(samples.series("odd")[0].value.is_infinite());
        assert!(samples.series("broken").is_empty());
    }

    #[test]
    fn a_reset_counter_increased_by_its_whole_value() {
        let (before, now) = (
            MetricSamples::parse("a 10\nb 10"),
            MetricSamples::parse("a 12\nb 3"),
        );
        assert_eq!(
            (
                now.increase(&before, "a", &[]),
                now.increase(&before, "b", &[])
            ),
            (2.0, 3.0)
        );
    }

    #[test]
    fn quantiles_are_of_the_increase_between_two_expositions() {
        let histogram = |counts: [u32; 4]| {
            let bounds = ["0.1", "0.2", "0.4", "+Inf"];
            let lines = bounds
                .iter()
                .zip(counts)
                .map(|(le, count)| format!("h_bucket{{m=\"x\",le=\"{le}\"}} {count}"));
            MetricSamples::parse(&lines.collect::<Vec<_>>().join("\n"))
        };
        let (before, now) = (
            histogram([100, 100, 100, 100]),
            histogram([100, 150, 200, 200]),
        );
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
            quantile(0.5, &histogram([0, 0, 0, 9]), &histogram([0; 4]), "h", &[]),
            Some(0.4),
            "above every bound"
        );
    }

    proptest! {
        #[test]
        fn no_response_of_a_server_panics(text in "(#|[a-z]|\\{|\\}|=|\"|\\\\|,| |[0-9]|\n){0,60}") {
            let samples = MetricSamples::parse(&text);
            prop_assert!(samples.0.len() <= text.lines().count());
        }
    }
}
