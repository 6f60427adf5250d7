//! What a server says that asks for keys while there is none.

use std::time::Duration;

use tidegate_serving::Serving;

use crate::config::Config;
use crate::environment::default_data_folder;
use crate::output::{print_line, shell_word};

/// How long the keys are waited for. They are read while the server starts.
const PATIENCE: Duration = Duration::from_secs(1);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(20);

/// How the first key is created.
pub(super) struct Hint(Option<String>);

impl Hint {
    /// Nothing, where authentication is off or others than keys let people in.
    pub(super) fn new(config: &Config) -> Self {
        let is_needed = config.auth.enabled && !config.auth.has_other_key_managers();
        Self(is_needed.then(|| command(config)))
    }

    /// Says it once the keys are known, if there are none.
    pub(super) async fn print_if_needed(self, serving: &Serving) {
        let Some(command) = self.0 else {
            return;
        };
        let gateway = serving.gateway();
        let reading = async {
            loop {
                match gateway.keys() {
                    Some(keys) => return keys.is_empty(),
                    None => tokio::time::sleep(PAUSE).await,
                }
            }
        };
        // A database that does not answer is reported elsewhere.
        if tokio::time::timeout(PATIENCE, reading).await == Ok(true) {
            print_line!("warning  nobody has an API key yet: create the first with `{command}`");
        }
    }
}

fn command(config: &Config) -> String {
    let mut command = "tidegate api-keys create NAME --role admin".to_owned();
    let has_database = config.auth.database.is_some() || config.registry.database.is_some();
    if has_database {
        command.push_str(" --config FILE");
    } else if let Some(data) = config.data.clone().or_else(|| default_data_folder().ok()) {
        // Also where it is the default: without it, the command would ask the server of a context.
        let data = shell_word(&data.display().to_string());
        command.push_str(&format!(" --data {data}"));
    }
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_names_the_folder_of_the_server() {
        let mut config = Config::default();
        assert!(Hint::new(&config).0.is_none());
        config.auth.enabled = true;
        config.data = Some("/my data".into());
        let Hint(Some(command)) = Hint::new(&config) else {
            panic!("keys are needed");
        };
        assert!(
            command.ends_with("--role admin --data '/my data'"),
            "{command}"
        );
    }
}
