//! Unpacks the files of Swagger UI that a browser loads. The archive also has source maps and other builds of the same code,
//! which would add 9 MB to every program.

use std::io::{Cursor, Read};
use std::path::PathBuf;

use utoipa_swagger_ui_vendored::SWAGGER_UI_VENDORED;
use zip::ZipArchive;

const FILES: [&str; 7] = [
    "index.html",
    "index.css",
    "swagger-ui.css",
    "swagger-ui-bundle.js",
    "swagger-ui-standalone-preset.js",
    "favicon-16x16.png",
    "favicon-32x32.png",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    let folder = PathBuf::from(std::env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?);
    let mut archive = ZipArchive::new(Cursor::new(SWAGGER_UI_VENDORED))?;
    for number in 0..archive.len() {
        let mut file = archive.by_index(number)?;
        let Some(name) = FILES.iter().find(|name| file.name().ends_with(&format!("/dist/{name}"))) else { continue };
        let mut content = Vec::new();
        file.read_to_end(&mut content)?;
        std::fs::write(folder.join(name), content)?;
    }
    Ok(())
}
