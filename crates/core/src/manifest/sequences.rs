//! Models that keep a state from one request of a sequence to the next.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The section `[sequences]`: outputs that go back into the model with the next request of the same
/// sequence.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SequenceSpec {
    /// What the model remembers.
    pub states: Vec<StateSpec>,
    /// An input that says whether the request is the first one of its sequence.
    pub start: Option<FlagInput>,
    /// An input that says whether the request is the last one of its sequence.
    pub end: Option<FlagInput>,
    /// An input that says whether the row belongs to a request. It always does here.
    pub ready: Option<FlagInput>,
    /// An input that gets the id of the sequence.
    pub correlation_id: Option<String>,
    /// The most sequences that are live at the same time.
    pub max_sequences: usize,
    /// The most memory that the states of all live sequences take, in bytes.
    pub max_state_bytes: usize,
    /// A sequence ends when it has had no request for so long, in milliseconds.
    pub idle_timeout_ms: u64,
    /// How long sequences go on with a version that takes no new ones any more, in milliseconds.
    pub replaced_timeout_ms: u64,
}

impl Default for SequenceSpec {
    fn default() -> Self {
        Self {
            states: Vec::new(),
            start: None,
            end: None,
            ready: None,
            correlation_id: None,
            max_sequences: 1024,
            max_state_bytes: 64 << 20,
            idle_timeout_ms: 60_000,
            replaced_timeout_ms: 300_000,
        }
    }
}

impl SequenceSpec {
    /// The files with initial states, relative to the bundle.
    pub fn files(&self) -> impl Iterator<Item = &str> {
        self.states.iter().filter_map(StateSpec::initial_file)
    }
}

/// An output of the model that is an input of the next request of the sequence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StateSpec {
    /// The input that takes the state. Clients neither see nor send it.
    pub input: String,
    /// The output that gives the next state.
    pub output: String,
    /// What a sequence begins with: `zeros`, or a file of the bundle with the bytes of the elements,
    /// little-endian and in order of the rows.
    #[serde(default = "zeros")]
    pub initial: String,
    /// The shape that a sequence begins with, where the model leaves it open. An open extent is 1.
    #[serde(default)]
    pub shape: Option<Vec<i64>>,
    /// Whether the output is one of the answer, too.
    #[serde(default)]
    pub answered: bool,
}

impl StateSpec {
    /// What `initial` has for a state of zeros, or of empty texts.
    pub const ZEROS: &str = "zeros";

    /// The file with the initial state, if there is one.
    pub fn initial_file(&self) -> Option<&str> {
        (self.initial != Self::ZEROS).then_some(self.initial.as_str())
    }
}

fn zeros() -> String {
    StateSpec::ZEROS.to_owned()
}

/// An input that the server sets to one of two values.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FlagInput {
    /// The input's name. Clients neither see nor send it.
    pub input: String,
    /// Its value for no; 0 for an input of booleans is `false`.
    #[serde(default)]
    pub off: f64,
    /// Its value for yes.
    #[serde(default = "one")]
    pub on: f64,
}

fn one() -> f64 {
    1.0
}
