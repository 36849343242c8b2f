//! Link options of the command.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // Relative relocations in the compact format of glibc 2.36 make the program 3 MB smaller.
    if std::env::var("CARGO_CFG_TARGET_ENV").is_ok_and(|env| env == "gnu") {
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}
