//! The list of commands.
//!
//! A command is one file or folder of this module. It has a struct with the options of the command,
//! whose doc comment is the help text, and a method `run` on it. Adding one takes that file and its
//! line in the list below (and a `mod` line, as for every file).

mod alerts;
mod api;
mod api_keys;
mod audit;
mod batch;
mod cascade;
mod certs;
mod check;
mod completions;
mod context;
mod cost;
mod dataset;
mod doctor;
mod drift;
mod experiment;
mod exporter;
mod features;
mod inspect;
mod keys;
mod load;
mod login;
mod man;
mod models;
mod observe;
mod openapi;
mod policies;
mod predict;
mod push;
mod quality;
mod registry;
mod retrain;
mod rollback;
mod rollout;
mod serve;
mod silence;
mod slo;
mod token;
mod top;
mod traffic;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Serve trained models: fast, safe, and in the protocols that your clients already speak.
///
/// Start with a model you have:
///
///     tidegate serve model.onnx
///     curl localhost:8000/v2/models/model
#[derive(Debug, Parser)]
#[command(name = "tidegate", version, max_term_width = 100, verbatim_doc_comment)]
pub(crate) struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

impl CommandLine {
    /// Runs the command, and gives the exit status of the process.
    pub(crate) fn run(self) -> Result<ExitCode> {
        self.command.run()
    }
}

/// Makes the enum of the commands, and the call of the one that was chosen.
macro_rules! commands {
    ($($module:ident::$command:ident,)*) => {
        #[derive(Debug, Subcommand)]
        enum Command {
            // Boxed, or every variant would be as large as the command with the most options.
            $($command(Box<$module::$command>),)*
        }

        impl Command {
            fn run(self) -> Result<ExitCode> {
                match self {
                    $(Self::$command(command) => command.run(),)*
                }
            }
        }
    };
}

// In the order in which the help lists them.
commands! {
    serve::Serve,
    predict::Predict,
    load::Load,
    batch::Batch,
    models::Models,
    inspect::Inspect,
    check::Check,
    push::Push,
    exporter::Exporter,
    features::Features,
    drift::Baseline,
    drift::Drift,
    quality::Quality,
    dataset::Dataset,
    retrain::Retrain,
    experiment::Experiment,
    cascade::Cascade,
    rollout::Rollout,
    traffic::Traffic,
    rollback::Rollback,
    registry::Registry,
    keys::Keys,
    certs::Certs,
    token::Token,
    api_keys::ApiKeys,
    policies::Policies,
    login::Login,
    login::Logout,
    context::Context,
    audit::Audit,
    api::Api,
    doctor::Doctor,
    top::Top,
    slo::Slo,
    alerts::Alerts,
    silence::Silence,
    cost::Cost,
    observe::Observe,
    openapi::Openapi,
    completions::Completions,
    man::Man,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What stands for something of the reader's.
    fn filled(command: &str) -> String {
        let (command, _) = command.split_once(" #").unwrap_or((command, ""));
        command
            .replace("$SERVER", "http://127.0.0.1:8000")
            .replace("\"…\"", "\"x\"")
            .replace("$(tidegate registry fetch fraud@champion)", "FOLDER")
    }

    /// The words of a command as a shell would part them; only `"` and `'` are used in the
    /// runbooks.
    fn words(command: &str) -> Vec<String> {
        let (mut words, mut word, mut quote) = (Vec::new(), String::new(), None);
        for character in command.chars() {
            match (character, quote) {
                ('"' | '\'', None) => quote = Some(character),
                (character, Some(open)) if character == open => quote = None,
                (' ', None) => words.push(std::mem::take(&mut word)),
                (character, _) => word.push(character),
            }
        }
        words.push(word);
        words.retain(|word| !word.is_empty());
        words
    }

    /// The commands of ours in console blocks and between backticks.
    fn commands(page: &str) -> Vec<String> {
        let lines = page
            .lines()
            .map(|line| line.trim().trim_start_matches("$ "));
        let typed = lines
            .filter(|line| line.starts_with("tidegate "))
            .map(str::to_owned);
        let joined = page.replace('\n', " ");
        let quoted = joined.split('`').skip(1).step_by(2).map(str::trim);
        let quoted = quoted
            .filter(|text| text.starts_with("tidegate "))
            .map(str::to_owned);
        typed.chain(quoted.collect::<Vec<_>>()).collect()
    }

    #[test]
    fn every_command_of_a_runbook_can_be_typed() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/runbooks");
        let mut count = 0;
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            for command in commands(&std::fs::read_to_string(&path).unwrap()) {
                let is_whole = |word: &String| !matches!(word.as_str(), "|" | ">" | "…");
                let words: Vec<String> = words(&filled(&command))
                    .into_iter()
                    .take_while(is_whole)
                    .collect();
                let parsed =
                    CommandLine::try_parse_from(words.iter().filter(|word| !word.is_empty()));
                // A command that is only named, as in `tidegate models`, may lack its arguments.
                let missing = |error: &clap::Error| {
                    use clap::error::ErrorKind::{
                        DisplayHelpOnMissingArgumentOrSubcommand, MissingRequiredArgument,
                    };
                    matches!(
                        error.kind(),
                        MissingRequiredArgument | DisplayHelpOnMissingArgumentOrSubcommand
                    )
                };
                let wrong = parsed.err().filter(|error| !missing(error));
                assert!(
                    wrong.is_none(),
                    "{}: {command}: {}",
                    path.display(),
                    wrong.unwrap()
                );
                count += 1;
            }
        }
        assert!(count > 40, "{count} commands were found");
    }
}
