//! The columns by their names.

use std::collections::HashMap;

use tidegate_expression::Type;

use crate::error::{CompileError, listed};
use crate::program::{Kind, Source};

/// The columns that steps can name, and which of them something uses.
#[derive(Debug, Default)]
pub(crate) struct Names {
    columns: HashMap<String, Named>,
    definitions: Vec<Definition>,
}

#[derive(Clone, Debug)]
struct Named {
    sources: Vec<Source>,
    definition: usize,
}

#[derive(Debug)]
struct Definition {
    /// What it is, for messages; `None` if nobody needs to hear of it.
    what: Option<String>,
    is_used: bool,
}

impl Names {
    /// Gives a name to columns that stand side by side.
    pub(crate) fn define(&mut self, name: &str, sources: Vec<Source>, what: String) {
        self.insert(name, sources, Some(what));
    }

    /// As [`Names::define`], for an output of the engine. Gives the number of the definition.
    pub(crate) fn define_output(
        &mut self,
        name: &str,
        sources: Vec<Source>,
    ) -> Result<usize, CompileError> {
        if self.columns.contains_key(name) {
            let problem = format!(
                "an output of the model has the name of the column \"{name}\"; give the column \
                 another one"
            );
            return Err(CompileError::new(problem));
        }
        // The outputs of a model that nobody asks for are nothing to warn of.
        Ok(self.insert(name, sources, None))
    }

    fn insert(&mut self, name: &str, sources: Vec<Source>, what: Option<String>) -> usize {
        let named = Named {
            sources,
            definition: self.definitions.len(),
        };
        self.definitions.push(Definition {
            what,
            is_used: false,
        });
        self.columns.insert(name.to_owned(), named);
        self.definitions.len() - 1
    }

    /// Gives a name to the result of a step: that of one of its inputs, which it replaces, or a new
    /// one.
    pub(crate) fn define_result(
        &mut self,
        name: &str,
        inputs: &[&str],
        sources: Vec<Source>,
    ) -> Result<(), CompileError> {
        self.check_new(name, inputs)?;
        self.define(name, sources, format!("column \"{name}\""));
        Ok(())
    }

    /// As [`Names::define_result`], for a new column that nothing has to use.
    pub(crate) fn define_extra(
        &mut self,
        name: &str,
        sources: Vec<Source>,
    ) -> Result<(), CompileError> {
        self.check_new(name, &[])?;
        self.insert(name, sources, None);
        Ok(())
    }

    fn check_new(&self, name: &str, inputs: &[&str]) -> Result<(), CompileError> {
        if self.columns.contains_key(name) && !inputs.contains(&name) {
            let problem = format!("there is a column \"{name}\" already");
            return Err(CompileError::new(problem));
        }
        Ok(())
    }

    /// The columns of a name, which are used from here on.
    pub(crate) fn find(&mut self, name: &str) -> Result<Vec<Source>, CompileError> {
        let Some(named) = self.columns.get(name) else {
            let mut known: Vec<&str> = self.columns.keys().map(String::as_str).collect();
            known.sort_unstable();
            let known = listed(known.into_iter());
            let problem = format!("there is no column \"{name}\", but {known}");
            return Err(CompileError::new(problem));
        };
        self.definitions[named.definition].is_used = true;
        Ok(named.sources.clone())
    }

    /// The only column of a name.
    pub(crate) fn find_one(&mut self, name: &str) -> Result<Source, CompileError> {
        let mut sources = self.find(name)?;
        match sources.len() {
            1 => Ok(sources.remove(0)),
            count => Err(CompileError::new(format!(
                "\"{name}\" has {count} columns, the step takes one"
            ))),
        }
    }

    /// The columns of a name, all of them numbers.
    pub(crate) fn find_numbers(&mut self, name: &str) -> Result<Vec<Source>, CompileError> {
        let sources = self.find(name)?;
        check_numbers(&sources)?;
        Ok(sources)
    }

    /// The only column of a name, which has numbers.
    pub(crate) fn find_number(&mut self, name: &str) -> Result<Source, CompileError> {
        let source = self.find_one(name)?;
        check_numbers(std::slice::from_ref(&source))?;
        Ok(source)
    }

    /// The only column of a name, of a kind.
    pub(crate) fn find_kind(&mut self, name: &str, kind: Kind) -> Result<Source, CompileError> {
        let source = self.find_one(name)?;
        if source.kind == kind {
            return Ok(source);
        }
        let (wanted, found) = (kind.name(), source.kind.name());
        let problem = format!("\"{name}\" is of type {found}, the step takes {wanted}");
        Err(CompileError::new(problem))
    }

    /// What an expression sees in a name; `None` for what it cannot use.
    pub(crate) fn expression_type(&self, name: &str) -> Option<Type> {
        let named = self.columns.get(name)?;
        match named.sources.as_slice() {
            [source] => source.kind.expression_type(),
            _ => None,
        }
    }

    /// Whether there is a column of this name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.columns.contains_key(name)
    }

    /// Whether something uses what a definition has made.
    pub(crate) fn is_used(&self, definition: usize) -> bool {
        self.definitions[definition].is_used
    }

    /// What nothing uses.
    pub(crate) fn unused(&self) -> Vec<String> {
        let definitions = self.definitions.iter();
        let unused = definitions.filter(|definition| !definition.is_used);
        unused
            .filter_map(|definition| definition.what.clone())
            .collect()
    }
}

/// Refuses columns that have no numbers.
pub(crate) fn check_numbers(sources: &[Source]) -> Result<(), CompileError> {
    match sources.iter().find(|source| !source.kind.is_number()) {
        None => Ok(()),
        Some(source) if source.kind == Kind::Tensor => {
            let name = &source.name;
            let problem = format!(
                "\"{name}\" is a tensor, the step takes columns; if it is an output of the model \
                 with a fixed number of columns, declare its shape in [[signature.outputs]]"
            );
            Err(CompileError::new(problem))
        }
        Some(source) => {
            let (name, kind) = (&source.name, source.kind.name());
            let problem = format!("\"{name}\" is of type {kind}, the step takes numbers");
            Err(CompileError::new(problem))
        }
    }
}
