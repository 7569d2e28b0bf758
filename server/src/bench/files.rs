//! How many connections the system lets this process have: each is an open file.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the limit of open files so far that there is room for `n_connections`.
pub(super) fn make_room(n_connections: u32) -> Result<(), String> {
    let before = getrlimit(Resource::Nofile);
    if let Some(wanted) = raised(before, n_connections)? {
        let limit = Rlimit { current: Some(wanted), ..before };
        setrlimit(Resource::Nofile, limit)
            .map_err(|error| format!("cannot open {wanted} files at once: {error}"))?;
    }
    Ok(())
}

/// What the limit must become; `None` if it is enough as it is.
fn raised(limit: Rlimit, n_connections: u32) -> Result<Option<u64>, String> {
    let wanted = u64::from(n_connections) + BESIDE;
    if limit.current.is_none_or(|current| current >= wanted) {
        return Ok(None);
    }
    match limit.maximum {
        Some(maximum) if maximum < wanted => Err(format!(
            "{n_connections} connections need {wanted} open files, and this process may have \
             {maximum}: raise that limit (ulimit -Hn) or ask for fewer connections"
        )),
        _ => Ok(Some(wanted)),
    }
}

/// Files that are no connections: standard streams, epoll, the runtime, what is read of processes.
const BESIDE: u64 = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_raised_only_as_far_as_is_needed_and_allowed() {
        let limit = |current, maximum| Rlimit { current: Some(current), maximum: Some(maximum) };
        assert_eq!(raised(limit(1_024, 4_096), 960), Ok(None));
        assert_eq!(raised(limit(1_024, 4_096), 961), Ok(Some(1_025)));
        assert_eq!(raised(limit(1_024, 4_096), 4_032), Ok(Some(4_096)));
        let endless = Rlimit { current: None, maximum: None };
        assert_eq!(raised(endless, 60_000), Ok(None));
        let error = raised(limit(1_024, 4_096), 4_033).expect_err("too many");
        assert!(
            error.contains("need 4097 open files") && error.contains("may have 4096"),
            "{error}"
        );
    }
}
