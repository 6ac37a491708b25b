//! Builds the zip of a package.
//!
//! **Invariant**: its bytes depend only on the names and contents of the files.

use std::io::Cursor;

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, PreparedZipFile, System, ZipWriter};

use super::{Files, SourceError, handler, size};

/// Packages up to this size, in bytes before compression, are stored uncompressed, so that
/// upgrading the compressor doesn't change their zip.
pub(super) const MAX_STORED: u64 = 1 << 20;

/// The mode of a file, which Lambda applies when it unpacks the zip
/// (docs.aws.amazon.com/lambda/latest/dg/configuration-function-zip.html). Scripts with `#!`, ELF
/// files and `bootstrap`, which Lambda starts
/// (docs.aws.amazon.com/lambda/latest/dg/runtimes-custom.html), are executable.
///
/// The content decides, because the file system's executable bit is unreliable: Windows has none,
/// and an archive, a checkout or a umask can lose it. An extra bit is harmless.
fn mode(name: &str, content: &[u8]) -> u32 {
    let is_executable = name == handler::BOOTSTRAP || content.starts_with(b"#!") || content.starts_with(handler::ELF);
    if is_executable { 0o755 } else { 0o644 }
}

/// Builds the zip: only files, sorted by name, all with the earliest timestamp of the format
/// (1980).
pub(super) fn build(files: &Files, max: u64) -> Result<Vec<u8>, SourceError> {
    let method = if size(files) <= MAX_STORED { CompressionMethod::Stored } else { CompressionMethod::Deflated };
    let options = SimpleFileOptions::default()
        .compression_method(method)
        .compression_level((method == CompressionMethod::Deflated).then_some(6))
        .last_modified_time(DateTime::default())
        // Otherwise the header contains the current operating system.
        .system(System::Unix);
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let mut compressed = 0;
    for (name, content) in files {
        let options = options.unix_permissions(mode(name, content));
        let entry = PreparedZipFile::from_data(name, options, content)?;
        compressed += entry.compressed_size();
        if compressed > max {
            return Err(SourceError::ZipTooLarge);
        }
        zip.add_prepared_file(entry)?;
    }
    let zip = zip.finish()?.into_inner();
    if zip.len() as u64 > max { Err(SourceError::ZipTooLarge) } else { Ok(zip) }
}
