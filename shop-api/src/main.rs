//! The program of this service.

fn main() -> std::process::ExitCode {
    shop_api::program::main()
}
