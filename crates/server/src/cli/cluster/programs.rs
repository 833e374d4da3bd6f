//! Finding the programs that others wrote.

use std::{
    env, fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

/// A program that a cluster may need.
#[derive(Clone, Copy, Debug)]
pub(super) struct Program {
    /// What it is called.
    pub(super) name: &'static str,
    /// The Debian package that has it.
    package: &'static str,
    /// How to do without.
    without: &'static str,
}

pub(super) const REDIS: Program =
    Program { name: "redis-server", package: "redis-server", without: "use a running Redis with --redis URL" };
pub(super) const NGINX: Program =
    Program { name: "nginx", package: "nginx", without: "leave the proxy out with --no-proxy" };

impl Program {
    /// Where it is.
    ///
    /// # Errors
    /// With a sentence that says what to do, if it is nowhere.
    pub(super) fn find(&self) -> Result<PathBuf, String> {
        let path = env::var_os("PATH").unwrap_or_default();
        find(self.name, env::split_paths(&path)).ok_or_else(|| {
            let Self { name, package, without } = self;
            format!("{name} is not installed: `apt-get install {package}`, or {without}")
        })
    }
}

/// Looks into each folder, and into the `sbin` beside each `bin`, where Debian has nginx and its users' PATH does not look.
fn find(name: &str, folders: impl Iterator<Item = PathBuf>) -> Option<PathBuf> {
    let both = folders.flat_map(|folder| {
        let beside = folder.ends_with("bin").then(|| folder.with_file_name("sbin"));
        [Some(folder), beside].into_iter().flatten()
    });
    both.map(|folder| folder.join(name)).find(|path| is_program(path))
}

fn is_program(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_found_in_sbin_beside_a_bin() {
        let root = tempfile::tempdir().expect("a folder");
        for folder in ["bin", "sbin", "other"] {
            fs::create_dir(root.path().join(folder)).expect("a folder");
        }
        let write = |name: &str, mode| {
            let path = root.path().join(name);
            fs::write(&path, "").expect("a file");
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("its mode");
            path
        };
        let (bin, other) = (root.path().join("bin"), root.path().join("other"));
        let nginx = write("sbin/nginx", 0o755);
        write("bin/text", 0o644);

        assert_eq!(find("nginx", [other.clone(), bin.clone()].into_iter()), Some(nginx));
        assert_eq!(find("nginx", [other].into_iter()), None);
        assert_eq!(find("text", [bin].into_iter()), None, "not to be executed");
    }
}
