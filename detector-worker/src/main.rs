//! The program of this service.

fn main() -> std::process::ExitCode {
    detector_worker::program::main()
}
