//! Signals that ask a process to stop. Every case runs in a process of its own: this test program again, with only the
//! ignored test below, which says on stdout what it saw.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed test should panic")]

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Output};

use knotwork::Error;
use knotwork::command::Interrupt;
use signal_hook::consts::{SIGINT, SIGTERM, SIGUSR1};
use signal_hook::low_level::raise;

const VARIABLE: &str = "KNOTWORK_TEST_SIGNALS";

#[test]
#[ignore = "the child process of the other tests"]
fn child() {
    let Ok(signals) = std::env::var(VARIABLE) else {
        panic!("{VARIABLE} lists no signals");
    };
    let interrupt = Interrupt::install().unwrap();
    println!("saw {:?}", interrupt.requested());
    for signal in signals.split(',').filter(|signal| !signal.is_empty()) {
        raise(signal.parse().unwrap()).unwrap();
        println!("saw {:?}", interrupt.clone().requested());
    }
}

fn run(signals: &[i32]) -> (Output, Vec<String>) {
    let list: Vec<String> = signals.iter().map(i32::to_string).collect();
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["child", "--exact", "--ignored", "--nocapture"])
        .env(VARIABLE, list.join(","))
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    // The harness's own words come before, on the same line.
    let seen = text
        .lines()
        .filter_map(|line| line.split_once("saw "))
        .map(|(_, seen)| seen.to_owned())
        .collect();
    (output, seen)
}

#[test]
fn the_first_signal_is_remembered_by_name() {
    for (signals, names) in [
        (vec![], vec![]),
        (vec![SIGINT], vec!["SIGINT"]),
        (vec![SIGTERM], vec!["SIGTERM"]),
        (vec![SIGUSR1, SIGUSR1], vec!["SIGUSR1", "SIGUSR1"]),
        // The early warning of a batch system, then its limit: there is still time to write.
        (vec![SIGUSR1, SIGTERM], vec!["SIGUSR1", "SIGTERM"]),
    ] {
        let (output, seen) = run(&signals);
        assert!(output.status.success(), "{signals:?}: {output:?}");
        assert_eq!(seen[0], "None");
        let want: Vec<String> = names.iter().map(|name| format!("Some({name:?})")).collect();
        assert_eq!(seen[1..], want[..], "{signals:?}");
    }
}

#[test]
fn the_second_signal_ends_the_process_as_usual() {
    for (signals, count) in [
        (vec![SIGINT, SIGINT], 2),
        (vec![SIGINT, SIGTERM], 2),
        (vec![SIGTERM, SIGINT], 2),
        (vec![SIGUSR1, SIGTERM, SIGUSR1, SIGTERM], 4),
    ] {
        let (output, seen) = run(&signals);
        assert_eq!(
            output.status.signal(),
            signals.last().copied(),
            "{signals:?}: {output:?}"
        );
        assert_eq!(seen.len(), count, "{signals:?}");
    }
}

#[test]
fn interrupted_work_asks_to_be_run_again() {
    let error = Error::Interrupted("stopped by SIGTERM at step 7; run again to continue".into());
    assert_eq!(error.exit_code(), 75);
    assert_eq!(error.to_string(), "stopped by SIGTERM at step 7; run again to continue");
}
