//! Scripts of the `local` location: files below a root.

use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::Arc;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};

use super::{LARGEST, LoadedScript, ScriptError, text_of};

/// What stands in a URI as it is.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A script's file; without its text where an engine only wants to know where it is.
pub(super) fn read(path: &Path, bucket: &Path, with_text: bool) -> Result<LoadedScript, ScriptError> {
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => ScriptError::Missing(path.to_owned()),
        _ => ScriptError::Read { path: path.to_owned(), source: Arc::new(error) },
    };
    let real = path.canonicalize().map_err(failed)?;
    if !real.starts_with(bucket.canonicalize().map_err(failed)?) {
        return Err(ScriptError::Outside { path: path.to_owned(), bucket: bucket.to_owned() });
    }
    // A pipe or a device would be waited for, or read, for ever.
    let kind = fs::metadata(&real).map_err(failed)?;
    if !kind.is_file() || (with_text && kind.len() > LARGEST) {
        return Err(ScriptError::NotAScript(path.to_owned()));
    }
    let name = path.display().to_string();
    let uri = Some(uri(&real));
    if !with_text {
        // It has to be one that can be read.
        File::open(&real).map_err(failed)?;
        return Ok(LoadedScript { name, text: "".into(), path: None, uri });
    }
    let text = text_of(&name, fs::read(&real).map_err(failed)?)?;
    Ok(LoadedScript { name, text, path: Some(real), uri })
}

fn uri(path: &Path) -> String {
    format!("file://{}", percent_encode(path.as_os_str().as_bytes(), PLAIN))
}
