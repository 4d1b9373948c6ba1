//! Outputs are whole or absent, and what cannot be written is known before the work.

use knotwork::Error;
use knotwork::io::atomic::{check_writable, write_atomically};
use std::fs;
use std::io::{self, Write};
use std::path::Path;

fn entries(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn output_reason(error: Error) -> String {
    match error {
        Error::Output { reason, .. } => reason,
        other => panic!("not an output error: {other:?}"),
    }
}

#[test]
fn a_new_file_is_written_and_nothing_else_stays() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.bin");
    write_atomically(&path, |file| file.write_all(b"content")).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"content");
    assert_eq!(entries(folder.path()), ["out.bin"]);
}

#[test]
fn a_failing_writer_keeps_the_old_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.bin");
    fs::write(&path, b"old").unwrap();
    let error = write_atomically(&path, |file| {
        file.write_all(b"half of the ne")?;
        file.flush()?;
        Err(io::Error::other("the writer gave up"))
    })
    .unwrap_err();
    assert!(output_reason(error).contains("the writer gave up"));
    assert_eq!(fs::read(&path).unwrap(), b"old");
    assert_eq!(entries(folder.path()), ["out.bin"]);
}

#[test]
fn a_panicking_writer_keeps_the_old_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.bin");
    fs::write(&path, b"old").unwrap();
    let outcome = std::panic::catch_unwind(|| write_atomically(&path, |_| panic!("on purpose")));
    assert!(outcome.is_err());
    assert_eq!(fs::read(&path).unwrap(), b"old");
    assert_eq!(entries(folder.path()), ["out.bin"]);
}

#[test]
fn an_existing_file_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.bin");
    fs::write(&path, b"a longer old content").unwrap();
    write_atomically(&path, |file| file.write_all(b"new")).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"new");
}

#[cfg(unix)]
#[test]
fn permissions_are_those_of_an_ordinary_new_file() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let (ours, ordinary) = (folder.path().join("ours"), folder.path().join("ordinary"));
    write_atomically(&ours, |file| file.write_all(b"x")).unwrap();
    fs::File::create(&ordinary).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode();
    assert_eq!(mode(&ours), mode(&ordinary));
}

#[cfg(unix)]
#[test]
fn a_symbolic_link_stays_one() {
    let folder = tempfile::tempdir().unwrap();
    let (target, link) = (folder.path().join("target"), folder.path().join("link"));
    fs::write(&target, b"old").unwrap();
    std::os::unix::fs::symlink(&target, &link).unwrap();
    write_atomically(&link, |file| file.write_all(b"new")).unwrap();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(fs::read(&target).unwrap(), b"new");
}

#[test]
fn a_writable_path_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.bin");
    check_writable(&path).unwrap();
    assert!(entries(folder.path()).is_empty());
    fs::write(&path, b"old").unwrap();
    check_writable(&path).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"old");
    assert_eq!(entries(folder.path()), ["out.bin"]);
}

#[test]
fn a_bare_name_means_the_current_folder() {
    check_writable("a-name-that-no-one-has-used.bin").unwrap();
}

/// Root may write whatever its permissions, so these cases need none: they are impossible for everyone.
#[test]
fn impossible_paths_are_refused_with_a_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, b"x").unwrap();
    let read_only = folder.path().join("read-only");
    fs::write(&read_only, b"x").unwrap();
    let mut permissions = fs::metadata(&read_only).unwrap().permissions();
    permissions.set_readonly(true);
    fs::set_permissions(&read_only, permissions).unwrap();

    for (path, expected) in [
        (folder.path().to_path_buf(), "it is a folder"),
        (folder.path().join("missing/out.bin"), "create it first"),
        (file.join("out.bin"), "is not a folder"),
        (file.join("below/out.bin"), "choose another place"),
        (folder.path().join("name/"), "names no file"),
        (folder.path().join(".."), "names no file"),
        (Path::new("").to_path_buf(), "names no file"),
        (read_only, "is read-only"),
    ] {
        for outcome in [
            check_writable(&path),
            write_atomically(&path, |file| file.write_all(b"y")),
        ] {
            let reason = output_reason(outcome.unwrap_err());
            assert!(reason.contains(expected), "{}: {reason}", path.display());
        }
    }
    assert_eq!(fs::read(&file).unwrap(), b"x");
    assert_eq!(entries(folder.path()), ["file", "read-only"]);
}

#[cfg(unix)]
#[test]
fn a_device_is_not_replaced() {
    let reason = output_reason(check_writable("/dev/null").unwrap_err());
    assert!(reason.contains("not a regular file"), "{reason}");
}
