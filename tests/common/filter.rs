//! Ends a process at a system call of its own: exactly between a change and the wake that it owes, or where
//! it makes one that it is not to make.

fn statement(code: u32, k: u32) -> libc::sock_filter {
    libc::sock_filter { code: code as u16, jt: 0, jf: 0, k }
}

/// Skips as many statements unless what was loaded is `k`.
fn unless(k: u32, skip: u8) -> libc::sock_filter {
    let code = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    libc::sock_filter { code, jt: 0, jf: skip, k }
}

/// Loads a part of `seccomp_data`: the number of the call is at 0, its arguments begin at 16.
fn load(offset: u32) -> libc::sock_filter {
    statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, offset)
}

fn end_with(verdict: u32) -> libc::sock_filter {
    statement(libc::BPF_RET | libc::BPF_K, verdict)
}

/// From here on, the kernel kills the calling process when it asks for a wake (`FUTEX_WAKE`), before
/// anybody is woken.
pub(crate) fn die_at_the_next_wake() {
    install(&mut [
        load(0),
        unless(libc::SYS_futex as u32, 4),
        // The second argument's lower half.
        load(16 + 8),
        statement(libc::BPF_ALU | libc::BPF_AND | libc::BPF_K, 0x7f),
        unless(libc::FUTEX_WAKE as u32, 1),
        end_with(libc::SECCOMP_RET_KILL_PROCESS),
        end_with(libc::SECCOMP_RET_ALLOW),
    ]);
}

/// From here on, the kernel kills the calling process, and its children, where they send a signal to a
/// process by its number, which may be another process's by then.
pub(crate) fn die_at_a_signal_by_number() {
    install(&mut [
        load(0),
        unless(libc::SYS_kill as u32, 1),
        end_with(libc::SECCOMP_RET_KILL_PROCESS),
        end_with(libc::SECCOMP_RET_ALLOW),
    ]);
}

fn install(program: &mut [libc::sock_filter]) {
    let program = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    // SAFETY: takes integers.
    assert_eq!(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) }, 0);
    // SAFETY: `program` describes a live filter that the kernel copies.
    let result = unsafe {
        libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program, 0, 0)
    };
    assert_eq!(result, 0, "seccomp: {}", std::io::Error::last_os_error());
}
