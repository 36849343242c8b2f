//! The program of this service.

fn main() -> std::process::ExitCode {
    ingest_api::program::main()
}
