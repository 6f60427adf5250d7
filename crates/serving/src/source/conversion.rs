//! The lines that convert a model of another format to ONNX.

use std::path::Path;

/// How a file of another format becomes an ONNX file; `None` for a format that is not known.
pub fn conversion_hint(path: &Path) -> Option<String> {
    let extension = path.extension()?.to_str()?.to_ascii_lowercase();
    let (what, packages, lines) = recipe(&extension)?;
    let file = path.file_name()?.to_string_lossy();
    let onnx = path.with_extension("onnx");
    let onnx = onnx.file_name()?.to_string_lossy();
    let lines = lines.replace("FILE", &file).replace("ONNX", &onnx);
    Some(format!(
        "it looks like {what}; convert it with `pip install {packages}` and, in Python: {lines}"
    ))
}

/// What files of an extension are, the Python packages that convert them, and the lines to type.
fn recipe(extension: &str) -> Option<(&'static str, &'static str, &'static str)> {
    Some(match extension {
        "json" | "ubj" => ("an XGBoost model", "onnxmltools xgboost", XGBOOST),
        "txt" => ("a LightGBM model", "onnxmltools lightgbm", LIGHTGBM),
        "pkl" | "pickle" | "joblib" => ("a scikit-learn model", "skl2onnx joblib", SKLEARN),
        "pt" | "pth" => ("a PyTorch model", "torch onnx", PYTORCH),
        "h5" | "keras" => ("a Keras model", "tf2onnx tensorflow", KERAS),
        _ => return None,
    })
}

const XGBOOST: &str = "import onnxmltools, xgboost; \
    from onnxmltools.convert.common.data_types import FloatTensorType; \
    model = xgboost.XGBClassifier(); model.load_model(\"FILE\"); \
    types = [(\"input\", FloatTensorType([None, model.n_features_in_]))]; \
    onnx = onnxmltools.convert_xgboost(model, initial_types=types); \
    open(\"ONNX\", \"wb\").write(onnx.SerializeToString()) \
    (XGBRegressor for a regression)";

const LIGHTGBM: &str = "import lightgbm, onnxmltools; \
    from onnxmltools.convert.common.data_types import FloatTensorType; \
    model = lightgbm.Booster(model_file=\"FILE\"); \
    types = [(\"input\", FloatTensorType([None, model.num_feature()]))]; \
    onnx = onnxmltools.convert_lightgbm(model, initial_types=types, zipmap=False); \
    open(\"ONNX\", \"wb\").write(onnx.SerializeToString())";

const SKLEARN: &str = "import joblib, numpy, skl2onnx; model = joblib.load(\"FILE\"); \
    row = numpy.zeros((1, model.n_features_in_), numpy.float32); \
    options = {id(model): {\"zipmap\": False}} if hasattr(model, \"classes_\") else None; \
    onnx = skl2onnx.to_onnx(model, row, options=options); \
    open(\"ONNX\", \"wb\").write(onnx.SerializeToString()) \
    (a pipeline over columns of different types takes initial_types in place of row)";

const PYTORCH: &str = "import torch; model = torch.load(\"FILE\", weights_only=False).eval(); \
    torch.onnx.export(model, (torch.zeros(1, 4),), \"ONNX\", \
    dynamic_shapes=({0: torch.export.Dim(\"batch\")},)) \
    (with an example of the model's own inputs in place of zeros)";

const KERAS: &str = "import keras, tf2onnx; model = keras.models.load_model(\"FILE\"); \
    tf2onnx.convert.from_keras(model, output_path=\"ONNX\")";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_other_formats_come_with_the_lines_that_convert_them() {
        for (file, part) in [
            ("m/churn.json", "model.load_model(\"churn.json\")"),
            ("churn.UBJ", "onnxmltools.convert_xgboost"),
            ("churn.txt", "lightgbm.Booster(model_file=\"churn.txt\")"),
            ("a.b.pkl", "open(\"a.b.onnx\", \"wb\")"),
            ("net.pt", "torch.onnx.export"),
        ] {
            let hint = conversion_hint(Path::new(file)).unwrap();
            assert!(hint.contains(part), "{file}: {hint}");
        }
        for file in ["model.onnx", "rows.csv", "model", ".json"] {
            assert_eq!(conversion_hint(Path::new(file)), None, "{file}");
        }
    }
}
