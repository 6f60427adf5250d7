//! The steps of a pipeline, as a manifest declares them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::Category;
use super::{
    ArgmaxStep, AudioStep, CalibrateStep, FieldType, ImageStep, LabelStep, MelSpectrogramStep,
    NormalizeStep, PickStep, PoolStep, RoundStep, SigmoidStep, SoftmaxStep, ThresholdStep,
    TokenizeStep, TopKStep,
};

/// One step. Its output replaces the column of the same name, if that is its input.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "step", rename_all = "snake_case")]
pub enum StepSpec {
    /// A transformer of the state file.
    Fitted(FittedStep),
    /// Another name for a column.
    Rename(RenameStep),
    /// Another type for a column.
    Cast(CastStep),
    /// A value in place of a missing one.
    Impute(ImputeStep),
    /// `(x - subtract) / divide`.
    Scale(ScaleStep),
    /// A function of each number.
    Function(FunctionStep),
    /// The nearest number in a range.
    Clip(ClipStep),
    /// The place of a number between edges.
    Bucketize(BucketizeStep),
    /// A column of 0 and 1 for each category.
    OneHot(OneHotStep),
    /// The place of a value in a list of categories.
    Ordinal(OrdinalStep),
    /// Columns that names and values are hashed into, as scikit-learn's `FeatureHasher`.
    Hash(HashStep),
    /// Parts of a time as numbers.
    DateParts(DatePartsStep),
    /// Sine and cosine of a number that repeats itself.
    Cyclical(CyclicalStep),
    /// One number divided by another.
    Ratio(RatioStep),
    /// Texts joined to one.
    Cross(CrossStep),
    /// A value by an expression over the columns of a row.
    Expression(ExpressionStep),
    /// Images as a tensor.
    Image(Box<ImageStep>),
    /// Sounds as a tensor of samples.
    Audio(Box<AudioStep>),
    /// Mel spectrograms of samples.
    MelSpectrogram(Box<MelSpectrogramStep>),
    /// Columns side by side in one.
    Concat(ConcatStep),
    /// One of several columns that stand side by side.
    Pick(PickStep),
    /// Scores as probabilities that sum to 1.
    Softmax(SoftmaxStep),
    /// Scores as probabilities, each by itself.
    Sigmoid(SigmoidStep),
    /// The place, or the label, of the largest value.
    Argmax(ArgmaxStep),
    /// The labels of the largest values, in order, and those values.
    TopK(TopKStep),
    /// The label of a class.
    Label(LabelStep),
    /// A decision by thresholds.
    Threshold(ThresholdStep),
    /// Fewer digits.
    Round(RoundStep),
    /// Scores as calibrated probabilities.
    Calibrate(CalibrateStep),
    /// Tokens of texts.
    Tokenize(TokenizeStep),
    /// One vector for each row, of the vectors of its tokens.
    Pool(PoolStep),
    /// Vectors of length 1.
    Normalize(NormalizeStep),
}

impl StepSpec {
    /// The file of the bundle that it reads, besides the state file.
    pub fn file(&self) -> Option<&str> {
        match self {
            Self::Tokenize(step) => Some(&step.file),
            _ => None,
        }
    }
}

steps! {
    /// A transformer of the state file.
    FittedStep {
        /// Its name in the file; may be left out where the file has a single one.
        #[serde(default)]
        transformer: Option<String>,
        /// The column that its results become, side by side.
        output: String,
    }

    /// Another name for a column.
    RenameStep {
        /// The column.
        input: String,
        /// Its new name.
        output: String,
    }

    /// Another type for a column.
    CastStep {
        /// The column.
        input: String,
        /// Its new type.
        to: FieldType,
        /// The result's name; the input's by default.
        #[serde(default)]
        output: Option<String>,
    }

    /// A value in place of a missing one.
    ImputeStep {
        /// The column.
        input: String,
        /// The value.
        value: Category,
        /// A column that is 1 where the value was missing, if one is wanted.
        #[serde(default)]
        indicator: Option<String>,
        /// The result's name; the input's by default.
        #[serde(default)]
        output: Option<String>,
    }

    /// `(x - subtract) / divide`.
    ScaleStep {
        /// The column.
        input: String,
        /// The mean, median or minimum.
        #[serde(default)]
        subtract: f64,
        /// The standard deviation or range.
        #[serde(default = "one")]
        divide: f64,
        /// The result's name; the input's by default.
        #[serde(default)]
        output: Option<String>,
    }

    /// A function of each number.
    FunctionStep {
        /// The column.
        input: String,
        /// The function.
        function: NumberFunction,
        /// The result's name; the input's by default.
        #[serde(default)]
        output: Option<String>,
    }

    /// The nearest number in a range.
    ClipStep {
        /// The column.
        input: String,
        /// The smallest number.
        #[serde(default)]
        min: Option<f64>,
        /// The largest number.
        #[serde(default)]
        max: Option<f64>,
        /// The result's name; the input's by default.
        #[serde(default)]
        output: Option<String>,
    }

    /// The place of a number between edges: 0 below the first one.
    BucketizeStep {
        /// The column.
        input: String,
        /// The edges, in ascending order. A number on an edge is above it.
        edges: Vec<f64>,
        /// The result's name; the input's by default.
        #[serde(default)]
        output: Option<String>,
    }

    /// A column of 0 and 1 for each category.
    OneHotStep {
        /// The column.
        input: String,
        /// The categories, in the order of the columns.
        categories: Vec<Category>,
        /// What happens to other values.
        #[serde(default)]
        unknown: UnknownCategory,
        /// The result's name; the input's by default.
        #[serde(default)]
        output: Option<String>,
    }

    /// The place of a value in a list of categories, from 0.
    OrdinalStep {
        /// The column.
        input: String,
        /// The categories.
        categories: Vec<Category>,
        /// The number of other values. Without it they are rejected.
        #[serde(default)]
        unknown: Option<f64>,
        /// The result's name; the input's by default.
        #[serde(default)]
        output: Option<String>,
    }

    /// Columns that names and values are hashed into. Text adds 1 to the column of `name=text`, a
    /// number adds itself to the column of its name, and a missing value adds nothing.
    HashStep {
        /// The columns.
        inputs: Vec<String>,
        /// How many columns there are.
        buckets: usize,
        /// Whether half of all names subtract, so that collisions cancel out.
        #[serde(default = "yes")]
        alternate_sign: bool,
        /// The result's name.
        output: String,
    }

    /// Parts of a time as numbers. The results are called `INPUT_PART`, such as `opened_weekday`.
    DatePartsStep {
        /// The column.
        input: String,
        /// The parts.
        parts: Vec<DatePart>,
        /// The time zone, in minutes east of UTC.
        #[serde(default)]
        utc_offset_minutes: i32,
    }

    /// Sine and cosine of a number that repeats itself. The results are `INPUT_sin` and `INPUT_cos`.
    CyclicalStep {
        /// The column.
        input: String,
        /// After how much it repeats itself: 24 for hours.
        period: f64,
    }

    /// One number divided by another.
    RatioStep {
        /// The number above the line.
        numerator: String,
        /// The number below the line.
        denominator: String,
        /// The result where the denominator is 0; missing by default.
        #[serde(default)]
        on_zero: Option<f64>,
        /// The result's name.
        output: String,
    }

    /// Texts joined to one. It is missing where one of them is.
    CrossStep {
        /// The columns.
        inputs: Vec<String>,
        /// What stands between them.
        #[serde(default = "underscore")]
        separator: String,
        /// The result's name.
        output: String,
    }

    /// A value by an expression over the columns of a row.
    ExpressionStep {
        /// An expression of the Common Expression Language, such as
        /// `amount / income > 0.5 ? "review" : "accept"`. Its variables are columns. All numbers are
        /// doubles, and a missing value is `null`. There are no loops. Functions: `abs`, `ceil`, `exp`,
        /// `floor`, `log`, `log1p`, `max`, `min`, `pow`, `round`, `size`, `sqrt`, `string`, `contains`,
        /// `startsWith`, `endsWith`.
        expression: String,
        /// The result's name.
        output: String,
    }

    /// Columns side by side in one.
    ConcatStep {
        /// The columns.
        inputs: Vec<String>,
        /// The result's name.
        output: String,
    }
}

/// A function of a number, by the name that it has in NumPy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "the names are NumPy's own")]
pub enum NumberFunction {
    #[default]
    Log1p,
    Log,
    Log2,
    Log10,
    Exp,
    Expm1,
    Sqrt,
    Cbrt,
    Square,
    Absolute,
    Negative,
    Reciprocal,
    Sign,
    Sin,
    Cos,
    Tanh,
    Floor,
    Ceil,
    /// To the nearest whole number; halves to the even one.
    Rint,
}

/// What happens to a value that is none of the categories.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum UnknownCategory {
    /// The request fails.
    #[default]
    Reject,
    /// All columns are 0.
    Zeros,
    /// It has a column of its own, the last one.
    Other,
}

/// A part of a time, by the name that it has in pandas.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DatePart {
    /// The year.
    Year,
    /// 1 to 4.
    Quarter,
    /// 1 to 12.
    Month,
    /// 1 to 53, by ISO 8601.
    Week,
    /// Day of the month, from 1.
    Day,
    /// Day of the year, from 1.
    DayOfYear,
    /// 0 for Monday to 6 for Sunday.
    Weekday,
    /// 1 on Saturday and Sunday, else 0.
    IsWeekend,
    /// 0 to 23.
    Hour,
    /// 0 to 59.
    Minute,
    /// 0 to 59.
    Second,
    /// Seconds since 1970, in UTC.
    EpochSeconds,
}

impl DatePart {
    /// The name in a manifest and at the end of the column's.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Year => "year",
            Self::Quarter => "quarter",
            Self::Month => "month",
            Self::Week => "week",
            Self::Day => "day",
            Self::DayOfYear => "day_of_year",
            Self::Weekday => "weekday",
            Self::IsWeekend => "is_weekend",
            Self::Hour => "hour",
            Self::Minute => "minute",
            Self::Second => "second",
            Self::EpochSeconds => "epoch_seconds",
        }
    }
}

fn one() -> f64 {
    1.0
}

fn yes() -> bool {
    true
}

fn underscore() -> String {
    "_".to_owned()
}
