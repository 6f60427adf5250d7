use proptest::prelude::*;

use super::*;

fn shape(extents: &[usize]) -> Shape {
    Shape::new(extents).unwrap()
}

#[test]
fn vectors_slices_and_wire_agree() {
    let tensor = Tensor::from_vec(shape(&[3, 2]), vec![1.0f32, 2.0, 3.0, 4.0, 5.0, 6.0]).unwrap();
    let tail = tensor.slice_rows(1, 2);
    assert_eq!(
        tail.as_slice::<f32>(),
        Some([3.0, 4.0, 5.0, 6.0].as_slice())
    );
    assert_eq!(&tail.shape()[..], [2, 2]);
    assert_eq!(tail.as_slice::<i32>(), None);
    let back = Tensor::from_wire(DataType::Fp32, shape(&[2, 2]), tail.wire()).unwrap();
    assert_eq!(back.to_vec::<f32>(), tail.to_vec());
}

#[test]
fn wrong_byte_counts_are_refused_with_both_numbers() {
    let error =
        Tensor::from_wire(DataType::Int16, shape(&[2]), Bytes::from_static(&[0; 5])).unwrap_err();
    assert_eq!(
        error.to_string(),
        "shape [2] of INT16 takes 4 bytes, the data has 5"
    );
}

#[test]
fn memory_that_the_machine_does_not_have_is_refused_in_words() {
    let huge = shape(&[1, 1 << 52]);
    assert!(TensorBuffer::new(DataType::Fp32, huge).is_none());
}

#[test]
fn unaligned_bytes_are_readable_and_alignable() {
    let wire = Bytes::from(vec![0u8; 17]).slice(1..);
    let tensor = Tensor::from_wire(DataType::Int64, shape(&[2]), wire).unwrap();
    assert_eq!(tensor.to_vec::<i64>().unwrap(), [0, 0]);
    assert_eq!(tensor.aligned().as_slice::<i64>().unwrap(), [0, 0]);
}

proptest! {
    #[test]
    fn joining_the_slices_gives_the_tensor_back(
        rows in 1usize..20, columns in 0usize..5, cuts in prop::collection::vec(0usize..20, 0..4),
    ) {
        let values: Vec<i32> = (0..(rows * columns) as i32).collect();
        let texts: StringArray = values.iter().map(|v| v.to_string()).collect();
        let numbers = Tensor::from_vec(shape(&[rows, columns]), values).unwrap();
        let texts = Tensor::from_strings(shape(&[rows, columns]), texts).unwrap();
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(rows)).chain([0, rows]).collect();
        cuts.sort_unstable();
        for whole in [numbers, texts] {
            let parts: Vec<Tensor> =
                cuts.windows(2).map(|cut| whole.slice_rows(cut[0], cut[1] - cut[0])).collect();
            let joined = Tensor::concat_rows(&parts.iter().collect::<Vec<_>>()).unwrap();
            prop_assert_eq!(joined.shape(), whole.shape());
            prop_assert_eq!(joined.wire(), whole.wire());
        }
    }
}
