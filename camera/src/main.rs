//! The program of this service.

fn main() -> std::process::ExitCode {
    camera::program::main()
}
