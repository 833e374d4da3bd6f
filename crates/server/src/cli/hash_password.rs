//! `towncrier hash-password`: what goes into the configuration in place of a password.

use std::{
    error::Error,
    io::{BufRead, IsTerminal, stdin},
};

use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
use towncrier_auth::{PasswordHash, Passwords, Secret};

/// Reads a password from the standard input, and prints its hash.
pub(crate) fn run() -> Result<(), Box<dyn Error>> {
    let password = read()?;
    Passwords::check_new(&password)?;
    println!("{}", PasswordHash::of(&password)?.to_phc());
    Ok(())
}

/// The first line. On a terminal it is asked for, twice, and not shown.
fn read() -> Result<Secret, Box<dyn Error>> {
    if !stdin().is_terminal() {
        return line();
    }
    let shown = tcgetattr(stdin())?;
    let mut hidden = shown.clone();
    hidden.local_modes.remove(LocalModes::ECHO);
    tcsetattr(stdin(), OptionalActions::Now, &hidden)?;
    let asked = ask();
    tcsetattr(stdin(), OptionalActions::Now, &shown)?;
    asked
}

fn ask() -> Result<Secret, Box<dyn Error>> {
    eprint!("Password: ");
    let first = line()?;
    eprint!("\nAgain: ");
    let again = line()?;
    eprintln!();
    if first == again { Ok(first) } else { Err("these were two different ones".into()) }
}

fn line() -> Result<Secret, Box<dyn Error>> {
    let mut text = String::new();
    stdin().lock().read_line(&mut text)?;
    while text.ends_with(['\n', '\r']) {
        text.pop();
    }
    Ok(Secret::from(text))
}
