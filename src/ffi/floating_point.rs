//! The caller's floating-point mode, put aside during a call: engines set flush-to-zero and odd rounding modes.

/// Restores the mode that was set when it was made.
pub(super) struct FloatingPointMode {
    saved: Mode,
}

impl FloatingPointMode {
    /// Saves the thread's mode and sets the standard one: round to nearest, subnormals kept, no traps.
    pub(super) fn standard() -> Self {
        let saved = read();
        if let Some(standard) = STANDARD.filter(|&standard| standard != saved & CONTROL) {
            write(standard);
        }
        Self { saved }
    }
}

impl Drop for FloatingPointMode {
    fn drop(&mut self) {
        if STANDARD.is_some() && read() != self.saved {
            write(self.saved);
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod arch {
    pub(super) type Mode = u32;
    /// All exceptions masked, no flags, round to nearest.
    pub(super) const STANDARD: Option<Mode> = Some(0x1F80);
    /// All bits but the sticky exception flags.
    pub(super) const CONTROL: Mode = !0x3F;

    pub(super) fn read() -> Mode {
        let mut mode = 0;
        // SAFETY: stmxcsr stores the 4 bytes of MXCSR to the local variable it is given.
        unsafe { std::arch::asm!("stmxcsr [{}]", in(reg) &raw mut mode, options(nostack, preserves_flags)) };
        mode
    }

    pub(super) fn write(mode: Mode) {
        // SAFETY: ldmxcsr reads 4 bytes; the value is the standard one or what read() found, so no reserved bit is set.
        unsafe { std::arch::asm!("ldmxcsr [{}]", in(reg) &raw const mode, options(nostack, preserves_flags)) };
    }
}

#[cfg(not(target_arch = "x86_64"))]
mod arch {
    pub(super) type Mode = u32;
    /// No control register that this library knows.
    pub(super) const STANDARD: Option<Mode> = None;
    pub(super) const CONTROL: Mode = 0;

    pub(super) fn read() -> Mode {
        0
    }

    pub(super) fn write(_mode: Mode) {}
}

use arch::{CONTROL, Mode, STANDARD, read, write};

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;

    #[test]
    fn the_callers_mode_comes_back() {
        const FLUSH_TO_ZERO_AND_ROUND_UP: Mode = 0x1F80 | 0x8000 | 0x4000;
        let before = read();
        write(FLUSH_TO_ZERO_AND_ROUND_UP);
        let inside = {
            let _mode = FloatingPointMode::standard();
            read() & CONTROL
        };
        let after = read();
        write(before);
        assert_eq!((Some(inside), after), (STANDARD, FLUSH_TO_ZERO_AND_ROUND_UP));
    }
}
