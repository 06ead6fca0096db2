//! How much memory there is.

/// Bytes that this process can have at most: the machine's memory and swap, or what its control
/// group allows. `None` where the system does not tell.
///
/// Systems grant more than they have, and end programs that use it; so what is larger than this is
/// refused before any of it is taken.
pub fn memory_limit() -> Option<u64> {
    let read = |path: &str| std::fs::read_to_string(path).ok();
    let machine = read("/proc/meminfo").and_then(|text| of_machine(&text));
    let groups = [
        "/sys/fs/cgroup/memory.max",
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
    ];
    let groups = groups.into_iter().filter_map(read);
    let groups = groups.filter_map(|text| text.trim().parse().ok());
    groups.chain(machine).min()
}

/// Memory and swap, as `/proc/meminfo` tells them in kibibytes.
fn of_machine(text: &str) -> Option<u64> {
    let bytes = |name: &str| -> Option<u64> {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
        kibibytes.checked_mul(1024)
    };
    bytes("MemTotal:")?.checked_add(bytes("SwapTotal:").unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_and_swap_are_added() {
        let text = "MemTotal:       100 kB\nMemFree: 7 kB\nSwapTotal:      28 kB\n";
        assert_eq!(of_machine(text), Some(128 * 1024));
        assert_eq!(of_machine("MemFree: 7 kB\n"), None);
        if cfg!(target_os = "linux") {
            assert!(memory_limit().is_some_and(|bytes| bytes > 1 << 20));
        }
    }
}
