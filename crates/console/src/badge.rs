//! States in a word, a sign and a colour.

use maud::{Markup, html};

/// How good it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tone {
    /// Somebody must look now.
    Bad,
    /// Somebody should look.
    Notice,
    /// Something goes on.
    Busy,
    /// It is out of use, or says nothing.
    #[default]
    Off,
    /// It is well.
    Good,
}

impl Tone {
    /// The class of the style sheet.
    pub(crate) const fn class(self) -> &'static str {
        match self {
            Self::Bad => "bad",
            Self::Notice => "notice",
            Self::Busy => "busy",
            Self::Off => "off",
            Self::Good => "good",
        }
    }

    /// A sign whose shape tells it from others where colours do not.
    const fn sign(self) -> &'static str {
        match self {
            Self::Bad => "■",
            Self::Notice => "▲",
            Self::Busy => "◆",
            Self::Off => "○",
            Self::Good => "●",
        }
    }
}

/// A word on its ground.
pub(crate) fn badge(tone: Tone, text: &str) -> Markup {
    html! { span.badge.(tone.class()) { span aria-hidden="true" { (tone.sign()) } (text) } }
}
