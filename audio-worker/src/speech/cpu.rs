//! Whether this machine can run the build of whisper.cpp.
//!
//! Its instructions are fixed when it is built (`.cargo/config.toml`). On a processor without one of them the process would end with a
//! signal in the middle of a window, so they are checked before the first.

/// The processor lacks instructions.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "speech cannot be transcribed on this processor, because it has no {missing}: use a machine with AVX2 (Intel Haswell of 2013, AMD Zen, or \
     newer; in a virtual machine, pass the host's processor through), or a provider on another machine (docs/AUDIO.md)"
)]
pub struct CpuError {
    /// What it lacks, such as `AVX2, FMA`.
    pub missing: String,
}

/// Checks the processor. Costs nothing.
///
/// # Errors
/// When it lacks an instruction that the build needs.
pub fn check_cpu() -> Result<(), CpuError> {
    lacking(&features())
}

fn lacking(features: &[(&str, bool)]) -> Result<(), CpuError> {
    let missing: Vec<&str> = features.iter().filter(|(_, there)| !there).map(|(name, _)| *name).collect();
    if missing.is_empty() { Ok(()) } else { Err(CpuError { missing: missing.join(", ") }) }
}

/// The instructions of the build, and whether the processor has them.
#[cfg(target_arch = "x86_64")]
fn features() -> [(&'static str, bool); 6] {
    [
        ("SSE4.2", std::arch::is_x86_feature_detected!("sse4.2")),
        ("AVX", std::arch::is_x86_feature_detected!("avx")),
        ("AVX2", std::arch::is_x86_feature_detected!("avx2")),
        ("BMI2", std::arch::is_x86_feature_detected!("bmi2")),
        ("FMA", std::arch::is_x86_feature_detected!("fma")),
        ("F16C", std::arch::is_x86_feature_detected!("f16c")),
    ]
}

/// Other architectures are built for what all of their processors have.
#[cfg(not(target_arch = "x86_64"))]
fn features() -> [(&'static str, bool); 0] {
    []
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_names_what_is_missing_and_what_to_do() {
        assert_eq!(lacking(&[("AVX", true)]), Ok(()));
        let error = lacking(&[("AVX", true), ("AVX2", false), ("FMA", false)]).unwrap_err().to_string();
        for part in ["has no AVX2, FMA:", "another machine"] {
            assert!(error.contains(part), "{error}");
        }
        assert!(!error.contains('\n'));
    }
}
