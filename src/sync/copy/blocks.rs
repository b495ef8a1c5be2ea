//! Long copies: whole blocks of 64 bytes. They answer how many words they did.

#![allow(unsafe_code, reason = "moves that race")]

use super::{AtomicU64, MaybeUninit, WORD};

/// Bytes of a block.
pub(super) const BLOCK: usize = 64;
/// Bytes from which on a block copy is worth its set-up.
pub(super) const WORTH_IT: usize = 64;
/// Bytes from which on moves of 32 bytes are worth the call, where the processor has them.
const WIDE: usize = 256;
/// Bytes from which on the processor's string move is as fast as moves of 32 bytes and spares
/// the lines that it overwrites whole a look, and faster than moves of 16 bytes: measured by
/// `benches/cells.rs`. A copy of which the caller finds out whether it is whole needs no more of
/// it than single bytes.
const LONG: usize = 16 << 10;
const LONG_WITHOUT_AVX: usize = 1 << 10;

/// Whether the string move is best.
#[inline(always)]
fn is_long(bytes: usize) -> bool {
    bytes >= LONG_WITHOUT_AVX && (bytes >= LONG || !has_avx())
}

#[inline(always)]
fn has_avx() -> bool {
    std::arch::is_x86_feature_detected!("avx")
}

#[inline(always)]
pub(super) fn load(from: &[AtomicU64], to: &mut [MaybeUninit<u8>]) -> usize {
    let blocks = to.len() / BLOCK;
    if to.len() < WORTH_IT || !from.as_ptr().cast::<u8>().cast::<u128>().is_aligned() {
        return 0;
    }
    if is_long(to.len()) {
        let words = to.len() / WORD;
        // SAFETY: `to` has that many words and `from` is no shorter, says the caller's assertion.
        unsafe { move_words(from.as_ptr().cast(), to.as_mut_ptr().cast(), words) };
        return words;
    }
    // SAFETY: `to` has that many blocks and `from` is no shorter, says the caller's assertion;
    // it is aligned.
    unsafe { load_blocks(from.as_ptr().cast(), to.as_mut_ptr().cast(), blocks) };
    blocks * BLOCK / WORD
}

#[inline(always)]
pub(super) fn store(to: &[AtomicU64], from: &[u8]) -> usize {
    let blocks = from.len() / BLOCK;
    if from.len() < WORTH_IT || !to.as_ptr().cast::<u8>().cast::<u128>().is_aligned() {
        return 0;
    }
    if is_long(from.len()) {
        let words = from.len() / WORD;
        // SAFETY: as in `load`; atomics may be written through shared references.
        unsafe { move_words(from.as_ptr(), to.as_ptr().cast_mut().cast(), words) };
        return words;
    }
    // SAFETY: as in `load`; atomics may be written through shared references.
    unsafe { store_blocks(to.as_ptr().cast_mut().cast(), from.as_ptr(), blocks) };
    blocks * BLOCK / WORD
}

/// # Safety
/// Both ranges have that many words; one of them is shared memory.
unsafe fn move_words(from: *const u8, to: *mut u8, words: usize) {
    // SAFETY: the caller vouches for both ranges; the direction flag is clear in Rust code.
    unsafe {
        core::arch::asm!(
            "rep movsq",
            inout("rcx") words => _,
            inout("rsi") from => _,
            inout("rdi") to => _,
            options(nostack, preserves_flags),
        );
    }
}

/// Blocks that moves of 32 bytes copy best.
#[inline(always)]
fn wide(blocks: usize) -> usize {
    if blocks >= WIDE / BLOCK && has_avx() { blocks & !1 } else { 0 }
}

/// # Safety
/// `from` is shared memory of that many blocks, aligned to 16, and `to` private memory of as many.
#[inline(always)]
pub(super) unsafe fn load_blocks(from: *const u8, to: *mut u8, blocks: usize) {
    let wide = wide(blocks);
    if wide > 0 {
        // SAFETY: as the caller's; the processor has AVX.
        unsafe { move_pairs(from, to, wide / 2) };
    }
    if blocks > wide {
        let (from, to) = (from.wrapping_add(wide * BLOCK), to.wrapping_add(wide * BLOCK));
        // SAFETY: as the caller's; what is left, and that is something.
        unsafe { load_narrow(from, to, blocks - wide) };
    }
}

/// # Safety
/// `to` is shared memory of that many blocks, aligned to 16, and `from` private memory of as many.
#[inline(always)]
pub(super) unsafe fn store_blocks(to: *mut u8, from: *const u8, blocks: usize) {
    let wide = wide(blocks);
    if wide > 0 {
        // SAFETY: as the caller's; the processor has AVX.
        unsafe { move_pairs(from, to, wide / 2) };
    }
    if blocks > wide {
        let (from, to) = (from.wrapping_add(wide * BLOCK), to.wrapping_add(wide * BLOCK));
        // SAFETY: as the caller's; what is left, and that is something.
        unsafe { store_narrow(to, from, blocks - wide) };
    }
}

/// # Safety
/// The processor has AVX. Both ranges have that many pairs of blocks, more than none; one of them
/// is shared memory, aligned to 16.
#[target_feature(enable = "avx")]
unsafe fn move_pairs(from: *const u8, to: *mut u8, pairs: usize) {
    // SAFETY: the caller vouches for both ranges; a block is read before it is written. Every
    // vector register is given up, since `vzeroupper` changes all.
    unsafe {
        core::arch::asm!(
            "2:",
            "vmovdqu ymm0, [{from}]",
            "vmovdqu ymm1, [{from} + 32]",
            "vmovdqu ymm2, [{from} + 64]",
            "vmovdqu ymm3, [{from} + 96]",
            "vmovdqu [{to}], ymm0",
            "vmovdqu [{to} + 32], ymm1",
            "vmovdqu [{to} + 64], ymm2",
            "vmovdqu [{to} + 96], ymm3",
            "sub {from}, -128",
            "sub {to}, -128",
            "dec {pairs}",
            "jnz 2b",
            "vzeroupper",
            from = inout(reg) from => _,
            to = inout(reg) to => _,
            pairs = inout(reg) pairs => _,
            out("ymm0") _, out("ymm1") _, out("ymm2") _, out("ymm3") _,
            out("ymm4") _, out("ymm5") _, out("ymm6") _, out("ymm7") _,
            out("ymm8") _, out("ymm9") _, out("ymm10") _, out("ymm11") _,
            out("ymm12") _, out("ymm13") _, out("ymm14") _, out("ymm15") _,
            options(nostack),
        );
    }
}

/// # Safety
/// `from` is shared memory of that many blocks, more than none, aligned to 16, and `to` private
/// memory of as many.
#[inline(always)]
unsafe fn load_narrow(from: *const u8, to: *mut u8, blocks: usize) {
    // SAFETY: the caller vouches for both ranges; a block is read before it is written, `rsi`,
    // `rdi` and the counter end behind the last one.
    unsafe {
        core::arch::asm!(
            "2:",
            "movdqa {a}, [{from}]",
            "movdqa {b}, [{from} + 16]",
            "movdqa {c}, [{from} + 32]",
            "movdqa {d}, [{from} + 48]",
            "movdqu [{to}], {a}",
            "movdqu [{to} + 16], {b}",
            "movdqu [{to} + 32], {c}",
            "movdqu [{to} + 48], {d}",
            "add {from}, 64",
            "add {to}, 64",
            "dec {blocks}",
            "jnz 2b",
            from = inout(reg) from => _,
            to = inout(reg) to => _,
            blocks = inout(reg) blocks => _,
            a = out(xmm_reg) _, b = out(xmm_reg) _, c = out(xmm_reg) _, d = out(xmm_reg) _,
            options(nostack),
        );
    }
}

/// # Safety
/// `to` is shared memory of that many blocks, more than none, aligned to 16, and `from` private
/// memory of as many.
#[inline(always)]
unsafe fn store_narrow(to: *mut u8, from: *const u8, blocks: usize) {
    // SAFETY: as in `load_narrow`.
    unsafe {
        core::arch::asm!(
            "2:",
            "movdqu {a}, [{from}]",
            "movdqu {b}, [{from} + 16]",
            "movdqu {c}, [{from} + 32]",
            "movdqu {d}, [{from} + 48]",
            "movdqa [{to}], {a}",
            "movdqa [{to} + 16], {b}",
            "movdqa [{to} + 32], {c}",
            "movdqa [{to} + 48], {d}",
            "add {from}, 64",
            "add {to}, 64",
            "dec {blocks}",
            "jnz 2b",
            from = inout(reg) from => _,
            to = inout(reg) to => _,
            blocks = inout(reg) blocks => _,
            a = out(xmm_reg) _, b = out(xmm_reg) _, c = out(xmm_reg) _, d = out(xmm_reg) _,
            options(nostack),
        );
    }
}
