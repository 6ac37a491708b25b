//! The zip of a function, for upload: in memory, or packed when it is needed.
//!
//! **Invariant:** its bytes have the hash that the plan shows, or there are none.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use engine_core::kind::ArtifactSource;

use super::{CodeSource, archive, code_sha256, read_named, zip_of};

/// A zip in memory.
pub(super) struct Zip(pub(super) Arc<[u8]>);

impl ArtifactSource for Zip {
    fn bytes(&self) -> Result<Arc<[u8]>, String> {
        Ok(Arc::clone(&self.0))
    }

    fn files(&self, is_wanted: &dyn Fn(&str) -> bool) -> Option<BTreeMap<String, Vec<u8>>> {
        archive::named(&self.0, is_wanted)
    }
}

impl fmt::Debug for Zip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a zip of {} bytes", self.0.len())
    }
}

/// A folder that was packed before, and is packed again only for an upload.
pub(super) struct PackedFolder {
    pub(super) source: CodeSource,
    pub(super) code_sha256: String,
    pub(super) zip: Mutex<Option<Arc<[u8]>>>,
}

impl ArtifactSource for PackedFolder {
    fn bytes(&self) -> Result<Arc<[u8]>, String> {
        let mut slot = self.zip.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(zip) = &*slot {
            return Ok(Arc::clone(zip));
        }
        let errors =
            |errors: Vec<super::SourceError>| errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
        let zip: Arc<[u8]> = zip_of(&self.source).map_err(errors)?.into();
        if code_sha256(&zip) != self.code_sha256 {
            return Err("the code changed after engine read it; run the command again".to_owned());
        }
        *slot = Some(Arc::clone(&zip));
        Ok(zip)
    }

    fn files(&self, is_wanted: &dyn Fn(&str) -> bool) -> Option<BTreeMap<String, Vec<u8>>> {
        read_named(&self.source, is_wanted)
    }
}

impl fmt::Debug for PackedFolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the folder of {:?}", self.source)
    }
}
