//! `oxidag cache`: the script cache.

use anyhow::Context as _;
use serde_json::json;

use crate::args::EnvironmentArgs;
use crate::format::count;
use crate::{output, settings};

/// Removes what oxidag keeps in the Redis of the environment, and nothing else.
pub(super) fn clear(environment: &EnvironmentArgs, json: bool) -> anyhow::Result<()> {
    let plugins = settings::plugins(environment, None)?;
    let (redis, removed) = match plugins.redis()? {
        Some(redis) => {
            let runtime = plugins.background().handle().context("cannot start a thread")?;
            let removed = runtime.block_on(redis.clear()).map_err(anyhow::Error::msg)?;
            (Some(redis.to_string()), removed)
        }
        None => (None, 0),
    };
    let printed = if json {
        output::print_json(&json!({ "redis": redis, "removed": removed }))
    } else {
        output::print(&match redis {
            Some(redis) => {
                format!(
                    "removed {} from {redis}\n",
                    count(usize::try_from(removed).unwrap_or(usize::MAX), "script")
                )
            }
            None => {
                let is_there =
                    environment.env.is_some() || settings::chosen_plugins(environment, None).is_some();
                let why = if is_there {
                    "plugins.toml has no `redis` below [cache]"
                } else {
                    "there is no plugins.toml here"
                };
                format!("there is nothing to clear: {why}, so scripts are kept no longer than the process\n")
            }
        })
    };
    printed.context("cannot print the answer")
}
