//! `docs/ROUTES.md` is written from the OpenAPI document, and README names only routes that exist.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use accounts::Scope;
use serde_json::Value;
use store::relational::Role;
use testing::operations;

use crate::processes::TestServer;

const HEAD: &str = "\
# Routes

Every operation of the HTTP API with the scope that its credential needs. `/openapi.json` describes parameters, bodies and
errors. A full session is an access token with every scope that its user may have, or the operator's token
([SECURITY.md](SECURITY.md)).

This page is generated: `UPDATE_GOLDEN=1 scripts/with-env cargo test --release -p sightline routes_page` writes it.
";

fn in_repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

/// The document of all services.
async fn document() -> Value {
    let up = TestServer::start(&[]).await;
    reqwest::get(format!("{}/openapi.json", up.url)).await.unwrap().json().await.unwrap()
}

#[tokio::test]
async fn the_page_of_routes_equals_the_openapi_document() {
    let document = document().await;
    let path = in_repository("docs/ROUTES.md");
    let page = page(&document);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(written, page, "docs/ROUTES.md is out of date; UPDATE_GOLDEN=1 rewrites it");
}

fn page(document: &Value) -> String {
    let mut page = format!("{HEAD}\n| operation | scope | |\n|---|---|---|\n");
    let rows: BTreeMap<_, _> = operations(document).map(|(path, method, about)| ((path, method), about)).collect();
    for ((path, method), operation) in rows {
        let summary = operation["summary"].as_str().unwrap_or_default().trim_end_matches('.').replace('\n', " ");
        writeln!(page, "| `{} {path}` | {} | {summary} |", method.to_uppercase(), credentials(operation)).unwrap();
    }
    page.push_str("\n## Scopes\n\n| scope | allows | who may have it |\n|---|---|---|\n");
    for scope in Scope::ALL {
        let holders = if Scope::allowed_for(Role::User).contains(&scope) { "users, admins" } else { "admins" };
        writeln!(page, "| `{scope}` | {} | {holders} |", scope.meaning()).unwrap();
    }
    page
}

#[tokio::test]
async fn the_document_of_faces_alone_is_a_part_of_that_of_all_services() {
    let up = TestServer::start(&[]).await;
    let document =
        async |path: &str| -> Value { reqwest::get(format!("{}{path}", up.url)).await.unwrap().json().await.unwrap() };
    let (all, faces) = (document("/openapi.json").await, document("/v1/faces/openapi.json").await);
    let paths = faces["paths"].as_object().unwrap();
    assert!(paths.contains_key("/v1/faces/search"), "{paths:?}");
    for (path, operations) in paths {
        assert_eq!(all["paths"][path], *operations, "{path}");
    }
}

/// The credentials that an operation accepts: a scope, or the name of another kind.
fn credentials(operation: &Value) -> String {
    if operation["x-full-session"] == true {
        return "full session".to_owned();
    }
    let Some(ways) = operation["security"].as_array() else { return "any credential".to_owned() };
    let mut names: Vec<String> = Vec::new();
    for way in ways.iter().map(|way| way.as_object().unwrap()) {
        if way.is_empty() {
            names.push("open".to_owned());
        }
        for (kind, scopes) in way {
            match (kind.as_str(), scopes[0].as_str()) {
                ("oauth2", Some(scope)) => names.push(format!("`{scope}`")),
                // Stands beside `oauth2`, whose scopes hold for it too.
                ("bearer", _) => {}
                (kind, _) => names.push(kind.to_owned()),
            }
        }
    }
    names.join(" or ")
}

#[tokio::test]
async fn readme_names_only_routes_that_exist() {
    let document = document().await;
    let readme = std::fs::read_to_string(in_repository("README.md")).unwrap();
    let section = readme.split("\n## ").find(|section| section.starts_with("The API\n")).unwrap();
    let mut found = 0;
    for row in section.lines().filter_map(|line| line.strip_prefix("| `")) {
        let cell = row.split(" | ").next().unwrap();
        let mut methods = "";
        for quoted in cell.split('`').step_by(2) {
            let path = match quoted.split_once(' ') {
                Some((of_path, path)) => {
                    methods = of_path;
                    path
                }
                None => quoted,
            };
            let path = path.split('?').next().unwrap();
            if ["/metrics", "/openapi.json", "/docs"].contains(&path) {
                continue;
            }
            for method in methods.split('/') {
                let operation = &document["paths"][path][method.to_lowercase()];
                assert!(operation.is_object(), "README names {method} {path}, which does not exist");
                found += 1;
            }
        }
    }
    assert!(found > 40, "only {found} operations were found in README");
}
