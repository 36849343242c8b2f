//! Compiles `coverage.c`, whole, because only C code calls it, and links what watches C code into the one target that runs it.

fn main() {
    println!("cargo:rerun-if-changed=coverage.c");
    cc::Build::new().file("coverage.c").link_lib_modifier("+whole-archive").compile("coverage");
    println!("cargo:rustc-link-arg-bin=decoding=-fsanitize=address");
}
