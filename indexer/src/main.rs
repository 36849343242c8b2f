//! The program of this service.

fn main() -> std::process::ExitCode {
    indexer::program::main()
}
