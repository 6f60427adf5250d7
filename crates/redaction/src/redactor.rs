//! The rules together.

use std::borrow::Cow;

use regex_lite::{Regex, RegexBuilder};

use crate::detect::Found;
use crate::fields::Fields;
use crate::path::Path;
use crate::{Detector, PrivacyConfig, PrivacyError, credentials};

/// Most memory of a compiled pattern, in bytes.
const MAX_PATTERN_SIZE: usize = 1 << 20;

/// Replaces what its rules find.
#[derive(Clone, Debug)]
pub struct Redactor {
    pub(crate) fields: Fields,
    pub(crate) paths: Vec<Path>,
    patterns: Vec<Regex>,
    detectors: Vec<Detector>,
    pub(crate) replacement: String,
}

impl Default for Redactor {
    fn default() -> Self {
        Self::new(&PrivacyConfig::default()).expect("the default rules are right")
    }
}

impl Redactor {
    /// The rules of a configuration, and those for credentials.
    ///
    /// # Errors
    /// What is wrong with the configuration.
    pub fn new(config: &PrivacyConfig) -> Result<Self, PrivacyError> {
        config.check()?;
        let paths = config.paths.iter().map(|path| Path::parse(path));
        let patterns = config.patterns.iter().map(|pattern| compiled(pattern));
        let redactor = Self {
            fields: Fields::new(&config.fields),
            paths: paths.collect::<Result<_, _>>()?,
            patterns: patterns.collect::<Result<_, _>>()?,
            detectors: config.detectors.clone(),
            replacement: String::new(),
        };
        // Else each pass would replace what the one before has put there.
        if !redactor.found(&config.replacement).is_empty() {
            return Err(PrivacyError::Replacement(config.replacement.clone()));
        }
        Ok(Self {
            replacement: config.replacement.clone(),
            ..redactor
        })
    }

    /// A text without what the rules find in it.
    pub fn text<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let found = self.found(text);
        if found.is_empty() {
            return Cow::Borrowed(text);
        }
        let mut redacted = String::with_capacity(text.len());
        let mut from = 0;
        for range in found {
            redacted.push_str(&text[from..range.start]);
            redacted.push_str(&self.replacement);
            from = range.end;
        }
        redacted.push_str(&text[from..]);
        Cow::Owned(redacted)
    }

    /// The value of a name: a header, an attribute, a field of the log.
    pub fn named<'a>(&'a self, name: &str, value: &'a str) -> Cow<'a, str> {
        match self.fields.contains(name) {
            true => Cow::Borrowed(&self.replacement),
            false => self.text(value),
        }
    }

    /// An element of a named tensor of BYTES. One that is no text is replaced whole if anything is
    /// found in what of it is text.
    pub fn element<'a>(&'a self, tensor: &str, element: &'a [u8]) -> Cow<'a, [u8]> {
        if self.fields.contains(tensor) {
            return Cow::Borrowed(self.replacement.as_bytes());
        }
        match String::from_utf8_lossy(element) {
            Cow::Borrowed(text) => match self.text(text) {
                Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
                Cow::Owned(redacted) => Cow::Owned(redacted.into_bytes()),
            },
            Cow::Owned(lossy) => match self.found(&lossy).is_empty() {
                true => Cow::Borrowed(element),
                false => Cow::Borrowed(self.replacement.as_bytes()),
            },
        }
    }

    /// What the rules find in a text: in order, none within or next to another.
    pub(crate) fn found(&self, text: &str) -> Found {
        let mut found = Found::new();
        credentials::find(text, &mut found);
        self.fields.find(text, &mut found);
        for detector in &self.detectors {
            detector.find(text, &mut found);
        }
        for pattern in &self.patterns {
            let matches = pattern.find_iter(text).map(|one| one.range());
            found.extend(matches.filter(|range| !range.is_empty()));
        }
        merged(found, text, &self.replacement)
    }
}

fn compiled(pattern: &str) -> Result<Regex, PrivacyError> {
    let compiled = RegexBuilder::new(pattern)
        .size_limit(MAX_PATTERN_SIZE)
        .build();
    let compiled = compiled.map_err(|error| PrivacyError::Pattern {
        pattern: pattern.to_owned(),
        problem: error.to_string(),
    })?;
    match compiled.is_match("") {
        true => Err(PrivacyError::Empty(pattern.to_owned())),
        false => Ok(compiled),
    }
}

/// Ranges that overlap as one, without those that are replaced already.
fn merged(mut found: Found, text: &str, replacement: &str) -> Found {
    found.retain(|range| &text[range.clone()] != replacement);
    found.sort_by_key(|range| range.start);
    let mut merged = Found::new();
    for range in found {
        match merged.last_mut() {
            Some(last) if range.start < last.end => last.end = last.end.max(range.end),
            _ => merged.push(range),
        }
    }
    merged
}

#[cfg(test)]
mod tests;
