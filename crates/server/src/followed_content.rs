//! Files that a server follows: certificates, policies.
//!
//! Their content is compared, not their times: Kubernetes swaps a symbolic link above them.

/// Which content was found, or why none.
pub(crate) type Finding = Result<[u8; 32], String>;

/// What was found in files when they were looked at.
pub(crate) struct FollowedContent {
    /// What was decided upon last.
    decided: Finding,
    /// What the last look has found, if that is something else.
    found: Option<Finding>,
}

impl FollowedContent {
    /// Files whose content of this digest is in use.
    pub(crate) fn of(digest: [u8; 32]) -> Self {
        Self {
            decided: Ok(digest),
            found: None,
        }
    }

    /// Takes note of a look, and says whether something new is to be decided upon. Only what two looks
    /// in a row find counts: files are written one after the other, and complete only at the end.
    pub(crate) fn is_new(&mut self, finding: Finding) -> bool {
        if finding == self.decided {
            self.found = None;
            return false;
        }
        if self.found.as_ref() != Some(&finding) {
            self.found = Some(finding);
            return false;
        }
        self.found = None;
        self.decided = finding;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_two_looks_in_a_row_find_is_new() {
        let mut content = FollowedContent::of([1; 32]);
        let looks = [
            (Ok([1; 32]), false),
            (Ok([2; 32]), false),
            (Ok([3; 32]), false),
            (Ok([3; 32]), true),
            (Ok([3; 32]), false),
            (Err("away".to_owned()), false),
            (Ok([3; 32]), false),
            (Err("away".to_owned()), false),
            (Err("away".to_owned()), true),
        ];
        for (index, (finding, is_new)) in looks.into_iter().enumerate() {
            assert_eq!(content.is_new(finding), is_new, "look {index}");
        }
    }
}
