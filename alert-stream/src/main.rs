//! The program of this service.

fn main() -> std::process::ExitCode {
    alert_stream::program::main()
}
