//! Voice activity detection: Silero VAD at 16,000 samples a second.
//!
//! In: steps of 512 samples, one after the other. Out: the probability of speech in each. The network has a memory of earlier steps, and reads
//! the last 64 samples again with each step, so a new recording begins with a [reset](VoiceDetector::reset).

use std::path::Path;

use ort::session::Session;
use ort::value::TensorRef;
use platform::error_chain;

use crate::runtime::{Runtime, RuntimeError, SessionOptions};

/// Samples of the step before that the network reads again.
const CONTEXT: usize = 64;

/// Numbers of the network's memory, and their dimensions.
const STATE: usize = 2 * 128;
const STATE_SHAPE: [usize; 3] = [2, 1, 128];

/// Samples a second.
const RATE: i64 = 16_000;

/// Samples of a step.
const STEP: usize = 512;

const OUTPUT: &str = "output";
const NEW_STATE: &str = "stateN";

/// Detects speech. Blocks; one thread owns it.
pub struct VoiceDetector {
    session: Session,
    /// The last samples of the step before, then the step.
    input: [f32; CONTEXT + STEP],
    state: [f32; STATE],
}

impl VoiceDetector {
    /// Samples of a step: 32 ms.
    pub const STEP: usize = STEP;

    /// Opens the model for the calling thread.
    ///
    /// # Errors
    /// ONNX Runtime does not load, or the file is not this network.
    pub fn open(model: &Path, options: &SessionOptions) -> Result<Self, RuntimeError> {
        let session = Runtime::load(options)?.session(model, options)?;
        for name in [OUTPUT, NEW_STATE] {
            if session.outputs().iter().all(|output| output.name() != name) {
                let cause = format!("it has no output `{name}`, so it is another kind of model");
                return Err(RuntimeError::Model { path: model.to_path_buf(), cause });
            }
        }
        Ok(Self { session, input: [0.0; CONTEXT + STEP], state: [0.0; STATE] })
    }

    /// Clears the memory: the next step begins another recording.
    pub fn reset(&mut self) {
        self.input = [0.0; CONTEXT + STEP];
        self.state = [0.0; STATE];
    }

    /// The probability, 0 to 1, that somebody speaks in the next step. Samples are between -1 and 1.
    ///
    /// # Errors
    /// The network does not run, for example for lack of memory. The detector is as before the call then.
    pub fn probability(&mut self, samples: &[f32; STEP]) -> Result<f32, RuntimeError> {
        let mut input = [0.0; CONTEXT + STEP];
        input[..CONTEXT].copy_from_slice(&self.input[STEP..]);
        input[CONTEXT..].copy_from_slice(samples);
        let (probability, state) = self.step(&input).map_err(|error| RuntimeError::Inference(error_chain(&error)))?;
        (self.input, self.state) = (input, state);
        Ok(probability)
    }

    fn step(&mut self, input: &[f32; CONTEXT + STEP]) -> Result<(f32, [f32; STATE]), ort::Error> {
        let wide = [1, CONTEXT + STEP];
        let results = self.session.run(ort::inputs![
            "input" => TensorRef::from_array_view((wide, &input[..]))?,
            "state" => TensorRef::from_array_view((STATE_SHAPE, &self.state[..]))?,
            "sr" => TensorRef::from_array_view(((), &[RATE][..]))?,
        ])?;
        let missing = || ort::Error::new("the network has another output than Silero's");
        let (_, probability) = results.get(OUTPUT).ok_or_else(missing)?.try_extract_tensor::<f32>()?;
        let (_, state) = results.get(NEW_STATE).ok_or_else(missing)?.try_extract_tensor::<f32>()?;
        let probability = *probability.first().ok_or_else(missing)?;
        Ok((probability, state.try_into().map_err(|_| missing())?))
    }
}
