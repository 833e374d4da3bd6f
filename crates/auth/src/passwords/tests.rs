use std::{sync::mpsc, time::Instant};

use towncrier_wire::Name;

use super::*;
use crate::Rights;

fn secret(text: &str) -> Secret {
    Secret::from(text.to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_is_known_by_its_hash() {
    let passwords = Passwords::new(PasswordOptions::default());
    let hash = passwords.hash(secret("correct horse battery")).await.expect("a hash");
    let text = hash.to_phc();
    assert!(text.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{text}");
    let read = PasswordHash::parse(&text).expect("what it printed");
    assert_eq!(read, hash);
    for (password, right) in [
        ("correct horse battery", true),
        ("correct horse batterz", false),
        ("correct horse battery ", false),
        ("", false),
    ] {
        assert_eq!(passwords.verify(secret(password), read.clone()).await, Ok(right), "{password:?}");
    }
    let again = passwords.hash(secret("correct horse battery")).await.expect("a hash");
    assert_ne!(again.to_phc(), text, "a salt of its own");
    assert_eq!(format!("{hash:?}"), "PasswordHash(…)");
}

#[tokio::test]
async fn lengths_are_bounded_before_any_work() {
    let passwords = Passwords::new(PasswordOptions::default());
    let begun = Instant::now();
    let long = || Secret::new(vec![b'x'; PASSWORD_BYTES_MAX + 1]);
    assert_eq!(passwords.hash(secret("seven77")).await, Err(PasswordError::TooShort));
    for _ in 0..1000 {
        assert_eq!(passwords.hash(long()).await, Err(PasswordError::TooLong));
        assert_eq!(passwords.verify(long(), PasswordHash::stranger()).await, Err(PasswordError::TooLong));
    }
    assert!(begun.elapsed() < Duration::from_secs(10), "1,000 hashes would take longer: {:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_run_and_wait_than_may() {
    let options = PasswordOptions { running: 1, waiting: 1, wait: Duration::from_secs(60) };
    let passwords = Arc::new(Passwords::new(options));
    let (release, released) = mpsc::sync_channel::<()>(0);
    let run = |work: Box<dyn FnOnce() + Send>| {
        let passwords = passwords.clone();
        tokio::spawn(async move { passwords.run(work).await })
    };
    let first = run(Box::new(move || released.recv().expect("to be released")));
    while passwords.running.available_permits() > 0 {
        tokio::task::yield_now().await;
    }
    let second = run(Box::new(|| ()));
    while passwords.admitted.available_permits() > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(passwords.run(|| ()).await, Err(PasswordError::Overloaded), "one runs, one waits");

    // Whoever gave up is still at work, and counted.
    first.abort();
    assert!(first.await.is_err());
    assert_eq!(passwords.run(|| ()).await, Err(PasswordError::Overloaded));
    release.send(()).expect("it waits");
    assert_eq!(second.await.expect("no panic"), Ok(()));
    assert_eq!(passwords.run(|| ()).await, Ok(()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiting_has_an_end() {
    let options = PasswordOptions { running: 1, waiting: 1, wait: Duration::from_millis(50) };
    let passwords = Passwords::new(options);
    let (release, released) = mpsc::sync_channel::<()>(0);
    let slow = passwords.run(move || released.recv().expect("to be released"));
    let (slow, quick) = tokio::join!(slow, async {
        while passwords.running.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        let quick = passwords.run(|| ()).await;
        release.send(()).expect("it waits");
        quick
    });
    assert_eq!((slow, quick), (Ok(()), Err(PasswordError::Overloaded)));
}

#[test]
fn hashes_from_outside_are_strong_and_affordable() {
    let rest = "$c29tZXNhbHRzb21lc2FsdA$AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";
    let phc = |head: &str| format!("{head}{rest}");
    for good in ["$argon2id$v=19$m=19456,t=2,p=1", "$argon2id$v=19$m=8192,t=5,p=1", "$argon2id$v=19$m=65536,t=3,p=4"] {
        assert!(PasswordHash::parse(&phc(good)).is_ok(), "{good}");
    }
    for (bad, expected) in [
        (phc("$argon2i$v=19$m=19456,t=2,p=1"), HashError::NotArgon2id),
        (phc("$argon2d$v=19$m=19456,t=2,p=1"), HashError::NotArgon2id),
        (phc("$argon2id$v=16$m=19456,t=2,p=1"), HashError::NotArgon2id),
        (phc("$argon2id$m=19456,t=2,p=1"), HashError::NotArgon2id),
        (phc("$argon2id$v=19$m=4096,t=2,p=1"), HashError::Parameters),
        (phc("$argon2id$v=19$m=4194304,t=2,p=1"), HashError::Parameters),
        (phc("$argon2id$v=19$m=19456,t=1000,p=1"), HashError::Parameters),
        (phc("$argon2id$v=19$m=19456,t=2,p=64"), HashError::Parameters),
        ("$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$AAECAwQFBgcICQoL".to_owned(), HashError::Parameters),
        ("$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA".to_owned(), HashError::NotArgon2id),
        ("$2b$12$abcdefghijklmnopqrstuuABCDEFGHIJKLMNOPQRSTUVWXYZ01234".to_owned(), HashError::NotArgon2id),
        ("hunter22".to_owned(), HashError::NotArgon2id),
        (String::new(), HashError::NotArgon2id),
    ] {
        assert_eq!(PasswordHash::parse(&bad).err(), Some(expected), "{bad}");
    }
}

fn user(name: &str, phc: &str) -> User {
    let password = PasswordHash::parse(phc).expect("a hash");
    User { name: Name::new(name).expect("a name"), password, rights: Rights::default() }
}

const CHEAP: &str = "$argon2id$v=19$m=8192,t=1,p=1$c29tZXNhbHRzb21lc2FsdA$AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";
const DEAR: &str = "$argon2id$v=19$m=65536,t=3,p=1$c29tZXNhbHRzb21lc2FsdA$AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";

#[test]
fn users_have_names_of_their_own() {
    let users = Users::new(vec![user("alice", CHEAP), user("bob", CHEAP)]).expect("users");
    assert_eq!(users.get("alice").map(|user| user.name.as_str()), Some("alice"));
    for nobody in ["Alice", "alice ", "", "carol", "alice\0"] {
        assert_eq!(users.get(nobody), None, "{nobody:?}");
    }
    let twice = Users::new(vec![user("alice", CHEAP), user("alice", DEAR)]).err();
    assert_eq!(twice, Some(UsersError::Twice(Name::new("alice").expect("a name"))));
}

#[test]
fn a_stranger_costs_as_much_as_a_user_and_never_gets_in() {
    for phc in [CHEAP, DEAR] {
        let users = Users::new(vec![user("alice", phc)]).expect("users");
        let stranger = users.stranger();
        assert_eq!(stranger.cost(), PasswordHash::parse(phc).expect("a hash").cost());
        assert!(PasswordHash::parse(&stranger.to_phc()).is_ok(), "it is checked like any other");
        assert!(!stranger.verify(&secret("")) && !stranger.verify(&secret("password")));
    }
    let both = Users::new(vec![user("alice", CHEAP), user("bob", DEAR)]).expect("users");
    assert_eq!(both.stranger().cost(), PasswordHash::parse(DEAR).expect("a hash").cost());
    let ours = PasswordHash::of(&secret("password")).expect("a hash");
    assert_eq!(PasswordHash::stranger().cost(), ours.cost());
}

/// The work is the same by its parameters; this shows that it is done at all, and not refused at first sight.
#[test]
fn a_strangers_password_is_really_checked() {
    let ours = PasswordHash::of(&secret("password")).expect("a hash");
    let best = |hash: &PasswordHash| {
        let times = (0..7).map(|_| {
            let begun = Instant::now();
            let _ = hash.verify(&secret("another"));
            begun.elapsed()
        });
        times.min().expect("some")
    };
    let (user, stranger) = (best(&ours), best(&PasswordHash::stranger()));
    assert!(stranger * 4 > user, "{user:?} for a user, {stranger:?} for a stranger");
}
