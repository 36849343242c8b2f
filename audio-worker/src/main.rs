//! The program of this service.

fn main() -> std::process::ExitCode {
    audio_worker::program::main()
}
