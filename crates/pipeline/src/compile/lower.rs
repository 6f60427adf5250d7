//! From the tree of a fitted transformer to steps over columns.

use std::sync::Arc;

use tidegate_core::Category;

use super::names::check_numbers;
use crate::error::CompileError;
use crate::node::{AffineNode, EncodeNode, ImputeNode, Node, OneHotNode, PowerMethod};
use crate::node::{UnionPart, UnknownNode, UnknownWord};
use crate::ops::{
    Affine, Bins, Categories, Encode, EncodedColumn, FeatureHash, Function, Impute, Indicator,
    OneHot, OneHotColumn, Power, Unknown,
};
use crate::program::{Builder, Kind, Source};

/// Trees that are deeper are refused: the functions below call themselves.
const MAX_DEPTH: usize = 32;

/// Adds the steps of a transformer, and gives the columns that it makes.
pub(super) fn node(
    builder: &mut Builder,
    node: &Node,
    sources: Vec<Source>,
) -> Result<Vec<Source>, CompileError> {
    lower(builder, node, sources, 0)
}

fn lower(
    builder: &mut Builder,
    node: &Node,
    sources: Vec<Source>,
    depth: usize,
) -> Result<Vec<Source>, CompileError> {
    if depth > MAX_DEPTH {
        return Err(CompileError::new("it is nested too deeply"));
    }
    match node {
        Node::Chain { steps } => steps.iter().try_fold(sources, |sources, step| {
            lower(builder, step, sources, depth + 1)
        }),
        Node::Union { parts } => union(builder, parts, &sources, depth),
        Node::Select { columns: None } => Ok(sources),
        Node::Select {
            columns: Some(columns),
        } => select(&sources, columns),
        Node::Impute(impute) => self::impute(builder, impute, &sources),
        Node::Affine(affine) => self::affine(builder, affine, sources),
        Node::Power { method, lambdas } => power(builder, *method, lambdas, sources),
        Node::Function { name } => {
            check_numbers(&sources)?;
            push_each(builder, Function(*name), sources)
        }
        Node::Bins { edges } => bins(builder, edges, sources),
        Node::OneHot { columns } => one_hot(builder, columns, sources),
        Node::Encode { columns } => encode(builder, columns, sources),
        Node::Hash {
            buckets,
            alternate_sign,
        } => hash(builder, *buckets, *alternate_sign, sources),
    }
}

fn union(
    builder: &mut Builder,
    parts: &[UnionPart],
    sources: &[Source],
    depth: usize,
) -> Result<Vec<Source>, CompileError> {
    let mut made = Vec::new();
    for part in parts {
        let place = format!("part \"{}\"", part.name);
        let own = select(sources, &part.columns).map_err(|error| error.at(&place))?;
        let columns = lower(builder, &part.node, own, depth + 1);
        made.extend(columns.map_err(|error| error.at(&place))?);
    }
    Ok(made)
}

fn select(sources: &[Source], columns: &[usize]) -> Result<Vec<Source>, CompileError> {
    let mut selected = Vec::with_capacity(columns.len());
    for column in columns {
        let source = sources.get(*column).ok_or_else(|| {
            let count = sources.len();
            CompileError::new(format!("it takes column {column} of {count}"))
        })?;
        selected.push(source.clone());
    }
    Ok(selected)
}

/// Adds a step that makes a number of each number.
fn push_each(
    builder: &mut Builder,
    op: impl crate::program::Op + 'static,
    sources: Vec<Source>,
) -> Result<Vec<Source>, CompileError> {
    let names: Vec<Arc<str>> = sources.iter().map(|source| source.name.clone()).collect();
    builder.push(op, sources, Kind::Number, names)
}

fn impute(
    builder: &mut Builder,
    node: &ImputeNode,
    sources: &[Source],
) -> Result<Vec<Source>, CompileError> {
    check_count("values", node.values.len(), sources)?;
    let missing = node.missing.unwrap_or(f64::NAN);
    let mut made = Vec::with_capacity(sources.len());
    // Numbers in one step; text needs none, because a missing text is looked up as its substitute.
    let mut numbers = (Vec::new(), Vec::new(), Vec::new());
    for (source, value) in sources.iter().zip(&node.values) {
        match value {
            None => continue,
            Some(Category::Text(text)) => made.push(filled(source, text)?),
            Some(value) => {
                check_numbers(std::slice::from_ref(source))?;
                numbers.0.push(source.clone());
                numbers.1.push(number(value));
                numbers.2.push(made.len());
                made.push(source.clone());
            }
        }
    }
    let (inputs, values, places) = numbers;
    if !inputs.is_empty() {
        let imputed = push_each(builder, Impute { missing, values }, inputs)?;
        for (place, source) in places.into_iter().zip(imputed) {
            made[place] = source;
        }
    }
    if !node.indicators.is_empty() {
        let inputs = select(sources, &node.indicators)?;
        made.extend(push_each(builder, Indicator { missing }, inputs)?);
    }
    Ok(made)
}

fn filled(source: &Source, text: &str) -> Result<Source, CompileError> {
    if source.kind != Kind::Text {
        let (name, kind) = (&source.name, source.kind.name());
        let problem = format!("\"{name}\" is of type {kind}, a missing value becomes text");
        return Err(CompileError::new(problem));
    }
    let mut filled = source.clone();
    // The first substitute wins: behind it, nothing is missing.
    filled.fill.get_or_insert_with(|| text.into());
    Ok(filled)
}

fn number(value: &Category) -> f64 {
    match value {
        Category::Integer(number) => *number as f64,
        Category::Number(number) => *number,
        Category::Text(_) => f64::NAN,
    }
}

fn affine(
    builder: &mut Builder,
    node: &AffineNode,
    sources: Vec<Source>,
) -> Result<Vec<Source>, CompileError> {
    check_numbers(&sources)?;
    let lists = [&node.subtract, &node.divide, &node.multiply, &node.add];
    for list in lists.into_iter().flatten() {
        check_count("numbers", list.len(), &sources)?;
    }
    let op = Affine {
        subtract: node.subtract.clone(),
        divide: node.divide.clone(),
        multiply: node.multiply.clone(),
        add: node.add.clone(),
        clip: node.clip,
    };
    push_each(builder, op, sources)
}

fn power(
    builder: &mut Builder,
    method: PowerMethod,
    lambdas: &[f64],
    sources: Vec<Source>,
) -> Result<Vec<Source>, CompileError> {
    check_numbers(&sources)?;
    check_count("lambdas", lambdas.len(), &sources)?;
    let op = match method {
        PowerMethod::YeoJohnson => Power::YeoJohnson(lambdas.to_vec()),
        PowerMethod::BoxCox => Power::BoxCox(lambdas.to_vec()),
    };
    push_each(builder, op, sources)
}

fn bins(
    builder: &mut Builder,
    edges: &[Vec<f64>],
    sources: Vec<Source>,
) -> Result<Vec<Source>, CompileError> {
    check_numbers(&sources)?;
    check_count("lists of edges", edges.len(), &sources)?;
    edges.iter().try_for_each(|edges| check_edges(edges))?;
    let op = Bins {
        edges: edges.to_vec(),
        keeps_missing: false,
    };
    push_each(builder, op, sources)
}

/// Refuses edges that are not in ascending order.
pub(super) fn check_edges(edges: &[f64]) -> Result<(), CompileError> {
    if edges.is_sorted() {
        return Ok(());
    }
    Err(CompileError::new("the edges are not in ascending order"))
}

fn one_hot(
    builder: &mut Builder,
    nodes: &[OneHotNode],
    sources: Vec<Source>,
) -> Result<Vec<Source>, CompileError> {
    check_count("lists of categories", nodes.len(), &sources)?;
    let mut columns = Vec::with_capacity(nodes.len());
    let mut names = Vec::new();
    for (node, source) in nodes.iter().zip(&sources) {
        let unknown = match node.unknown {
            UnknownNode::Slot(slot) => Unknown::Slot(slot),
            UnknownNode::Word(UnknownWord::Reject) => Unknown::Reject,
            UnknownNode::Word(UnknownWord::Zeros) => Unknown::Zeros,
        };
        let own = match unknown {
            Unknown::Slot(slot) => Some(slot),
            _ => None,
        };
        let mut slots = node.slots.iter().flatten().chain(&own);
        let fits = slots.all(|slot| (*slot as usize) < node.width);
        if !fits || node.slots.len() != node.categories.len() {
            let problem = format!("the columns of \"{}\" do not fit", source.name);
            return Err(CompileError::new(problem));
        }
        names.extend(std::iter::repeat_n(source.name.clone(), node.width));
        columns.push(OneHotColumn {
            categories: Categories::new(&node.categories, source)?,
            slots: node.slots.clone(),
            width: node.width,
            unknown,
        });
    }
    builder.push(OneHot { columns }, sources, Kind::Number, names)
}

fn encode(
    builder: &mut Builder,
    nodes: &[EncodeNode],
    sources: Vec<Source>,
) -> Result<Vec<Source>, CompileError> {
    check_count("lists of categories", nodes.len(), &sources)?;
    let mut columns = Vec::with_capacity(nodes.len());
    let mut names = Vec::new();
    for (node, source) in nodes.iter().zip(&sources) {
        let mut lists = node.numbers.iter().chain(&node.unknown);
        if node.numbers.len() != node.categories.len()
            || lists.any(|numbers| numbers.len() != node.width)
        {
            let problem = format!("the numbers of \"{}\" do not fit", source.name);
            return Err(CompileError::new(problem));
        }
        names.extend(std::iter::repeat_n(source.name.clone(), node.width));
        columns.push(EncodedColumn {
            categories: Categories::new(&node.categories, source)?,
            width: node.width,
            numbers: node.numbers.iter().flat_map(|list| doubles(list)).collect(),
            unknown: node.unknown.as_deref().map(|list| doubles(list).collect()),
        });
    }
    builder.push(Encode { columns }, sources, Kind::Number, names)
}

/// Numbers that JSON may not have.
fn doubles(list: &[Option<f64>]) -> impl Iterator<Item = f64> + '_ {
    list.iter().map(|number| number.unwrap_or(f64::NAN))
}

fn hash(
    builder: &mut Builder,
    buckets: usize,
    alternate_sign: bool,
    sources: Vec<Source>,
) -> Result<Vec<Source>, CompileError> {
    if buckets == 0 {
        return Err(CompileError::new("it has no columns to hash into"));
    }
    let other = sources
        .iter()
        .find(|source| !source.kind.is_number() && source.kind != Kind::Text);
    if let Some(other) = other {
        let (name, kind) = (&other.name, other.kind.name());
        let problem = format!("\"{name}\" is of type {kind}, which cannot be hashed");
        return Err(CompileError::new(problem));
    }
    let op = FeatureHash {
        buckets,
        alternate_sign,
        names: sources
            .iter()
            .map(|source| source.name.to_string())
            .collect(),
    };
    let name: Arc<str> = listed_names(&sources).into();
    builder.push(
        op,
        sources,
        Kind::Number,
        std::iter::repeat_n(name, buckets),
    )
}

/// What messages call a column that all of these are hashed into.
fn listed_names(sources: &[Source]) -> String {
    let names: Vec<&str> = sources.iter().map(|source| &*source.name).collect();
    names.join(", ")
}

fn check_count(what: &str, found: usize, sources: &[Source]) -> Result<(), CompileError> {
    let wanted = sources.len();
    if found == wanted {
        return Ok(());
    }
    let problem = format!("it has {found} {what} for {wanted} columns");
    Err(CompileError::new(problem))
}
