//! Callgrind's own format, as far as it is needed: who executed how much, and who called whom.
//!
//! <https://valgrind.org/docs/manual/cl-format.html>. Names stand as `(NUMBER) NAME` where they come first and as
//! `(NUMBER)` from then on; `fi=` and `fe=` say that the lines behind are code of another file that
//! was inlined.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context, Result};

/// What was counted.
#[derive(Default)]
pub(super) struct Profile {
    /// By object and name.
    pub(super) functions: HashMap<Name, Function>,
}

/// The numbers of a function's object and of its name.
pub(super) type Name = (u32, u32);

/// A function's own instructions, and those of what it called.
#[derive(Default)]
pub(super) struct Function {
    pub(super) object: String,
    /// The source file that it is written in; `???` where that is not known.
    pub(super) file: String,
    /// By the source file that the code came from.
    pub(super) own: HashMap<String, u64>,
    /// The source file of the call, who was called, and what that took in all.
    pub(super) calls: Vec<(String, Name, u64)>,
}

impl Profile {
    pub(super) fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read {}", path.display()))?;
        let mut reader = Reader::default();
        text.lines().try_for_each(|line| reader.line(line))?;
        Ok(reader.profile)
    }
}

/// Where in a profile the next line stands.
#[derive(Default)]
struct Reader {
    profile: Profile,
    objects: HashMap<u32, String>,
    files: HashMap<u32, String>,
    object: u32,
    function: Name,
    /// The file of the function, and of the lines that come.
    file: u32,
    inlined: u32,
    /// The object and name that are called next, and whether the next line is what the call took.
    called: Name,
    is_call: bool,
}

impl Reader {
    fn line(&mut self, line: &str) -> Result<()> {
        if let Some((key, value)) = line.split_once('=') {
            match key {
                "ob" => self.object = note(&mut self.objects, value)?,
                "cob" => self.called.0 = note(&mut self.objects, value)?,
                "fl" => {
                    self.file = note(&mut self.files, value)?;
                    self.inlined = self.file;
                }
                "fi" | "fe" => self.inlined = note(&mut self.files, value)?,
                "cfi" | "cfl" => drop(note(&mut self.files, value)?),
                "fn" => {
                    self.function = (self.object, number(value)?);
                    self.called.0 = self.object;
                    let (object, file) =
                        (self.objects.get(&self.object), self.files.get(&self.file));
                    let function = self.profile.functions.entry(self.function).or_default();
                    function.object = object.cloned().unwrap_or_default();
                    function.file = file.cloned().unwrap_or_default();
                    self.inlined = self.file;
                }
                "cfn" => self.called.1 = number(value)?,
                "calls" => self.is_call = true,
                _ => {}
            }
        } else if line.starts_with(|first: char| first.is_ascii_digit() || "+-*".contains(first)) {
            let cost = line.rsplit(' ').next().unwrap_or_default();
            self.cost(cost.parse().with_context(|| format!("no cost: {line}"))?);
        }
        Ok(())
    }

    fn cost(&mut self, cost: u64) {
        let file = self.files.get(&self.inlined).cloned().unwrap_or_default();
        let function = self.profile.functions.entry(self.function).or_default();
        if std::mem::take(&mut self.is_call) {
            function.calls.push((file, self.called, cost));
            self.called.0 = self.object;
        } else {
            *function.own.entry(file).or_default() += cost;
        }
    }
}

/// The number of a name, which is noted where it comes first.
fn note(names: &mut HashMap<u32, String>, value: &str) -> Result<u32> {
    let number = number(value)?;
    if let Some((_, name)) = value.split_once(' ') {
        names.insert(number, name.to_owned());
    }
    Ok(number)
}

fn number(value: &str) -> Result<u32> {
    let number = value
        .strip_prefix('(')
        .and_then(|rest| rest.split_once(')'));
    let (number, _) = number.with_context(|| format!("no number of a name: {value}"))?;
    Ok(number.parse()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_code_inlined_code_and_calls_are_told_apart() {
        let text = "\
events: Ir

ob=(1) /bin/server
fl=(1) a.rs
fn=(1) serve
10 5
fi=(2) b.rs
3 7
fe=(1)
cob=(2) /lib/libc.so
cfi=(3) ???
cfn=(2) memcpy
calls=2 0
12 40
+1 1

ob=(2)
fl=(3)
fn=(2)
0 40
";
        let mut reader = Reader::default();
        text.lines().for_each(|line| reader.line(line).unwrap());
        let serve = &reader.profile.functions[&(1, 1)];
        assert_eq!(
            (serve.object.as_str(), serve.file.as_str()),
            ("/bin/server", "a.rs")
        );
        assert_eq!((serve.own["a.rs"], serve.own["b.rs"]), (6, 7));
        assert_eq!(serve.calls, [("a.rs".to_owned(), (2, 2), 40)]);
        assert_eq!(reader.profile.functions[&(2, 2)].own["???"], 40);
    }
}
