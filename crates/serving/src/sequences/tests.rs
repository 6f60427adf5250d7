use tidegate_core::{
    DataType, Dim, FlagInput, Manifest, SequenceSpec, Shape, Signature, StateSpec, Tensor,
    TensorSpec,
};

use super::{SequenceId, SequenceRequest, Wiring};
use crate::VersionPlan;

fn spec(name: &str, datatype: DataType, dims: &[i64]) -> TensorSpec {
    TensorSpec {
        name: name.to_owned(),
        datatype,
        dims: Some(dims.iter().copied().map(Dim::from_wire).collect()),
        optional: false,
    }
}

fn state(input: &str, output: &str) -> StateSpec {
    StateSpec {
        input: input.to_owned(),
        output: output.to_owned(),
        initial: StateSpec::ZEROS.to_owned(),
        shape: None,
        answered: false,
    }
}

/// States, flags and the inputs of clients, in no order.
fn signature() -> Signature {
    Signature {
        inputs: vec![
            spec("h", DataType::Fp32, &[-1, 2]),
            spec("x", DataType::Int64, &[-1, 1]),
            spec("START", DataType::Bool, &[-1, 1]),
            spec("c", DataType::Fp64, &[-1, 3]),
            spec("ID", DataType::Bytes, &[-1, 1]),
            spec("z", DataType::Int64, &[-1, 1]),
        ],
        outputs: vec![
            spec("c_next", DataType::Fp64, &[-1, -1]),
            spec("y", DataType::Fp32, &[-1]),
            spec("h_next", DataType::Fp32, &[-1, 2]),
        ],
    }
}

fn plan(sequences: SequenceSpec) -> VersionPlan {
    let manifest = Manifest {
        sequences: Some(Box::new(sequences)),
        ..Manifest::default()
    };
    VersionPlan::new(manifest, "model.onnx".into())
}

fn wired() -> SequenceSpec {
    SequenceSpec {
        states: vec![state("h", "h_next"), state("c", "c_next")],
        start: Some(FlagInput {
            input: "START".to_owned(),
            off: 0.0,
            on: 1.0,
        }),
        correlation_id: Some("ID".to_owned()),
        ..SequenceSpec::default()
    }
}

fn numbers<T: tidegate_core::Element>(extents: &[usize], elements: Vec<T>) -> Tensor {
    Tensor::from_vec(Shape::new(extents).unwrap(), elements).unwrap()
}

#[test]
fn each_tensor_reaches_its_place_and_clients_see_their_own() {
    let mut signature = signature();
    let wiring = Wiring::of(&plan(wired()), &mut signature).unwrap().unwrap();
    let visible = wiring.visible(&signature);
    let names = |specs: &[TensorSpec]| -> Vec<String> {
        specs.iter().map(|spec| spec.name.clone()).collect()
    };
    assert_eq!(names(&visible.inputs), ["x", "z"]);
    assert_eq!(names(&visible.outputs), ["y"]);

    let request = SequenceRequest {
        id: SequenceId::Number(17),
        start: true,
        end: false,
    };
    let client = vec![
        Some(numbers(&[1, 1], vec![5i64])),
        Some(numbers(&[1, 1], vec![6i64])),
    ];
    let inputs = wiring.assemble(client, wiring.initial(), &request).unwrap();
    let shapes: Vec<String> = inputs
        .iter()
        .map(|input| {
            format!(
                "{} {}",
                input.as_ref().unwrap().datatype(),
                input.as_ref().unwrap().shape()
            )
        })
        .collect();
    assert_eq!(
        shapes,
        [
            "FP32 [1, 2]",
            "INT64 [1, 1]",
            "BOOL [1, 1]",
            "FP64 [1, 3]",
            "BYTES [1, 1]",
            "INT64 [1, 1]"
        ]
    );
    assert_eq!(inputs[2].as_ref().unwrap().wire()[..], [1]);
    assert_eq!(
        inputs[4].as_ref().unwrap().wire()[..],
        [2, 0, 0, 0, b'1', b'7']
    );
    assert_eq!(inputs[5].as_ref().unwrap().to_vec::<i64>(), Some(vec![6]));

    let given = vec![
        numbers(&[1, 3], vec![1f64, 2.0, 3.0]),
        numbers(&[1], vec![9f32]),
        numbers(&[1, 2], vec![7f32, 8.0]),
    ];
    let step = wiring.take_off(given).unwrap();
    assert_eq!(step.outputs[0].to_vec::<f32>(), Some(vec![9.0]));
    assert_eq!(step.states[0].to_vec::<f32>(), Some(vec![7.0, 8.0]));
    assert_eq!(step.states[1].to_vec::<f64>(), Some(vec![1.0, 2.0, 3.0]));
}

#[test]
fn a_state_that_the_model_cannot_take_fails_the_run() {
    let mut signature = signature();
    let wiring = Wiring::of(&plan(wired()), &mut signature).unwrap().unwrap();
    let given = vec![
        numbers(&[1, 4], vec![0f64; 4]),
        numbers(&[1], vec![9f32]),
        numbers(&[1, 2], vec![7f32, 8.0]),
    ];
    let error = wiring.take_off(given).err().unwrap();
    assert_eq!(error.code, crate::ErrorCode::ExecutionFailed);
    assert!(error.message.contains("\"c\""), "{error}");
}

#[test]
fn defaults_of_states_are_never_used() {
    let mut signature = signature();
    for input in &mut signature.inputs {
        input.optional = true;
    }
    Wiring::of(&plan(wired()), &mut signature).unwrap();
    let optional = signature.inputs.iter().filter(|spec| spec.optional);
    let names: Vec<&str> = optional.map(|spec| &*spec.name).collect();
    assert_eq!(names, ["x", "z"]);
}

#[test]
fn flags_and_ids_need_inputs_that_hold_them() {
    let problem = |sequences: SequenceSpec| {
        let mut signature = signature();
        signature
            .inputs
            .push(spec("wide", DataType::Fp32, &[-1, 2]));
        Wiring::of(&plan(sequences), &mut signature).unwrap_err()
    };
    let wide = |input: &str| FlagInput {
        input: input.to_owned(),
        off: 0.0,
        on: 1.0,
    };
    let found = problem(SequenceSpec {
        end: Some(wide("wide")),
        ..SequenceSpec::default()
    });
    assert!(found.contains("one element"), "{found}");
    let found = problem(SequenceSpec {
        correlation_id: Some("h".to_owned()),
        ..SequenceSpec::default()
    });
    assert!(found.contains("FP32"), "{found}");
    let found = problem(SequenceSpec {
        end: Some(wide("h")),
        ..wired()
    });
    assert!(found.contains("used twice"), "{found}");
}
