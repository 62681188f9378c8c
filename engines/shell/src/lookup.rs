//! Where a program is that is named without a path, as execvp(3) finds it.

use std::borrow::Cow;
use std::env::split_paths;
use std::ffi::OsStr;
use std::io;
use std::path::Path;

use rustix::fs::{Access, access};
use rustix::io::Errno;

use crate::variables::Environment;

/// Where programs are looked for in an environment without PATH.
const DEFAULT: &str = "/bin:/usr/bin";

/// The path of a program that is to run in `folder` with this environment, whose PATH counts.
///
/// # Errors
///
/// When there is none, or none that may be executed.
pub(crate) fn program<'a>(
    name: &'a str,
    environment: &Environment,
    folder: &Path,
) -> io::Result<Cow<'a, Path>> {
    if name.contains('/') {
        return Ok(Path::new(name).into());
    }
    let paths = environment.get("PATH").unwrap_or(OsStr::new(DEFAULT));
    // An empty entry stands for the folder that the program runs in.
    let places =
        split_paths(paths).map(|place| folder.join(place).join(name)).filter(|place| place.is_file());
    let mut error = Errno::NOENT;
    for place in places {
        match access(&place, Access::EXEC_OK) {
            Ok(()) => return Ok(place.into()),
            Err(refused) => error = refused,
        }
    }
    Err(error.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::task;
    use oxidag_plugin_api::Task;
    use std::collections::BTreeMap;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_first_program_on_the_scripts_own_path_that_may_be_executed_is_found() {
        let dir = tempfile::tempdir().unwrap();
        for (place, mode) in [("a", 0o600), ("b", 0o700), ("c", 0o700)] {
            fs::create_dir(dir.path().join(place)).unwrap();
            let program = dir.path().join(place).join("tool");
            fs::write(&program, "").unwrap();
            fs::set_permissions(&program, Permissions::from_mode(mode)).unwrap();
        }
        fs::create_dir(dir.path().join("tool")).unwrap();
        let found = |path: &str| {
            let mut task = Task { working_dir: dir.path().to_owned(), ..task("") };
            task.params.insert("PATH".to_owned(), path.into());
            let environment = Environment::of(&task, &BTreeMap::new(), Path::new("/r")).unwrap();
            let found = program("tool", &environment, &task.working_dir);
            found.map(|found| found.strip_prefix(dir.path()).unwrap().to_owned()).map_err(|e| e.kind())
        };
        let here = dir.path().to_str().unwrap();
        assert_eq!(found(&format!("/nowhere:{here}:{here}/b:{here}/c")).unwrap(), Path::new("b/tool"));
        assert_eq!(found("a:c").unwrap(), Path::new("c/tool"), "in the folder that it runs in");
        assert_eq!(found("a").unwrap_err(), io::ErrorKind::PermissionDenied);
        assert_eq!(found("").unwrap_err(), io::ErrorKind::NotFound);
    }
}
