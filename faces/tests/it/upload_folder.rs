//! Opening and deleting files in the folder of uploads, whatever their paths are.

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use contracts::{TenantId, UploadOutcome};
use faces::uploads::{FileId, MOST_OF_USER, PhotoEraser, ReadError, UploadFolder, UploadedFile, WriteError};
use rustix::fs::{CWD, Mode, mkfifoat};
use store::TenantEraser;
use tempfile::TempDir;

const LIMIT: usize = 1_000;

/// A folder of uploads with `a.jpg`, beside a file that is not in it.
struct TestFolder {
    folder: UploadFolder,
    root: PathBuf,
    outside: PathBuf,
    _parent: TempDir,
}

impl TestFolder {
    fn new() -> Self {
        let parent = tempfile::tempdir().unwrap();
        let (root, outside) = (parent.path().join("uploads"), parent.path().join("secret"));
        fs::create_dir_all(root.join("sub")).unwrap();
        fs::write(root.join("a.jpg"), "a").unwrap();
        fs::write(&outside, "secret").unwrap();
        Self { folder: UploadFolder::open(&root, LIMIT).unwrap(), root, outside, _parent: parent }
    }

    fn read(&self, path: &str) -> UploadedFile {
        match self.folder.read(path) {
            Ok(file) => file,
            Err(error) => panic!("{path}: {error:?}"),
        }
    }

    /// The refusal of a path, and which file it would delete.
    fn refused(&self, path: &str) -> (UploadOutcome, Option<FileId>) {
        match self.folder.read(path) {
            Err(ReadError::Refused(outcome, id)) => (outcome, id),
            Err(ReadError::Failed(error)) => panic!("{path}: {error}"),
            Ok(_) => panic!("{path} was read"),
        }
    }

    /// The outcome of a path that names nothing that may be deleted.
    fn refused_without_a_file(&self, path: &str) -> UploadOutcome {
        let (outcome, id) = self.refused(path);
        assert_eq!(id, None, "{path}");
        outcome
    }
}

#[test]
fn a_file_in_the_folder_is_read_and_deleted() {
    let test = TestFolder::new();
    fs::write(test.root.join("sub/b.jpg"), "b").unwrap();
    let absolute = test.root.join("a.jpg");
    for (path, content) in [("sub/../a.jpg", "a"), ("./sub/b.jpg", "b"), (absolute.to_str().unwrap(), "a")] {
        assert_eq!(test.read(path).bytes, content, "{path}");
    }
    let file = test.read("sub/b.jpg");
    assert!(test.folder.delete("sub/b.jpg", &file.id).unwrap());
    assert!(!test.root.join("sub/b.jpg").exists() && absolute.exists());
    // A repeat after a crash, with what was stored.
    assert!(!test.folder.delete("sub/b.jpg", &FileId::stored(file.id.to_string())).unwrap());
}

#[test]
fn no_path_leads_out_of_the_folder() {
    let test = TestFolder::new();
    symlink(&test.root, test.root.join("sub/again")).unwrap();
    let outside = test.outside.to_str().unwrap().to_owned();
    let beside = format!("{}/../secret", test.root.display());
    for path in ["../secret", "sub/../../secret", "..", "/etc/passwd", "/", &outside, &beside] {
        assert_eq!(test.refused_without_a_file(path), UploadOutcome::PathOutside, "{path}");
    }
    for path in ["", "missing", "sub/missing", "a.jpg/", "a.jpg/b", "a\u{0}.jpg", &"x".repeat(300), &"x/".repeat(3_000)]
    {
        assert_eq!(test.refused_without_a_file(path), UploadOutcome::FileMissing, "{path}");
    }
    assert_eq!(fs::read_to_string(&test.outside).unwrap(), "secret");
    assert!(test.root.join("a.jpg").exists());
}

#[test]
fn a_link_is_not_followed_and_only_the_link_is_deleted() {
    let test = TestFolder::new();
    let links = [("outside", test.outside.clone()), ("inside", test.root.join("a.jpg")), ("none", "nowhere".into())];
    for (name, target) in links {
        symlink(target, test.root.join(name)).unwrap();
        let (outcome, id) = test.refused(name);
        assert_eq!(outcome, UploadOutcome::PathIsLink, "{name}");
        assert!(test.folder.delete(name, &id.unwrap()).unwrap(), "{name}");
        assert!(test.root.join(name).symlink_metadata().is_err(), "{name}");
    }
    symlink(test.outside.parent().unwrap(), test.root.join("folder")).unwrap();
    assert_eq!(test.refused_without_a_file("folder/secret"), UploadOutcome::PathIsLink);
    let secret = UploadFolder::open(test.outside.parent().unwrap(), LIMIT).unwrap().read("secret").unwrap();
    assert!(!test.folder.delete("folder/secret", &secret.id).unwrap(), "deleting follows no link either");
    assert!(!test.folder.delete("../secret", &secret.id).unwrap());
    assert!(test.outside.exists() && test.root.join("a.jpg").exists());
}

#[test]
fn only_a_regular_file_is_read() {
    let test = TestFolder::new();
    // Without a writer: to open it would wait for one.
    mkfifoat(CWD, test.root.join("fifo"), Mode::RUSR | Mode::WUSR).unwrap();
    let _listener = UnixListener::bind(test.root.join("socket")).unwrap();
    for name in ["fifo", "socket"] {
        let (outcome, id) = test.refused(name);
        assert_eq!(outcome, UploadOutcome::NotAFile, "{name}");
        assert!(test.folder.delete(name, &id.unwrap()).unwrap(), "{name}");
    }
    for folder in ["sub", "."] {
        let (outcome, id) = test.refused(folder);
        assert_eq!(outcome, UploadOutcome::NotAFile, "{folder}");
        assert!(!test.folder.delete(folder, &id.unwrap()).unwrap(), "a folder stays");
    }
    assert!(test.root.join("sub").is_dir());
    let devices = UploadFolder::open(Path::new("/dev"), LIMIT).unwrap();
    let null = devices.read("null");
    // In some containers each device is mounted by itself.
    let allowed = [UploadOutcome::NotAFile, UploadOutcome::PathOutside];
    assert!(matches!(null, Err(ReadError::Refused(outcome, _)) if allowed.contains(&outcome)));
}

#[test]
fn no_more_than_the_limit_is_read() {
    let test = TestFolder::new();
    fs::write(test.root.join("full"), vec![7; LIMIT]).unwrap();
    assert_eq!(test.read("full").bytes.len(), LIMIT);
    fs::write(test.root.join("large"), vec![7; LIMIT + 1]).unwrap();
    // Without blocks on the disk.
    fs::File::create(test.root.join("sparse")).unwrap().set_len(1 << 40).unwrap();
    for name in ["large", "sparse"] {
        let (outcome, id) = test.refused(name);
        assert_eq!(outcome, UploadOutcome::FileTooLarge, "{name}");
        assert!(test.folder.delete(name, &id.unwrap()).unwrap(), "{name}");
    }
}

#[test]
fn a_file_that_was_replaced_changed_or_deleted_since_stays() {
    let test = TestFolder::new();
    let path = test.root.join("a.jpg");
    let first = test.read("a.jpg");
    fs::write(test.root.join("new"), "b").unwrap();
    fs::rename(test.root.join("new"), &path).unwrap();
    assert!(!test.folder.delete("a.jpg", &first.id).unwrap());
    let second = test.read("a.jpg");
    assert_eq!((&second.bytes[..], first.id == second.id), (&b"b"[..], false));
    fs::write(&path, "longer").unwrap();
    assert!(!test.folder.delete("a.jpg", &second.id).unwrap());
    assert_eq!(fs::read_to_string(&path).unwrap(), "longer");
    let third = test.read("a.jpg");
    fs::remove_file(&path).unwrap();
    assert!(!test.folder.delete("a.jpg", &third.id).unwrap());
    symlink(&test.outside, &path).unwrap();
    assert!(!test.folder.delete("a.jpg", &third.id).unwrap());
    assert!(path.symlink_metadata().is_ok() && test.outside.exists());
}

#[test]
fn a_folder_that_is_not_there_is_named() {
    let test = TestFolder::new();
    for wrong in [test.root.join("missing"), test.root.join("a.jpg")] {
        let error = UploadFolder::open(&wrong, LIMIT).unwrap_err().to_string();
        assert!(error.contains(wrong.to_str().unwrap()), "{error}");
    }
}

#[tokio::test]
async fn a_users_photographs_are_bounded_erased_and_swept() {
    let test = TestFolder::new();
    let (ann, other): (TenantId, TenantId) = ("a".parse().unwrap(), "a-b".parse().unwrap());
    let first = test.folder.write(&ann, b"image").unwrap();
    assert_eq!(test.read(&first).bytes, "image");
    for _ in 1..MOST_OF_USER {
        test.folder.write(&ann, b"image").unwrap();
    }
    assert!(matches!(test.folder.write(&ann, b"image"), Err(WriteError::TooManyOfUser)));
    let of_other = test.folder.write(&other, b"image").unwrap();
    let now = std::time::SystemTime::now();
    assert_eq!(test.folder.sweep(now - std::time::Duration::from_secs(3_600)).unwrap(), 0);

    // One that was sent after the deletion of a subject stays.
    assert_eq!(test.folder.erase_before(&ann, now - std::time::Duration::from_secs(3_600)).unwrap(), 0);
    assert!(test.root.join(&first).exists());

    let folder = std::sync::Arc::new(UploadFolder::open(&test.root, LIMIT).unwrap());
    let erased = PhotoEraser(folder).erase(&ann).await.unwrap();
    assert_eq!(erased.count, MOST_OF_USER as u64);
    assert!(!test.root.join(first).exists() && test.root.join(&of_other).exists() && test.root.join("a.jpg").exists());
    // Files of other programs are theirs.
    assert_eq!(test.folder.sweep(now + std::time::Duration::from_secs(3_600)).unwrap(), 1);
    assert!(!test.root.join(of_other).exists() && test.root.join("a.jpg").exists());
}
