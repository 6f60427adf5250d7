//! The pages of those who are not signed in, or may not see what they ask for. They say nothing of
//! the server's state.

use maud::{DOCTYPE, Markup, html};

use crate::asset::{icon, style};
use crate::format::segment;

/// The page to sign in.
#[derive(Debug, Default)]
pub struct Login {
    /// The page that is shown afterwards.
    pub next: String,
    /// Why signing in failed; empty at first.
    pub problem: String,
    /// Whether there is an identity provider to sign in with.
    pub has_provider: bool,
}

impl Login {
    /// The whole page.
    pub fn render(&self) -> String {
        let form = html! {
            form.stack method="post" action="/console/login" {
                input type="hidden" name="next" value=(self.next);
                div {
                    label for="key" { "API key" }
                    input #key type="password" name="key" required maxlength="512" autocomplete="current-password" autofocus;
                }
                button.main type="submit" { "Sign in" }
            }
        };
        let body = html! {
            section.card.stack {
                h1 { "Sign in" }
                @if !self.problem.is_empty() { p.message role="alert" { (self.problem) } }
                @if self.has_provider {
                    p { a.button href={ "/console/login/oidc?next=" (segment(&self.next)) } { "Sign in with your organization" } }
                    p.soft { "or with an API key:" }
                }
                (form)
            }
        };
        document("Sign in", &body)
    }
}

/// The page of something that the reader may not see.
#[derive(Debug)]
pub struct Forbidden {
    /// What they lack.
    pub problem: String,
    /// Whether they may sign out, to sign in as somebody else.
    pub may_sign_out: bool,
}

impl Forbidden {
    /// The whole page.
    pub fn render(&self) -> String {
        let body = html! {
            section.card.stack {
                h1 { "Not permitted" }
                p.message role="alert" { (self.problem) }
                @if self.may_sign_out { (sign_out()) }
            }
        };
        document("Not permitted", &body)
    }
}

/// The button that ends the session.
pub(crate) fn sign_out() -> Markup {
    html! {
        form method="post" action="/console/logout" { button.small type="submit" { "Sign out" } }
    }
}

fn document(title: &str, body: &Markup) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) " · Tidegate" }
                link rel="icon" type="image/svg+xml" href=(icon().path);
                link rel="stylesheet" href=(style().path);
            }
            body {
                header.bar { div.bar-inner { span.brand { img src=(icon().path) alt=""; "Tidegate" } } }
                main #content.narrow { (body) }
            }
        }
    };
    page.into_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_wrote_is_only_text() {
        let login = Login {
            next: "/console?q=\"><b>".to_owned(),
            problem: "<b>".to_owned(),
            has_provider: true,
        };
        let page = login.render();
        assert!(!page.contains("<b>"), "{page}");
        assert!(
            page.contains("/console/login/oidc?next=%2Fconsole%3Fq%3D%22%3E%3Cb%3E"),
            "{page}"
        );
    }
}
