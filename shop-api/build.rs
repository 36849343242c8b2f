//! Compiles the protos of `contracts`, without protoc: messages and services in Rust, the set of descriptors that reflection serves, and
//! the table of methods with the access that each one's option names.

use std::error::Error;
use std::fmt::Write;
use std::path::PathBuf;
use std::{env, fs};

use protox::Compiler;
use protox::prost_reflect::{DescriptorPool, DynamicMessage, ExtensionDescriptor, Value};

const FOLDER: &str = "../crates/contracts/proto";
const FILES: [&str; 4] = ["sightline/access.proto", "auth/v1/auth.proto", "shop/v1/shop.proto", "shop/v1/admin.proto"];
/// The codec of messages.
const CODEC: &str = "crate::grpc::codec::MessageCodec";
/// The option of a method that names its access.
const ACCESS: &str = "sightline.access";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed={FOLDER}");
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let mut compiler = Compiler::new([FOLDER])?;
    compiler.include_imports(true).include_source_info(true).open_files(FILES)?;
    let services = tonic_prost_build::configure().codec_path(CODEC).bytes(".");
    // Without a transport: the clients are for tests, which have their own.
    services.build_transport(false).compile_fds(compiler.file_descriptor_set())?;
    compiler.include_source_info(false);
    // Encoded by the compiler, because the types of prost lose options that they do not know.
    fs::write(out.join("descriptors.binpb"), compiler.encode_file_descriptor_set())?;
    fs::write(out.join("methods.rs"), methods(&compiler.descriptor_pool())?)?;
    Ok(())
}

/// An expression for the list of all methods.
fn methods(pool: &DescriptorPool) -> Result<String, Box<dyn Error>> {
    let option = pool.get_extension_by_name(ACCESS).ok_or("the option of the access is not defined")?;
    let mut code = String::from("&[\n");
    for service in pool.services() {
        let service_name = service.full_name();
        for method in service.methods() {
            let (access, path) = (access(&method.options(), &option)?, format!("/{service_name}/{}", method.name()));
            let (sends, receives) = (method.is_client_streaming(), method.is_server_streaming());
            writeln!(
                code,
                "    Method {{ service: {service_name:?}, path: {path:?}, access: Access::{access}, client_streaming: {sends}, \
                 server_streaming: {receives} }},"
            )?;
        }
    }
    code.push_str("]\n");
    Ok(code)
}

/// The name of the access in Rust. A method without the option gets the one that is always refused.
fn access(options: &DynamicMessage, option: &ExtensionDescriptor) -> Result<&'static str, Box<dyn Error>> {
    match *options.get_extension(option) {
        Value::EnumNumber(0) => Ok("Unspecified"),
        Value::EnumNumber(1) => Ok("Public"),
        Value::EnumNumber(2) => Ok("Bearer"),
        Value::EnumNumber(3) => Ok("User"),
        Value::EnumNumber(4) => Ok("Buyer"),
        Value::EnumNumber(5) => Ok("Admin"),
        ref other => Err(format!("the access {other:?} is not known here").into()),
    }
}
