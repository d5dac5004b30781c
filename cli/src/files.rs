//! The number of files that this process may have open. Owns the way to more of them.
//!
//! Invariant: the number is never lowered. It does not know what the files are for.

/// Takes as many as the system lets this process have. Returns their number; `None` if there is no such limit.
#[cfg(unix)]
pub(crate) fn raise() -> Option<u64> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    // A system that refuses leaves what there was.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    getrlimit(Resource::Nofile).current
}

/// Returns `None`: other systems have no such limit.
#[cfg(not(unix))]
pub(crate) fn raise() -> Option<u64> {
    None
}

#[cfg(all(test, unix))]
mod tests {
    use rustix::process::{Resource, getrlimit};

    #[test]
    fn the_file_limit_is_raised_to_the_systems_maximum() {
        let taken = super::raise();
        assert_eq!(taken, getrlimit(Resource::Nofile).maximum);
    }
}
