//! The engine's section of `plugins.toml`.

use std::collections::BTreeMap;
use std::time::Duration;

use oxidag_plugin_api::{Error, Result};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::variables;

/// How scripts are run.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Config {
    /// The program, and its arguments, that runs a script without a `#!` line.
    #[schemars(length(min = 1))]
    pub(crate) interpreter: Vec<String>,
    /// How many seconds a cancelled script has between SIGTERM and SIGKILL.
    #[schemars(range(min = 0, max = 86_400))]
    pub(crate) grace_period: f64,
    /// More environment variables for every script.
    pub(crate) env: BTreeMap<String, String>,
}

impl Default for Config {
    fn default() -> Self {
        // `-e`: a script that goes on after a command failed would report success for half of its work.
        let interpreter = vec!["/bin/sh".to_owned(), "-e".to_owned()];
        Self { interpreter, grace_period: 10.0, env: BTreeMap::new() }
    }
}

impl Config {
    /// What the schema cannot say.
    pub(crate) fn check(&self) -> Result<()> {
        let program = self.interpreter.first().filter(|program| !program.is_empty());
        let program = program.ok_or_else(|| {
            Error::invalid("`interpreter` is empty: name a program, such as [\"/bin/bash\"]")
        })?;
        if program.contains('/') && !program.starts_with('/') {
            return Err(Error::invalid(format!(
                "`interpreter` names the relative path `{program}`: write an absolute path, or a bare name to \
                 look up on PATH"
            )));
        }
        if self.interpreter.iter().any(|word| word.contains('\0')) {
            return Err(Error::invalid("`interpreter` holds a NUL character: remove it"));
        }
        if !(0.0..=86_400.0).contains(&self.grace_period) {
            return Err(Error::invalid(format!(
                "`grace_period` must be from 0 to 86400 seconds, not {}",
                self.grace_period
            )));
        }
        for (name, value) in &self.env {
            variables::check(variables::CONFIGURED, name, value)?;
        }
        Ok(())
    }

    /// How long a cancelled script has between SIGTERM and SIGKILL.
    pub(crate) fn grace(&self) -> Duration {
        Duration::from_secs_f64(self.grace_period)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(json: &str) -> String {
        serde_json::from_str::<Config>(json).unwrap().check().unwrap_err().message
    }

    #[test]
    fn an_empty_section_is_a_configuration() {
        let config: Config = serde_json::from_str("{}").unwrap();
        config.check().unwrap();
        assert_eq!(config.interpreter, ["/bin/sh", "-e"]);
        assert_eq!(config.grace(), Duration::from_secs(10));
    }

    #[test]
    fn an_unknown_key_is_refused() {
        assert!(serde_json::from_str::<Config>(r#"{"interpretor": []}"#).is_err());
    }

    #[test]
    fn what_cannot_work_is_refused_with_what_to_do() {
        insta::assert_snapshot!(message(r#"{"interpreter": []}"#), @r#"`interpreter` is empty: name a program, such as ["/bin/bash"]"#);
        insta::assert_snapshot!(message(r#"{"interpreter": ["bin/run"]}"#), @"`interpreter` names the relative path `bin/run`: write an absolute path, or a bare name to look up on PATH");
        insta::assert_snapshot!(message(r#"{"grace_period": -1}"#), @"`grace_period` must be from 0 to 86400 seconds, not -1");
        insta::assert_snapshot!(message(r#"{"env": {"A=B": "c"}}"#), @"the name `A=B` in `env` cannot be an environment variable's: it holds a `=`; rename it");
    }
}
