//! Which engine runs a model.

use clap::builder::{
    MapValueParser, PossibleValue, PossibleValuesParser, TypedValueParser, ValueParserFactory,
};
use tidegate_core::EngineChoice;

/// An engine by its name. The possible values and their help come from the list of engines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Engine(EngineChoice);

impl From<Engine> for EngineChoice {
    fn from(engine: Engine) -> Self {
        engine.0
    }
}

impl ValueParserFactory for Engine {
    type Parser = MapValueParser<PossibleValuesParser, fn(String) -> Self>;

    fn value_parser() -> Self::Parser {
        let auto =
            PossibleValue::new("auto").help("ONNX Runtime if its library is found, else portable");
        let mut values = vec![auto];
        for engine in tidegate_engines::all(None) {
            values.push(PossibleValue::new(engine.name()).help(engine.description()));
        }
        PossibleValuesParser::new(values).map(|name| Self(EngineChoice::from(name)))
    }
}
