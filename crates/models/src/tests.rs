//! The built-in document, documents of operators, and pulling from a local server.

use std::path::Path;

use axum::Router;
use axum::extract::Path as UrlPath;
use axum::http::StatusCode;
use axum::routing::get;

use super::*;

/// Serves files and returns the beginning of their addresses.
async fn served(files: &'static [(&'static str, &'static [u8])]) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let find = move |UrlPath(name): UrlPath<String>| async move {
        files.iter().find(|(known, _)| *known == name).map(|(_, content)| *content).ok_or(StatusCode::NOT_FOUND)
    };
    tokio::spawn(async move { axum::serve(listener, Router::new().route("/{name}", get(find))).await.unwrap() });
    format!("http://{address}")
}

/// Models with one entry `tiny`, whose engine has these fields.
fn models(engine: &str) -> Models {
    let text = format!(
        "detectors: {{}}\nmodels:\n  - {{name: tiny, task: speech, licence: MIT, commercial: true, input: i, output: o, \
         engine: {{{engine}}}}}\n"
    );
    document::AnyDocument::parse("test.yaml", &text).unwrap().into()
}

fn names(name: &str) -> [String; 1] {
    [name.to_owned()]
}

fn files_in(folder: &Path) -> usize {
    std::fs::read_dir(folder).unwrap().count()
}

#[test]
fn every_built_in_model_has_hashes_and_a_licence() {
    let models = Models::built_in().unwrap();
    for model in &models.models {
        assert!(!model.licence.is_empty(), "{}", model.name);
        for weights in model.weights().unwrap().files() {
            assert!(hash::is_sha256(&weights.sha256), "{}", weights.file);
        }
    }
    for kind in ["whisper", "silero_vad", "minilm"] {
        for model in models.of_kind(kind) {
            assert!(model.commercial && model.engine.is_independent(), "{}", model.name);
            assert!(model.weights().unwrap().files().all(|weights| !weights.sources.is_empty()), "{}", model.name);
        }
        assert!(models.of_kind(kind).count() >= 1, "{kind}");
    }
}

#[test]
fn an_operators_document_has_also_the_models_of_no_detector() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mine.yaml");
    std::fs::write(
        &path,
        "detectors: {}\nmodels:\n  - {name: whisper-base, task: speech, licence: MIT, commercial: true, input: i, \
         output: o, engine: {kind: whisper, file: mine.bin, sha256: ab}}\n",
    )
    .unwrap();
    let models = Models::from_file(&path).unwrap();
    assert_eq!(models.model("whisper-base").unwrap().weights().unwrap().file, "mine.bin");
    assert!(models.model("whisper-tiny.en").is_some() && models.model("silero-vad").is_some());
    assert!(models.model("yunet_n").is_none());
}

#[test]
fn invalid_documents_are_refused_with_the_file() {
    for (from, to) in [
        ("file: ggml-tiny.en-f16.bin", "file: ../ggml.bin"),
        ("kind: ct2-to-ggml", "kind: ct2-to-onnx"),
        ("kind: silero_vad", "kind: silero_vad\n      threshold: 0.5"),
        ("join:", "join: []\n          parts:"),
        ("sha256_before: 1a5afae06a4d", "sha256_before: 1A5AFAE06A4D"),
        ("file: minilm-tokenizer.json", "file: a/b.json"),
    ] {
        assert!(BUILT_IN.contains(from), "{from}");
        let error = document::AnyDocument::parse("mine.yaml", &BUILT_IN.replace(from, to));
        assert!(error.unwrap_err().to_string().contains("mine.yaml"), "{to}");
    }
}

#[tokio::test]
async fn parts_are_joined_in_order() {
    let server = served(&[("one", b"mo"), ("two", b"del")]).await;
    let folder = tempfile::tempdir().unwrap();
    let join = format!("join: [{{url: '{server}/one'}}, {{url: '{server}/two'}}]");
    let models = models(&format!(
        "kind: whisper, file: tiny.bin, sha256: '{}', sources: [{{url: '{server}/none'}}, {{{join}}}]",
        sha256(b"model")
    ));
    let pulled = models.pull(folder.path(), &names("tiny"), false).await.unwrap();
    assert_eq!(std::fs::read(folder.path().join("tiny.bin")).unwrap(), b"model");
    assert_eq!(pulled[0].failed.len(), 1, "{pulled:?}");
    assert!(pulled[0].source.as_ref().unwrap().contains("/one with "), "{pulled:?}");

    let again = models.pull(folder.path(), &names("tiny"), false).await.unwrap();
    assert_eq!(again[0].source, None);
}

#[tokio::test]
async fn a_missing_part_leaves_no_file() {
    let server = served(&[("one", b"mo")]).await;
    let folder = tempfile::tempdir().unwrap();
    let models = models(&format!(
        "kind: whisper, file: tiny.bin, sha256: '{}', sources: [{{join: [{{url: '{server}/one'}}, {{url: \
         '{server}/two'}}]}}]",
        sha256(b"model")
    ));
    let error = models.pull(folder.path(), &names("tiny"), false).await.unwrap_err().to_string();
    assert!(error.contains("404"), "{error}");
    assert_eq!(files_in(folder.path()), 0);
}

#[tokio::test]
async fn a_converted_file_is_checked_before_and_after() {
    let server = served(&[("model", b"model"), ("words", b"words")]).await;
    let folder = tempfile::tempdir().unwrap();
    let with = |before: &str, words: &str| {
        models(&format!(
            "kind: whisper, file: tiny.bin, sha256: '{}', convert: {{kind: ct2-to-ggml, sha256_before: '{before}', \
             vocabulary: {{sha256: '{words}', sources: [{{url: '{server}/words'}}]}}}}, sources: [{{url: \
             '{server}/model'}}]",
            sha256(b"converted")
        ))
    };
    let (model, words) = (sha256(b"model"), sha256(b"words"));
    for (models, expected) in
        [(with(&words, &words), "wrong file"), (with(&model, &model), "vocabulary"), (with(&model, &words), "cut off")]
    {
        let error = models.pull(folder.path(), &names("tiny"), false).await.unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    assert_eq!(files_in(folder.path()), 0);
}

#[tokio::test]
async fn a_model_is_there_only_with_the_files_beside_it() {
    let server = served(&[("model", b"model"), ("words", b"words")]).await;
    let folder = tempfile::tempdir().unwrap();
    let models = models(&format!(
        "kind: minilm, file: tiny.onnx, sha256: '{}', sources: [{{url: '{server}/model'}}], beside: [{{file: words.json, \
         sha256: '{}', sources: [{{url: '{server}/words'}}]}}]",
        sha256(b"model"),
        sha256(b"words")
    ));
    std::fs::write(folder.path().join("tiny.onnx"), "model").unwrap();
    let tiny = models.model("tiny").unwrap();
    assert!(!tiny.is_in(folder.path()) && tiny.weights().unwrap().verified(folder.path()).is_err());

    let pulled = models.pull(folder.path(), &names("tiny"), false).await.unwrap();
    assert_eq!(pulled[0].source.as_deref(), Some(&*format!("{server}/words")), "only what was missing");
    assert!(tiny.is_in(folder.path()) && tiny.weights().unwrap().verified(folder.path()).is_ok());

    std::fs::write(folder.path().join("words.json"), "another").unwrap();
    assert!(matches!(tiny.weights().unwrap().verified(folder.path()), Err(ModelError::WrongModel { .. })));
}

#[tokio::test]
async fn an_unknown_model_and_a_licence_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let mut models = models("kind: whisper, file: tiny.bin, sha256: ab");
    let error = models.pull(folder.path(), &names("unicorn"), false).await.unwrap_err().to_string();
    assert!(error.contains("`unicorn`") && error.contains("sightline models list"), "{error}");
    models.models[0].commercial = false;
    let error = models.pull(folder.path(), &names("tiny"), false).await.unwrap_err().to_string();
    assert!(error.contains("SIGHTLINE_ALLOW_NONCOMMERCIAL"), "{error}");
    let error = models.pull(folder.path(), &names("tiny"), true).await.unwrap_err().to_string();
    assert!(error.contains("nobody publishes it") && error.contains("tiny.bin"), "{error}");
}

#[test]
fn a_missing_model_is_named_with_setting_and_command() {
    let folder = tempfile::tempdir().unwrap();
    let args =
        FolderArgs { models_dir: Some(folder.path().to_path_buf()), models_file: None, allow_noncommercial: false };
    let error = args.open("whisper-tiny.en", "whisper").unwrap_err().to_string();
    let command = format!("`sightline models pull whisper-tiny.en --models-dir {}`", folder.path().display());
    for part in ["SIGHTLINE_MODELS_DIR", &command, "ggml-tiny.en-f16.bin"] {
        assert!(error.contains(part), "{error}");
    }
    let error = args.open("yunet_n", "whisper").unwrap_err().to_string();
    assert!(error.contains("`yunet_n`") && error.contains("whisper-base"), "{error}");
}
