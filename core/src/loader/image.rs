//! What a library says of itself, read from its file: none of its code is run, as opening it would.

use std::fs::File;
use std::path::Path;

use object::read::ReadCache;
use object::{Architecture, Object as _, ObjectSegment as _};
use oxidag_plugin_api::abi::{ABI_MAJOR, HANDSHAKE_SYMBOL, Handshake, MAGIC};

use super::{LibraryInfo, LoadError, file};

/// A library as its file has it.
#[derive(Debug, Clone)]
pub struct Image {
    /// What the library says of itself.
    pub info: LibraryInfo,
    abi_major: u32,
    architecture: Architecture,
}

impl Image {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// [`LoadError`] when it is no engine's library, of any ABI and for any machine.
    pub fn read(path: &Path) -> Result<Self, LoadError> {
        Self::of(path, &file::open(path)?)
    }

    /// The same of a file that is open.
    pub(super) fn of(path: &Path, file: &File) -> Result<Self, LoadError> {
        file::check_complete(path, file)?;
        let not_a_library = || LoadError::NotALibrary { path: path.to_owned() };
        let cache = ReadCache::new(file);
        let object = object::File::parse(&cache).map_err(|_| not_a_library())?;
        let handshake = handshake(&object).ok_or_else(|| LoadError::NotAnEngine { path: path.to_owned() })?;
        Ok(Self {
            info: LibraryInfo::of(&handshake),
            abi_major: handshake.abi_major,
            architecture: object.architecture(),
        })
    }

    /// Whether this oxidag, on this machine, can use the library.
    ///
    /// # Errors
    ///
    /// [`LoadError::Machine`], [`LoadError::Abi`].
    pub fn check(&self, path: &Path) -> Result<(), LoadError> {
        if this_machine().is_some_and(|this| this != self.architecture) {
            let found = self.info.target.clone();
            return Err(LoadError::Machine { path: path.to_owned(), found });
        }
        if self.abi_major != ABI_MAJOR {
            return Err(LoadError::Abi { path: path.to_owned(), found: self.info.abi.clone() });
        }
        Ok(())
    }
}

/// The handshake, which holds no pointers: its bytes in the file are those in memory.
fn handshake<'a>(object: &object::File<'a, &'a ReadCache<&File>>) -> Option<Handshake> {
    let exports = object.exports().ok()?;
    // Mach-O puts an underscore before every name.
    let is_handshake = |name: &[u8]| name.strip_prefix(b"_").unwrap_or(name) == HANDSHAKE_SYMBOL.as_bytes();
    let address = exports.iter().find(|export| is_handshake(export.name()))?.address();
    let size = size_of::<Handshake>() as u64;
    let mut bytes = object.segments().find_map(|segment| segment.data_range(address, size).ok().flatten())?;
    bytes = bytes.get(..size_of::<Handshake>())?;
    // SAFETY: as many bytes are there, and a handshake is made of integers and bytes alone: any are one.
    let handshake = unsafe { bytes.as_ptr().cast::<Handshake>().read_unaligned() };
    (handshake.magic == MAGIC).then_some(handshake)
}

/// The architecture that this program was built for, where its name here is known.
fn this_machine() -> Option<Architecture> {
    match std::env::consts::ARCH {
        "x86_64" => Some(Architecture::X86_64),
        "aarch64" => Some(Architecture::Aarch64),
        "riscv64" => Some(Architecture::Riscv64),
        "powerpc64" => Some(Architecture::PowerPc64),
        "s390x" => Some(Architecture::S390x),
        _ => None,
    }
}
