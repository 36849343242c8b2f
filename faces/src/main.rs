//! The program of this service.

fn main() -> std::process::ExitCode {
    faces::program::main()
}
