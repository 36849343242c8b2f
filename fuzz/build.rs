//! Compiles `coverage.c`, as a whole archive because only C code calls it, and links AddressSanitizer into the one target that
//! runs C code.

use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=coverage.c");
    cc::Build::new().file("coverage.c").link_lib_modifier("+whole-archive").compile("coverage");
    // Linked by path, because Rust links without the compiler's libraries; whole and static, so that it is initialised first.
    let [begins, watches] = ["libasan_preinit.o", "libasan.a"].map(path_of);
    for argument in
        [&begins, "-Wl,--whole-archive", &watches, "-Wl,--no-whole-archive", "-lstdc++", "-lm", "-lpthread", "-ldl"]
    {
        println!("cargo:rustc-link-arg-bin=decoding={argument}");
    }
}

/// Path of a file that belongs to GCC.
fn path_of(name: &str) -> String {
    let output = Command::new("cc").arg(format!("-print-file-name={name}")).output();
    let output = output.expect("cc, which is GCC, should run").stdout;
    String::from_utf8(output).expect("GCC's paths should be UTF-8").trim().to_owned()
}
