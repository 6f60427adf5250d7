//! Random graphs equal a reference that knows neither order nor batches.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// One step of a random graph; tensors that it takes are places among those before it.
#[derive(Clone, Debug)]
enum Part {
    Add {
        amount: i32,
        of: Vec<usize>,
    },
    /// One branch adds to the rows below a bound of a tensor, the other to the rest; both are merged.
    Branch {
        asks: usize,
        bound: i32,
        takes: usize,
        amounts: (i32, i32),
    },
    Mean {
        of: (usize, usize),
    },
    Max {
        of: (usize, usize),
    },
}

fn parts() -> impl Strategy<Value = Vec<Part>> {
    let at = any::<prop::sample::Index>();
    let amount = -20i32..20;
    let part = prop_oneof![
        (amount.clone(), prop::collection::vec(at.clone(), 1..4))
            .prop_map(|(amount, of)| (0, amount, 0, of)),
        (amount.clone(), amount.clone(), at.clone(), at.clone())
            .prop_map(|(bound, amount, one, two)| (1, bound, amount, vec![one, two])),
        (at.clone(), at.clone()).prop_map(|(one, two)| (2, 0, 0, vec![one, two])),
        (at.clone(), at).prop_map(|(one, two)| (3, 0, 0, vec![one, two])),
    ];
    prop::collection::vec(part, 1..12).prop_map(|drawn| {
        // A graph has at least one node.
        let mut parts = vec![Part::Add {
            amount: 1,
            of: vec![0],
        }];
        for (kind, one, two, of) in drawn {
            // x, and one tensor of each part before.
            let of: Vec<usize> = of.iter().map(|at| at.index(parts.len() + 1)).collect();
            parts.push(match kind {
                0 => Part::Add { amount: one, of },
                1 => Part::Branch {
                    asks: of[0],
                    bound: one,
                    takes: of[1],
                    amounts: (two, -two),
                },
                2 => Part::Mean { of: (of[0], of[1]) },
                _ => Part::Max { of: (of[0], of[1]) },
            });
        }
        parts
    })
}

/// The tensor of a place; the last one is the answer.
fn name(place: usize, parts: &[Part]) -> String {
    match place {
        0 => "x".to_owned(),
        place if place == parts.len() => "y".to_owned(),
        place => format!("t{place}"),
    }
}

fn text(parts: &[Part]) -> String {
    let mut blocks = Vec::new();
    for (at, part) in parts.iter().enumerate() {
        let to = name(at + 1, parts);
        let from = |place: usize| name(place, parts);
        match part {
            Part::Add { amount, of } => {
                let inputs: Vec<String> = of
                    .iter()
                    .enumerate()
                    .map(|(at, place)| format!("x{at} = \"{}\"", from(*place)))
                    .collect();
                let inputs = inputs.join(", ");
                blocks.push(format!("[[graph.nodes]]\nname = \"n{at}\"\nmodel = \"{amount}\"\ninputs = {{ {inputs} }}\noutputs = {{ y = \"{to}\" }}\n"));
            }
            Part::Branch {
                asks,
                bound,
                takes,
                amounts,
            } => {
                let (one, two) = (format!("yes{at}"), format!("no{at}"));
                let when = format!("when = \"{} < {bound}.0\"", from(*asks));
                blocks.push(node(
                    &one,
                    &amounts.0.to_string(),
                    &from(*takes),
                    &one,
                    &when,
                ));
                blocks.push(node(
                    &two,
                    &amounts.1.to_string(),
                    &from(*takes),
                    &two,
                    &format!("else_of = \"{one}\""),
                ));
                blocks.push(first(&to, &format!("[\"{one}\", \"{two}\"]")));
            }
            Part::Mean { of } => blocks.push(merge("mean", &to, &from(of.0), &from(of.1))),
            Part::Max { of } => blocks.push(merge("max", &to, &from(of.0), &from(of.1))),
        }
    }
    // Nodes come in any order.
    blocks.reverse();
    blocks.concat()
}

fn merge(kind: &str, to: &str, one: &str, two: &str) -> String {
    format!(
        "[[graph.merges]]\ntensor = \"{to}\"\nmerge = \"{kind}\"\nof = [\"{one}\", \"{two}\"]\n"
    )
}

/// The answer for one row, from the definition.
fn reference(parts: &[Part], x: f32) -> f32 {
    let mut values = BTreeMap::from([(0, x)]);
    for (at, part) in parts.iter().enumerate() {
        let value = match part {
            Part::Add { amount, of } => {
                of.iter().map(|place| values[place]).sum::<f32>() + *amount as f32
            }
            Part::Branch {
                asks,
                bound,
                takes,
                amounts,
            } => {
                let amount = if values[asks] < *bound as f32 {
                    amounts.0
                } else {
                    amounts.1
                };
                values[takes] + amount as f32
            }
            Part::Mean { of } => {
                ((f64::from(values[&of.0]) + f64::from(values[&of.1])) / 2.0) as f32
            }
            Part::Max { of } => values[&of.0].max(values[&of.1]),
        };
        values.insert(at + 1, value);
    }
    values[&parts.len()]
}

proptest! {
    #[test]
    fn every_graph_equals_its_definition(parts in parts(), x in prop::collection::vec(-50i32..50, 1..8)) {
        let graph = graph(&text(&parts)).unwrap();
        let x: Vec<f32> = x.into_iter().map(|value| value as f32).collect();
        let expected: Vec<f32> = x.iter().map(|x| reference(&parts, *x)).collect();
        prop_assert_eq!(&run(&graph, &x).unwrap(), &expected);
        // A batch of many rows is many batches of one.
        for (x, expected) in x.iter().zip(&expected) {
            prop_assert_eq!(run(&graph, &[*x]).unwrap(), [*expected]);
        }
    }
}
