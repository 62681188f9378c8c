//! `oxidag engines lock`.

use anyhow::Context as _;
use oxidag_core::plugins::{Change, Lock, Plugins, environments};
use serde::Serialize;

use crate::args::EnvironmentArgs;
use crate::exit::Exit;
use crate::format::count;
use crate::{output, settings};

/// What locking did, or would do: a public shape.
#[derive(Serialize)]
struct Locked {
    /// The lock file.
    path: std::path::PathBuf,
    /// How many libraries it has now, or would have.
    libraries: usize,
    changes: Vec<Change>,
}

pub(super) fn lock(environment: &EnvironmentArgs, check: bool, json: bool) -> anyhow::Result<Exit> {
    let file = settings::chosen_plugins(environment, None)
        .context("there is no plugins.toml to lock; make one, or name it with --plugins")?;
    let allow_writable = environment.trust.allow_writable;
    let before = Lock::read(&file, allow_writable)?.unwrap_or_default();
    let mut lock = before.clone();
    let environments = match &environment.env {
        Some(name) => vec![Some(name.clone())],
        None => [None].into_iter().chain(environments(&file)?.into_iter().map(Some)).collect(),
    };
    for name in environments {
        let plugins = Plugins::load(Some(&file), name.as_deref(), allow_writable)?;
        lock.update(&file, &plugins.engines, allow_writable).with_context(|| match name {
            Some(name) if environment.env.is_none() => {
                format!("environment `{name}` (where some have libraries that are not here, lock one by one with --env)")
            }
            _ => "cannot lock".to_owned(),
        })?;
    }
    let changes = before.changes(&lock);
    if !check {
        lock.write(&file)?;
    }
    let exit = if check && !changes.is_empty() { Exit::Failed } else { Exit::Success };
    let locked = Locked { path: Lock::beside(&file), libraries: lock.len(), changes };
    let printed = if json { output::print_json(&locked) } else { output::print(&lines(&locked, check)) };
    printed.context("cannot print what was locked")?;
    Ok(exit)
}

fn lines(Locked { path, libraries, changes }: &Locked, check: bool) -> String {
    let mut text = String::new();
    for Change { library, from, to } in changes {
        text += &match (from, to) {
            (None, Some(to)) => format!("new      {library} {to}\n"),
            (Some(from), Some(to)) => format!("changed  {library} {from} -> {to}\n"),
            (Some(from), None) => format!("removed  {library} {from}\n"),
            (None, None) => String::new(),
        };
    }
    let path = path.display();
    text += &match (check, changes.is_empty()) {
        (false, _) => format!("{} locked in {path}\n", count(*libraries, "library file")),
        (true, true) => format!("{} as in {path}\n", count(*libraries, "library file")),
        (true, false) => format!("{path} does not have these; `oxidag engines lock` takes them up\n"),
    };
    text
}
