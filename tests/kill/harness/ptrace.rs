//! What ptrace(2) can do to a stopped process.

#![allow(unsafe_code, reason = "system calls")]

use super::arch::{self, Registers};
use super::sys::Pid;
use std::io;
use std::ptr::{null_mut, without_provenance_mut};

/// The set of the general registers (`elf.h`).
const NT_PRSTATUS: u64 = 1;

fn call(
    request: libc::c_long,
    pid: Pid,
    address: *mut libc::c_void,
    data: *mut libc::c_void,
) -> io::Result<libc::c_long> {
    // SAFETY: each caller hands over what its request asks for: integers, or live places of the
    // size that it names.
    let result = unsafe { libc::ptrace(request as _, pid, address, data) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// How a stopped process is to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Resume {
    /// For one instruction.
    Step,
    /// To the next entry to or exit from a system call.
    ToCall,
    /// Freely, but with its events told.
    On,
}

/// In a child: lets its parent trace it.
pub(crate) fn be_traced() -> io::Result<()> {
    call(libc::PTRACE_TRACEME as _, 0, null_mut(), null_mut()).map(drop)
}

/// Dies with its tracer, tells system calls from traps, and, if asked to, stops at forks, whose
/// children are then traced as well.
pub(crate) fn set_options(pid: Pid, forks: bool) -> io::Result<()> {
    let mut options = libc::PTRACE_O_EXITKILL | libc::PTRACE_O_TRACESYSGOOD;
    if forks {
        options |= libc::PTRACE_O_TRACEFORK | libc::PTRACE_O_TRACECLONE;
    }
    call(libc::PTRACE_SETOPTIONS as _, pid, null_mut(), number(options as u64)).map(drop)
}

fn number(value: u64) -> *mut libc::c_void {
    without_provenance_mut(value as usize)
}

/// Lets a stopped process go on, with a signal or none.
pub(crate) fn resume(pid: Pid, how: Resume, signal: i32) -> io::Result<()> {
    let request = match how {
        Resume::Step => libc::PTRACE_SINGLESTEP as libc::c_long,
        Resume::ToCall => libc::PTRACE_SYSCALL as libc::c_long,
        Resume::On => libc::PTRACE_CONT as libc::c_long,
    };
    call(request, pid, null_mut(), number(signal as u64)).map(drop)
}

/// Lets a stopped process go for good.
pub(crate) fn detach(pid: Pid) -> io::Result<()> {
    call(libc::PTRACE_DETACH as _, pid, null_mut(), null_mut()).map(drop)
}

/// The process that an event told of.
pub(crate) fn event_message(pid: Pid) -> io::Result<Pid> {
    let mut message: libc::c_ulong = 0;
    let place = (&raw mut message).cast();
    call(libc::PTRACE_GETEVENTMSG as _, pid, null_mut(), place)?;
    Ok(message as Pid)
}

fn general(pid: Pid, request: libc::c_long, registers: &mut Registers) -> io::Result<()> {
    let (base, length) = (core::ptr::from_mut(registers).cast(), size_of::<Registers>());
    let mut place = libc::iovec { iov_base: base, iov_len: length };
    call(request, pid, number(NT_PRSTATUS), (&raw mut place).cast()).map(drop)
}

/// The registers of a stopped process.
fn registers(pid: Pid) -> io::Result<Registers> {
    // SAFETY: all-zero bytes are valid registers.
    let mut registers: Registers = unsafe { core::mem::zeroed() };
    general(pid, libc::PTRACE_GETREGSET as _, &mut registers)?;
    Ok(registers)
}

/// Puts a trap at an address of a stopped process's code and gives what was there.
pub(crate) fn set_trap(pid: Pid, address: u64) -> io::Result<u64> {
    let code = code(pid, address)?;
    write_code(pid, address, arch::with_trap(code))?;
    Ok(code)
}

/// Takes the trap away.
pub(crate) fn clear_trap(pid: Pid, address: u64, code: u64) -> io::Result<()> {
    write_code(pid, address, code)
}

/// Brings a process that has just run into a trap back to the trap's address, which it gives.
pub(crate) fn step_back(pid: Pid) -> io::Result<u64> {
    let mut registers = registers(pid)?;
    arch::step_back(&mut registers);
    general(pid, libc::PTRACE_SETREGSET as _, &mut registers)?;
    Ok(arch::pc(&registers))
}

fn write_code(pid: Pid, address: u64, code: u64) -> io::Result<()> {
    call(libc::PTRACE_POKEDATA as _, pid, number(address), number(code)).map(drop)
}

/// The system call that a process stopped at the entry of one is about to make; `None` at its exit.
pub(crate) fn entered(pid: Pid) -> io::Result<Option<i64>> {
    /// The head of the kernel's `struct ptrace_syscall_info`.
    #[repr(C)]
    struct Info {
        operation: u8,
        architecture: u32,
        instruction: u64,
        stack: u64,
        number: u64,
        rest: [u64; 7],
    }
    const GET_SYSCALL_INFO: libc::c_long = 0x420e;
    const ENTRY: u8 = 1;
    let mut info =
        Info { operation: 0, architecture: 0, instruction: 0, stack: 0, number: 0, rest: [0; 7] };
    let size = number(size_of::<Info>() as u64);
    call(GET_SYSCALL_INFO, pid, size, (&raw mut info).cast())?;
    Ok((info.operation == ENTRY).then_some(info.number.cast_signed()))
}

/// What a stopped process does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Next {
    /// Where it is.
    pub(crate) pc: u64,
    /// The system call that the next instruction is, if it is one.
    pub(crate) call: Option<i64>,
}

/// Looks at the next instruction of a stopped process.
pub(crate) fn next(pid: Pid) -> io::Result<Next> {
    let registers = registers(pid)?;
    let pc = arch::pc(&registers);
    let code = code(pid, pc)?;
    let call = arch::is_system_call(code).then(|| arch::system_call(&registers));
    Ok(Next { pc, call })
}

/// Reads words of another process's memory.
pub(crate) fn read<const N: usize>(pid: Pid, address: u64) -> io::Result<[u64; N]> {
    let mut words = [0u64; N];
    read_bytes(pid, address, bytemuck::bytes_of_mut(&mut words))?;
    Ok(words)
}

/// The first bytes of an instruction; 0 beyond the end of mapped memory.
fn code(pid: Pid, address: u64) -> io::Result<u64> {
    let mut bytes = [0; 8];
    let on_this_page = (4096 - (address as usize & 4095)).min(8);
    read_bytes(pid, address, &mut bytes)
        .or_else(|_| read_bytes(pid, address, &mut bytes[..on_this_page]))?;
    Ok(u64::from_le_bytes(bytes))
}

fn read_bytes(pid: Pid, address: u64, bytes: &mut [u8]) -> io::Result<()> {
    let local = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
    let remote = libc::iovec { iov_base: number(address), iov_len: bytes.len() };
    // SAFETY: `local` is live; the kernel checks `remote`.
    let done = unsafe { libc::process_vm_readv(pid, &raw const local, 1, &raw const remote, 1, 0) };
    match usize::try_from(done) {
        Ok(done) if done == bytes.len() => Ok(()),
        Ok(_) => Err(io::ErrorKind::UnexpectedEof.into()),
        Err(_) => Err(io::Error::last_os_error()),
    }
}

/// Where the robust list of a process's first thread begins.
pub(crate) fn robust_list(pid: Pid) -> Option<u64> {
    let (mut head, mut length) = (0u64, 0usize);
    // SAFETY: both places are live for the kernel to write to.
    let result =
        unsafe { libc::syscall(libc::SYS_get_robust_list, pid, &raw mut head, &raw mut length) };
    (result == 0 && head != 0).then_some(head)
}
