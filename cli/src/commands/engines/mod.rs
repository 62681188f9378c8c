//! `oxidag engines`.

mod inspect;
mod list;
mod lock;
mod new;
mod test;

use std::path::{Path, PathBuf};

use oxidag_core::loader::{self, Image, LibraryInfo};
use oxidag_core::state::TaskState;
use serde::Serialize;

use crate::args::EnginesCommand;
use crate::exit::Exit;
use crate::style::{Painted, Palette};

pub(super) fn engines(command: EnginesCommand) -> anyhow::Result<Exit> {
    match command {
        EnginesCommand::List { environment, json } => list::list(&environment, json)?,
        EnginesCommand::Inspect(args) => return inspect::inspect(&args),
        EnginesCommand::Lock { environment, check, json } => return lock::lock(&environment, check, json),
        EnginesCommand::New(args) => new::new(&args)?,
        EnginesCommand::Test(args) => return test::test(&args),
        EnginesCommand::TestChild => test::child()?,
    }
    Ok(Exit::Success)
}

/// What is known of a library without running it: a public shape.
#[derive(Serialize, Default)]
struct Said {
    /// Its file, where it was found.
    path: Option<PathBuf>,
    /// Of the file, in lower-case hexadecimal.
    sha256: Option<String>,
    /// What the handshake in it says; nothing where it has none.
    #[serde(flatten)]
    info: Option<LibraryInfo>,
}

impl Said {
    fn of(path: &Path) -> Self {
        Self {
            path: Some(path.to_owned()),
            // A pipe or a device might never end.
            sha256: path.is_file().then(|| loader::sha256(path).ok()).flatten(),
            info: Image::read(path).ok().map(|image| image.info),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum State {
    /// It was opened and the engine made.
    Loaded,
    /// Neither happened, or not both.
    Refused,
    /// A file that could be opened here, and was not.
    Compatible,
}

impl State {
    fn painted(self, palette: Palette) -> Painted<String> {
        let (name, like) = match self {
            State::Loaded => ("loaded", TaskState::Success),
            State::Refused => ("refused", TaskState::Failed),
            State::Compatible => ("compatible", TaskState::Success),
        };
        palette.task(like, name.to_owned())
    }
}
