//! `config.pbtxt` texts as people write them, and as nobody should.

use tidegate_protocol::model_config::{ConfigError, parse, to_json};

#[test]
fn brackets_in_comments_and_strings_do_not_hide_the_nesting() {
    // The parser follows `[domain/Type] { … }` before it looks at the type: the only way to nest without end.
    for level in ["[a/inference.BatchInput]{#}\n", "[a/inference.BatchInput]{#>]}\n"] {
        assert!(matches!(parse(&level.repeat(30_000)), Err(ConfigError::Bounds(_))));
    }
    for open in ["{", "[", "<", "input{", "input [ {", "[a/inference.BatchInput]{"] {
        assert!(parse(&open.repeat(100_000)).is_err());
        assert!(parse(&open.repeat(20_000)).is_err());
    }
}
