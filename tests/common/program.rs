//! The programs run as a user runs them: in a folder of their own, with everything they say kept.
#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed test should panic")]

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

pub const RECONSTRUCT: &str = env!("CARGO_BIN_EXE_reconstruct");
pub const TRAIN: &str = env!("CARGO_BIN_EXE_train");

/// What a program said, and how it ended.
pub struct Ended {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Ended {
    pub fn success(self, what: &str) -> Self {
        assert_eq!(self.code, Some(0), "{what}: {}", self.stderr);
        self
    }

    /// The last line of stdout, the only one.
    pub fn json(&self) -> Value {
        let mut lines = self.stdout.lines();
        let value = serde_json::from_str(lines.next_back().expect("a line on stdout")).unwrap();
        assert_eq!(lines.next(), None, "stdout holds more than the result");
        value
    }
}

/// A folder for one test, and the program run in it.
pub struct Place(TempDir);

impl Place {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn files(&self) -> BTreeSet<PathBuf> {
        std::fs::read_dir(self.0.path())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect()
    }

    pub fn run_with(&self, program: &str, environment: &[(&str, &str)], arguments: &[&str]) -> Ended {
        let output = Command::new(program)
            .args(arguments)
            .current_dir(self.0.path())
            .env_remove("RUST_LOG")
            // Mesa complains on stderr where there is none, as in a container.
            .env("XDG_RUNTIME_DIR", std::env::temp_dir())
            // What somebody calibrated here must not matter.
            .env("KNOTWORK_CACHE", self.0.path().join("cache"))
            .envs(environment.iter().copied())
            .output()
            .unwrap();
        Ended {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    pub fn run(&self, line: &str) -> Ended {
        self.run_with(RECONSTRUCT, &[], &line.split(' ').collect::<Vec<_>>())
    }

    /// Runs what must fail: with this code, one line that contains `expected`, and nothing left behind.
    pub fn refuses(
        &self,
        program: &str,
        environment: &[(&str, &str)],
        arguments: &[&str],
        code: i32,
        expected: &[&str],
    ) {
        let before = self.files();
        let ended = self.run_with(program, environment, arguments);
        let said = &ended.stderr;
        assert_eq!(ended.code, Some(code), "{arguments:?}: {said}");
        // Warnings may come before: which adapter, which environment.
        let messages: Vec<&str> = said.lines().filter(|line| !line.starts_with("[WARN")).collect();
        assert_eq!(messages.len(), 1, "{arguments:?}: {said}");
        assert!(messages[0].starts_with("error: "), "{arguments:?}: {said}");
        assert!(!said.contains("panicked"), "{arguments:?}: {said}");
        for part in expected {
            assert!(messages[0].contains(part), "{arguments:?}: no '{part}' in {said}");
        }
        assert_eq!(ended.stdout, "", "{arguments:?}");
        assert_eq!(self.files(), before, "{arguments:?} left files behind");
    }

    pub fn refuses_line(&self, line: &str, code: i32, expected: &[&str]) {
        self.refuses(RECONSTRUCT, &[], &line.split(' ').collect::<Vec<_>>(), code, expected);
    }
}
