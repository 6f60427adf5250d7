//! The steps, each over whole columns.

mod affine;
mod bins;
mod calibrate;
mod cast;
mod categories;
mod dates;
mod decide;
mod encode;
mod evaluate;
mod function;
mod hash;
mod impute;
mod one_hot;
mod power;
mod scores;
mod text;

pub(crate) use affine::Affine;
pub(crate) use bins::Bins;
pub(crate) use calibrate::Calibrate;
pub(crate) use cast::{ToNumber, ToText};
pub(crate) use categories::Categories;
pub(crate) use dates::DateParts;
pub(crate) use decide::{Label, Threshold};
pub(crate) use encode::{Encode, EncodedColumn};
pub(crate) use evaluate::Evaluate;
pub(crate) use function::{Cyclical, Function, Ratio, Round};
pub(crate) use hash::FeatureHash;
pub(crate) use impute::{Impute, Indicator};
pub(crate) use one_hot::{OneHot, OneHotColumn, Unknown};
pub(crate) use power::Power;
pub(crate) use scores::{AtPlaces, Places, Sigmoid, Softmax};
pub(crate) use text::Cross;
