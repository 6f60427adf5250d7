//! Badges: a state as a word, a sign and a colour.

use maud::{Markup, html};

/// How serious a state is, the worst first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tone {
    /// Somebody must act now.
    Bad,
    /// It needs attention.
    Notice,
    /// Something is in progress.
    Busy,
    /// Not in use, or not known.
    #[default]
    Off,
    /// Healthy.
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

    /// A sign of its own shape, for people who cannot tell the colours apart.
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

/// A badge with a text.
pub(crate) fn badge(tone: Tone, text: &str) -> Markup {
    html! { span.badge.(tone.class()) { span aria-hidden="true" { (tone.sign()) } (text) } }
}
