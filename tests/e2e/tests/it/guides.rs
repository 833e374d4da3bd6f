//! What guides show of programs, as the programs print it today.

use std::process::Command;

use towncrier_e2e::shipped::{path, text};

/// The commands of a guide's console blocks, each with what it is said to print.
fn shown(guide: &str) -> Vec<(String, String)> {
    let text = text(guide);
    let blocks = text.split("```console\n$ ").skip(1);
    let block = |block: &str| {
        let (command, rest) = block.split_once('\n').expect("a command");
        (command.to_owned(), rest.split_once("```").expect("an end").0.to_owned())
    };
    blocks.map(block).collect()
}

#[test]
fn the_simulation_prints_what_the_guide_shows() {
    let shown = shown("docs/scaling.md");
    for kind in ["plan", "deploy", "crash", "outage"] {
        assert!(shown.iter().any(|(command, _)| command.contains(kind)), "no {kind}");
    }
    for (command, expected) in shown {
        let words: Vec<&str> = command.split(' ').collect();
        assert_eq!(words[..2], ["python3", "tests/bench/scaling"], "{command}");
        let output = Command::new(words[0]).args(&words[1..]).current_dir(path("")).output().expect("python3");
        let printed = String::from_utf8(output.stdout).expect("UTF-8");
        assert_eq!(printed, expected, "{command} {}", String::from_utf8_lossy(&output.stderr));
        // It ends with 1 where it says so.
        assert_eq!(output.status.code(), Some(i32::from(expected.contains("does not fit"))), "{command}");
    }
}
