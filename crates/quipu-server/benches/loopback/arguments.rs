//! The command line of a benchmark: which parts of it run, and how much of everything. What a flag means is its own.

use std::path::Path;

/// A part of a benchmark: its name, and what runs in a folder of its own.
pub type Part<Size> = (&'static str, fn(&Path, Size));

/// Runs the parts that were named, all without a name. A flag, `--rounds` and the like, has a number behind it and is
/// taken by `set`, which says whether it knows it.
pub fn run<Size: Copy>(parts: &[Part<Size>], mut size: Size, set: impl Fn(&mut Size, &str, f64) -> bool) {
    let mut names = Vec::new();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            // Of cargo.
            "--bench" => {}
            flag if flag.starts_with("--") => {
                let number = arguments.next().and_then(|n| n.parse().ok()).expect("a number after the flag");
                assert!(set(&mut size, flag, number), "expected a flag of this benchmark, found {flag}");
            }
            name => names.push(name.to_owned()),
        }
    }
    let known: Vec<_> = parts.iter().map(|(known, _)| *known).collect();
    for name in &names {
        assert!(known.contains(&name.as_str()), "expected names among {known:?}, found {name}");
    }
    // Beside the build, so on the disk and not in memory, and out of sight of version control.
    let temporary = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("the target folder is writable");
    for (_, part) in parts.iter().filter(|(name, _)| names.is_empty() || names.iter().any(|n| n == name)) {
        part(temporary.path(), size);
    }
}
