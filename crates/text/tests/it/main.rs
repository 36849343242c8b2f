//! The real model: its embeddings are those of a Python program with the same files, and close for close meanings.
//!
//! Needs `SIGHTLINE_MODELS_DIR`. Without it, or without the model's files, a test prints that it is skipped.

#![expect(clippy::unwrap_used, reason = "a failed expectation is how a test fails")]

use std::path::PathBuf;

use models::{FolderArgs, ModelError};
use onnx::SessionOptions;
use text::{Embedder, Embedding, Embeddings, Label, categories, describe, sentences};

/// The folder and options of the model; prints what is missing.
fn model(test: &str) -> Option<(FolderArgs, SessionOptions)> {
    let Some(folder) = std::env::var_os("SIGHTLINE_MODELS_DIR").map(PathBuf::from) else {
        println!("skipped: {test}: SIGHTLINE_MODELS_DIR is not set");
        return None;
    };
    let args = FolderArgs { models_dir: Some(folder.clone()), models_file: None, allow_noncommercial: false };
    if let Err(error @ ModelError::NotInFolder { .. }) = args.open("minilm-l6-v2", "minilm") {
        println!("skipped: {test}: {error}");
        return None;
    }
    let dylib = std::env::var_os("SIGHTLINE_ORT_DYLIB_PATH").map(PathBuf::from);
    Some((args, SessionOptions { dylib, ..SessionOptions::cpu(folder) }))
}

fn embedder(test: &str) -> Option<Embedder> {
    let (args, options) = model(test)?;
    Some(Embedder::open(&args.open("minilm-l6-v2", "minilm").unwrap(), &options).unwrap())
}

fn numbers(embedding: &Embedding) -> Vec<f32> {
    embedding.to_bytes().as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}

const DASHWOOD: &str = "The family of Dashwood had long been settled in Sussex.";

#[test]
fn embeddings_are_those_of_the_python_reference() {
    let Some(mut embedder) = embedder("embeddings_are_those_of_the_python_reference") else { return };
    let texts = [
        DASHWOOD,
        "A family lived in the south of England for many years.",
        "The rocket engine burns liquid hydrogen.",
    ];
    let found = embedder.embed(&texts).unwrap();
    let expected = [-0.002_797, -0.038_933, 0.073_231, -0.011_145, -0.021_683, 0.009_705];
    for (number, expected) in numbers(&found[0]).into_iter().zip(expected) {
        assert!((number - expected).abs() < 1e-3_f32, "{number} instead of {expected}");
    }
    for (left, right, expected) in [(0, 1, 0.568), (0, 2, -0.009), (1, 2, 0.006)] {
        let cosine = found[left].cosine(&found[right]);
        assert!((cosine - expected).abs() < 0.005, "{cosine} instead of {expected}");
    }
}

#[test]
fn a_text_has_the_same_embedding_alone_and_among_others() {
    let Some(mut embedder) = embedder("a_text_has_the_same_embedding_alone_and_among_others") else { return };
    let alone = embedder.embed(&[DASHWOOD]).unwrap();
    let among = embedder.embed(&["Short.", DASHWOOD, "", &"word ".repeat(1_000), DASHWOOD]).unwrap();
    for found in [&among[1], &among[4]] {
        assert!(found.cosine(&alone[0]) > 0.999_99);
    }
    assert_eq!(among[2], Embedding::zero());
}

#[tokio::test]
async fn a_passage_is_described_and_finds_its_category() {
    let Some((args, options)) = model("a_passage_is_described_and_finds_its_category") else { return };
    let passage = "The ship had left the harbour before dawn, and the wind drove her fast towards the open sea. The captain stood \
                   at the wheel and watched the sails, for he feared a storm from the west. By noon the waves rose higher than \
                   the deck, and two sailors were washed overboard. Nobody spoke of the treasure that they had come for. At \
                   last the island rose out of the fog, black and silent.";
    let places = sentences(passage);
    let texts: Vec<&str> = places.iter().map(|place| &passage[place.clone()]).collect();
    let hints = ["a voyage on a ship at sea, sailors and storms", "cooking and recipes", "computers and programming"];
    let all = texts.iter().chain(&hints).map(|text| (*text).to_owned()).collect();
    let found = Embeddings::new(args, options).embed(all).await.unwrap();
    let (of_passage, of_hints) = found.split_at(texts.len());

    let description = describe(&texts, of_passage).unwrap();
    assert!((200..=330).contains(&description.chars().count()), "{description}");
    let slugs = ["sea", "cooking", "computers"].into_iter();
    let labels: Vec<Label<'_>> = slugs.zip(of_hints).map(|(slug, hint)| Label { slug, hint }).collect();
    assert_eq!(categories(of_passage, &labels)[0].slug, "sea");
}
