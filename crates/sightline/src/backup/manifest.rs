//! The manifest of a backup: what it has, which versions wrote it, and a checksum of each file.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Component, Path};

use anyhow::{Context, bail, ensure};
use bus::embedded::LogFiles;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use store::{Relational, SqliteDocuments};

use super::kafka_log;
use crate::out;
use crate::up::dependencies::{ACCOUNTS_FILE, DOCUMENTS_FILE, LOG_FOLDER};

/// The file of the manifest.
pub const FILE: &str = "manifest.json";
/// Version of the format of a backup.
const FORMAT: u32 = 2;
/// The first format whose messages of Kafka are in topics named by their roles.
const KAFKA_FORMAT: u32 = 2;

/// A backup's contents.
#[derive(Debug, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of the format of the backup.
    pub format: u32,
    /// Version of the program that made it.
    pub version: String,
    /// Every frame that was acknowledged before this time is in the backup.
    pub created_at: Timestamp,
    /// Versions of the data.
    pub schema: Schema,
    /// Number of the messages of a log on Kafka.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kafka_messages: Option<u64>,
    /// Parts that were on servers, whose data is not in the backup.
    pub elsewhere: Vec<String>,
    /// Every other file, by its path with `/`.
    pub files: BTreeMap<String, FileSum>,
}

/// For each part, the oldest schema version whose programs can use it; `None` for a part that is not in the backup.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Schema {
    /// Of the log's files.
    pub log: Option<i64>,
    /// Of the copy of a log on Kafka.
    pub kafka: Option<i64>,
    /// Of the documents.
    pub documents: Option<i64>,
    /// Of the accounts.
    pub accounts: Option<i64>,
}

/// Size and checksum of a file.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileSum {
    pub bytes: u64,
    pub sha256: String,
}

impl Manifest {
    /// A manifest without files.
    pub fn new(created_at: Timestamp, elsewhere: Vec<&str>) -> Self {
        Self {
            format: FORMAT,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            created_at,
            schema: Schema::default(),
            kafka_messages: None,
            elsewhere: elsewhere.into_iter().map(str::to_owned).collect(),
            files: BTreeMap::new(),
        }
    }

    /// Reads the manifest of a backup that this version can restore.
    ///
    /// # Errors
    /// When there is none, or a later version wrote it or its data.
    pub fn read(folder: &Path) -> anyhow::Result<Self> {
        #[derive(Deserialize)]
        struct Format {
            format: u32,
        }
        let path = folder.join(FILE);
        let text = fs::read_to_string(&path)
            .with_context(|| format!("{} is not a complete backup: {FILE} cannot be read", folder.display()))?;
        let unreadable = || format!("{} is damaged", path.display());
        // First the version alone, because a later format may have other fields.
        let Format { format } = serde_json::from_str(&text).with_context(unreadable)?;
        ensure!(
            format <= FORMAT,
            "{} has format {format}, this program knows {FORMAT}; use the version that made the backup, or a later one",
            folder.display()
        );
        let manifest: Self = serde_json::from_str(&text).with_context(unreadable)?;
        ensure!(
            manifest.schema.kafka.is_none() || format >= KAFKA_FORMAT,
            "{} has messages of Kafka in format {format}, which this program cannot send; use the version that made the backup",
            folder.display()
        );
        manifest.check_schema()?;
        Ok(manifest)
    }

    fn check_schema(&self) -> anyhow::Result<()> {
        let Schema { log, kafka, documents, accounts } = self.schema;
        for (part, version, known) in [
            ("log", log, LogFiles::VERSION),
            ("messages of Kafka", kafka, LogFiles::VERSION),
            ("documents", documents, SqliteDocuments::VERSION),
            ("accounts", accounts, Relational::VERSION),
        ] {
            let version = version.unwrap_or_default();
            ensure!(
                version <= known,
                "schema version {version} of the backup's {part} is newer than {known}, which this program knows; use the \
                 sightline that made the backup (version {}), or a later one",
                self.version
            );
        }
        Ok(())
    }

    /// Writes the file.
    pub fn write(&self, folder: &Path) -> anyhow::Result<()> {
        fs::write(folder.join(FILE), serde_json::to_vec_pretty(self)?).context("the manifest cannot be written")
    }

    /// Checks that the folder has these files and no others, with these contents.
    ///
    /// # Errors
    /// Names the first file that is missing, changed or unknown.
    pub fn verify(&self, folder: &Path) -> anyhow::Result<()> {
        self.check_parts(folder)?;
        let found = files_in(folder)?;
        for (path, sum) in &self.files {
            match found.get(path) {
                None => bail!("{} is damaged: {path} is missing", folder.display()),
                Some(found) if found != sum => bail!("{} is damaged: {path} has another content", folder.display()),
                Some(_) => {}
            }
        }
        match found.keys().find(|path| !self.files.contains_key(*path)) {
            Some(path) => bail!("{} has a file that is not part of the backup: {path}", folder.display()),
            None => Ok(()),
        }
    }

    /// Checks that each part with a version has a file.
    fn check_parts(&self, folder: &Path) -> anyhow::Result<()> {
        let Schema { log, documents, accounts, .. } = self.schema;
        for (version, name) in [(log, LOG_FOLDER), (documents, DOCUMENTS_FILE), (accounts, ACCOUNTS_FILE)] {
            let has_file = || self.files.keys().any(|file| Path::new(file).starts_with(name));
            ensure!(version.is_none() || has_file(), "{} is damaged: {name} is missing in {FILE}", folder.display());
        }
        Ok(())
    }

    /// Whether it has parts of a data folder.
    pub fn has_data_folder(&self) -> bool {
        let Schema { log, documents, accounts, .. } = self.schema;
        log.or(documents).or(accounts).is_some() || self.files.keys().any(|path| !path.starts_with(kafka_log::FOLDER))
    }

    /// The result for people, on one line.
    pub fn summary(&self) -> String {
        let bytes: u64 = self.files.values().map(|sum| sum.bytes).sum();
        let files = out::counted(self.files.len(), "file", "files");
        format!("backup of {} by version {}: {files}, {} MB", self.created_at, self.version, bytes.div_ceil(1_000_000))
    }
}

/// Size and checksum of each file below a folder, except the manifest.
pub fn files_in(folder: &Path) -> anyhow::Result<BTreeMap<String, FileSum>> {
    let mut files = BTreeMap::new();
    add(folder, folder, &mut files)?;
    files.remove(FILE);
    Ok(files)
}

fn add(root: &Path, folder: &Path, files: &mut BTreeMap<String, FileSum>) -> anyhow::Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("{} cannot be read", folder.display()))? {
        let entry = entry?;
        let (path, kind) = (entry.path(), entry.file_type()?);
        if kind.is_dir() {
            add(root, &path, files)?;
            continue;
        }
        ensure!(kind.is_file(), "{} is neither a file nor a folder", path.display());
        let parts = path.strip_prefix(root)?.components().map(|part| match part {
            Component::Normal(name) => name.to_str().context("a name is not UTF-8"),
            _ => bail!("{} is not below the folder", path.display()),
        });
        let name = parts.collect::<anyhow::Result<Vec<_>>>()?.join("/");
        files.insert(name, sum_of(&path).with_context(|| format!("{} cannot be read", path.display()))?);
    }
    Ok(())
}

fn sum_of(path: &Path) -> std::io::Result<FileSum> {
    let (mut file, mut hash, mut bytes) = (File::open(path)?, Sha256::new(), 0);
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            read => {
                hash.update(&buffer[..read]);
                bytes += read as u64;
            }
        }
    }
    let sha256 = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(FileSum { bytes, sha256 })
}
