//! The NCCL library of this machine, opened at run time.
//!
//! Types come from cudarc, its loader is not used: it takes no path, does not know NCCL's soname `libnccl.so.2`, panics
//! where the library or a function is missing, keeps one library for the whole process (tests need several), and reads
//! result codes as a Rust enum, which is undefined behaviour with the code of a newer NCCL.

use std::error::Error;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::fmt;
use std::mem::ManuallyDrop;
use std::path::Path;
use std::sync::Arc;

use cudarc::nccl::sys::{cudaStream_t, ncclComm_t, ncclConfig_t, ncclDataType_t, ncclRedOp_t, ncclUniqueId};

use crate::GroupError;

/// Names the library's file; wins over every other place.
pub const LIBRARY_VARIABLE: &str = "LSGAN_NCCL_LIB";

/// If libtorch has loaded NCCL already, the soname gives the same library.
const SONAMES: [&str; 2] = ["libnccl.so.2", "libnccl.so"];

/// `ncclResult_t`.
pub(super) const SUCCESS: c_int = 0;
pub(super) const IN_PROGRESS: c_int = 7;

/// A version of NCCL as it counts since 2.9: 10000·major + 100·minor + patch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NcclVersion(pub u32);

impl NcclVersion {
    /// The first version with the non-blocking communicators and the config that this module uses.
    pub const OLDEST: Self = Self(2_18_00);

    /// What is known to go wrong with it, in words for the user.
    #[must_use]
    pub fn trouble(self) -> Option<String> {
        let may_hang = (2_28_03..=2_28_08).contains(&self.0);
        may_hang.then(|| {
            format!("NCCL {self} is known to hang (2.28.3 to 2.28.8 are); install 2.28.9 or newer, or 2.27")
        })
    }
}

impl fmt::Display for NcclVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0 / 10_000, self.0 / 100 % 100, self.0 % 100)
    }
}

macro_rules! functions {
    ($($field:ident = $symbol:literal: fn($($argument:ty),*) -> $result:ty;)*) => {
        /// The functions used here, with the signatures of `nccl.h`.
        pub(super) struct Functions {
            $(pub(super) $field: unsafe extern "C" fn($($argument),*) -> $result,)*
        }

        impl Functions {
            fn of(library: &libloading::Library) -> Result<Self, libloading::Error> {
                // SAFETY: each field's type is the signature in `nccl.h` for this name, the same in all versions from
                // 2.18 on. The pointers outlive the borrow of `library` because the library is never closed.
                unsafe { Ok(Self { $($field: *library.get($symbol)?,)* }) }
            }
        }
    };
}

functions! {
    get_unique_id = c"ncclGetUniqueId": fn(*mut ncclUniqueId) -> c_int;
    comm_init_rank_config = c"ncclCommInitRankConfig":
        fn(*mut ncclComm_t, c_int, ncclUniqueId, c_int, *mut ncclConfig_t) -> c_int;
    comm_get_async_error = c"ncclCommGetAsyncError": fn(ncclComm_t, *mut c_int) -> c_int;
    comm_finalize = c"ncclCommFinalize": fn(ncclComm_t) -> c_int;
    comm_destroy = c"ncclCommDestroy": fn(ncclComm_t) -> c_int;
    comm_abort = c"ncclCommAbort": fn(ncclComm_t) -> c_int;
    all_reduce = c"ncclAllReduce":
        fn(*const c_void, *mut c_void, usize, ncclDataType_t, ncclRedOp_t, ncclComm_t, cudaStream_t) -> c_int;
    broadcast = c"ncclBroadcast":
        fn(*const c_void, *mut c_void, usize, ncclDataType_t, c_int, ncclComm_t, cudaStream_t) -> c_int;
    get_version = c"ncclGetVersion": fn(*mut c_int) -> c_int;
    get_error_string = c"ncclGetErrorString": fn(c_int) -> *const c_char;
    get_last_error = c"ncclGetLastError": fn(ncclComm_t) -> *const c_char;
}

/// An NCCL library. A clone is the same library.
#[derive(Clone)]
pub struct Library {
    inner: Arc<Inner>,
}

struct Inner {
    name: String,
    version: NcclVersion,
    functions: Functions,
    /// Never closed: after an abort a thread of NCCL destroys the communicator, and may still run the library's code.
    _library: ManuallyDrop<libloading::Library>,
}

impl Library {
    /// Opens this machine's NCCL: the file in [`LIBRARY_VARIABLE`], and no other if it is set; otherwise `beside`, the
    /// file next to the worker's libtorch; otherwise the one that the system's loader finds.
    pub fn find(beside: Option<&Path>) -> Result<Self, GroupError> {
        if let Some(named) = std::env::var_os(LIBRARY_VARIABLE) {
            return Self::open(Path::new(&named));
        }
        let mut tried = Vec::new();
        for candidate in beside.into_iter().chain(SONAMES.iter().map(Path::new)) {
            match Self::open(candidate) {
                Err(GroupError::NcclMissing { tried: this }) => tried.extend(this),
                opened_or_too_old => return opened_or_too_old,
            }
        }
        Err(GroupError::NcclMissing { tried })
    }

    /// Opens the library in this file, or with this name where the system's loader looks.
    pub fn open(file: &Path) -> Result<Self, GroupError> {
        let name = file.display().to_string();
        // SAFETY: this runs the library's initialisers; NCCL's have no preconditions. The user vouches that the file is an
        // NCCL, as for every library that the system's loader finds.
        let library = unsafe { libloading::Library::new(file) };
        let functions = library.and_then(|library| Ok((Functions::of(&library)?, library)));
        let (functions, library) = functions.map_err(|error| {
            // The loader's text, which names the file or function, is the error's source.
            let said = error.source().map_or_else(|| error.to_string(), ToString::to_string);
            let tried = if said.contains(&name) { said } else { format!("{name}: {said}") };
            GroupError::NcclMissing { tried: vec![tried] }
        })?;
        let mut code = 0;
        // SAFETY: the function has `nccl.h`'s signature and writes one int.
        let outcome = unsafe { (functions.get_version)(&raw mut code) };
        let version = NcclVersion(u32::try_from(code).unwrap_or(0));
        if outcome != SUCCESS || version < NcclVersion::OLDEST {
            return Err(GroupError::NcclTooOld { library: name, version, oldest: NcclVersion::OLDEST });
        }
        let inner = Inner { name, version, functions, _library: ManuallyDrop::new(library) };
        Ok(Self { inner: Arc::new(inner) })
    }

    #[must_use]
    pub fn version(&self) -> NcclVersion {
        self.inner.version
    }

    /// One line for a log: version, file, and NCCL's settings in the environment.
    #[must_use]
    pub fn description(&self) -> String {
        let mut settings: Vec<_> = std::env::vars_os()
            .filter_map(|(name, value)| {
                let name = name.into_string().ok().filter(|name| name.starts_with("NCCL_"))?;
                Some(format!("{name}={}", value.to_string_lossy()))
            })
            .collect();
        settings.sort();
        let settings = if settings.is_empty() { "no NCCL_* set".to_owned() } else { settings.join(" ") };
        format!("NCCL {} from {}, {settings}", self.inner.version, self.inner.name)
    }

    pub(super) fn functions(&self) -> &Functions {
        &self.inner.functions
    }

    /// NCCL's text for `code`, with the last error that it logged for this communicator (for any, if it is null).
    pub(super) fn words(&self, code: c_int, communicator: ncclComm_t) -> String {
        let text = |words: *const c_char| {
            // SAFETY: NCCL returns null or a C string that it keeps; it is copied at once.
            (!words.is_null()).then(|| unsafe { CStr::from_ptr(words) }.to_string_lossy().trim().to_owned())
        };
        // SAFETY: both functions have `nccl.h`'s signatures; the communicator is alive, or null, which ncclGetLastError
        // ignores.
        let (error, last) = unsafe {
            ((self.functions().get_error_string)(code), (self.functions().get_last_error)(communicator))
        };
        let parts: Vec<_> =
            [text(error), text(last)].into_iter().flatten().filter(|text| !text.is_empty()).collect();
        if parts.is_empty() { "NCCL says nothing".to_owned() } else { parts.join(": ") }
    }
}

impl fmt::Debug for Library {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Library(NCCL {} from {})", self.inner.version, self.inner.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_that_may_hang_are_named() {
        let troubled = |code| NcclVersion(code).trouble().is_some();
        assert_eq!([22_802, 22_803, 22_808, 22_809].map(troubled), [false, true, true, false]);
        assert!(NcclVersion(22_803).trouble().is_some_and(|text| text.starts_with("NCCL 2.28.3 ")));
    }
}
