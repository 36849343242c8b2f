//! Compiles `coverage.c`, whole, because only C code calls it, and links what watches C code into the one target that runs it.

use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=coverage.c");
    cc::Build::new().file("coverage.c").link_lib_modifier("+whole-archive").compile("coverage");
    // By name, for Rust links without the compiler's own libraries; whole and static, so that it is there before all others.
    let [begins, watches] = ["libasan_preinit.o", "libasan.a"].map(place_of);
    for argument in
        [&begins, "-Wl,--whole-archive", &watches, "-Wl,--no-whole-archive", "-lstdc++", "-lm", "-lpthread", "-ldl"]
    {
        println!("cargo:rustc-link-arg-bin=decoding={argument}");
    }
}

/// Where GCC has a file of its own.
fn place_of(name: &str) -> String {
    let asked = Command::new("cc").arg(format!("-print-file-name={name}")).output();
    let output = asked.expect("cc, which is GCC, should run").stdout;
    String::from_utf8(output).expect("GCC's paths should be UTF-8").trim().to_owned()
}
