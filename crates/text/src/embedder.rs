//! MiniLM: the mean of what the network says about each token of a text.

use std::collections::BTreeMap;

use models::ModelFiles;
use onnx::ort::session::Session;
use onnx::ort::value::TensorRef;
use onnx::{Runtime, RuntimeError, SessionOptions, ort};
use platform::error_chain;

use crate::embedding::{DIMENSIONS, Embedding};
use crate::error::TextError;
use crate::wordpiece::WordPiece;

/// Texts in one run of the network.
const BATCH: usize = 16;

const OUTPUT: &str = "last_hidden_state";

/// Makes embeddings of texts. Blocks; one thread uses it at a time.
pub struct Embedder {
    session: Session,
    vocabulary: WordPiece,
}

impl Embedder {
    /// Opens the model `minilm-l6-v2`, whose vocabulary is beside its file.
    ///
    /// # Errors
    /// ONNX Runtime does not load, the file is not this network, or the vocabulary cannot be read.
    pub fn open(files: &ModelFiles, options: &SessionOptions) -> Result<Self, TextError> {
        let path = files.beside.first().unwrap_or(&files.path);
        let vocabulary = std::fs::read(path).map_err(|error| error.to_string()).and_then(|file| WordPiece::read(&file));
        let vocabulary = vocabulary.map_err(|cause| TextError::Vocabulary { path: path.clone(), cause })?;
        let session = Runtime::load(options)?.session(&files.path, options)?;
        if session.outputs().iter().all(|output| output.name() != OUTPUT) {
            let cause = format!("it has no output `{OUTPUT}`, so it is another kind of model");
            return Err(RuntimeError::Model { path: files.path.clone(), cause }.into());
        }
        Ok(Self { session, vocabulary })
    }

    /// The embedding of each text, in the order of the texts.
    ///
    /// # Errors
    /// The network does not run, for example for lack of memory.
    pub fn embed(&mut self, texts: &[&str]) -> Result<Vec<Embedding>, TextError> {
        let mut embeddings = vec![Embedding::zero(); texts.len()];
        // Only texts with the same number of tokens share a run: filling up the shorter ones would change their embeddings a little.
        let mut by_length: BTreeMap<usize, Vec<(usize, Vec<u32>)>> = BTreeMap::new();
        for (index, text) in texts.iter().enumerate() {
            let tokens = self.vocabulary.tokens(text);
            if !tokens.is_empty() {
                by_length.entry(tokens.len()).or_default().push((index, tokens));
            }
        }
        for (length, texts) in by_length {
            for batch in texts.chunks(BATCH) {
                let tokens: Vec<i64> =
                    batch.iter().flat_map(|(_, tokens)| tokens.iter().copied().map(i64::from)).collect();
                let found = self.run(&tokens, length).map_err(|error| RuntimeError::Inference(error_chain(&error)))?;
                for ((index, _), embedding) in batch.iter().zip(found) {
                    embeddings[*index] = embedding;
                }
            }
        }
        Ok(embeddings)
    }

    /// One run over texts of this length.
    fn run(&mut self, tokens: &[i64], length: usize) -> Result<Vec<Embedding>, ort::Error> {
        let shape = [tokens.len() / length, length];
        let (all, first) = (vec![1_i64; tokens.len()], vec![0_i64; tokens.len()]);
        let results = self.session.run(ort::inputs![
            "input_ids" => TensorRef::from_array_view((shape, tokens))?,
            "attention_mask" => TensorRef::from_array_view((shape, &all[..]))?,
            "token_type_ids" => TensorRef::from_array_view((shape, &first[..]))?,
        ])?;
        let other = || ort::Error::new(format!("the output `{OUTPUT}` is not that of MiniLM"));
        let (_, numbers) = results.get(OUTPUT).ok_or_else(other)?.try_extract_tensor::<f32>()?;
        if numbers.len() != tokens.len() * DIMENSIONS {
            return Err(other());
        }
        numbers.chunks_exact(length * DIMENSIONS).map(|text| mean(text).ok_or_else(other)).collect()
    }
}

/// The direction of the sum of the rows.
fn mean(rows: &[f32]) -> Option<Embedding> {
    let mut sum = vec![0.0; DIMENSIONS];
    for row in rows.chunks_exact(DIMENSIONS) {
        sum.iter_mut().zip(row).for_each(|(sum, number)| *sum += number);
    }
    Embedding::of(&sum)
}
