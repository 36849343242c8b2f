//! A network: an ONNX Runtime session with the shape of its input and the outputs that are read from it.
//!
//! Both kinds of models use it: those that find boxes ([`onnx`](super::onnx)) and those that run on crops ([`crops`](super::crops)).

use std::path::Path;

use onnx::ort;
use onnx::ort::memory::Allocator;
use onnx::ort::session::{OutputSelector, RunOptions, Session};
use onnx::ort::value::{Tensor, TensorRef};
use platform::error_chain;

use super::DetectError;
use super::head::Outputs;
use super::prepare::Size;
use crate::runtime::{ExecutionProvider, Runtime, RuntimeError, RuntimeOptions};

/// An open network. Its input is `[batch, 3, height, width]`.
pub struct Network {
    session: Session,
    outputs: &'static [&'static str],
    provider: ExecutionProvider,
    shape: InputShape,
}

/// The fixed dimensions in the network's declaration of its input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct InputShape {
    /// The only batch size.
    pub batch: Option<usize>,
    /// The only size.
    pub size: Option<Size>,
}

impl Network {
    /// Opens the file for the calling thread.
    ///
    /// # Errors
    /// ONNX Runtime does not load, or the file is not a network with these outputs.
    pub fn open(file: &Path, outputs: &'static [&'static str], options: &RuntimeOptions) -> Result<Self, RuntimeError> {
        let runtime = options.session();
        let session = Runtime::load(&runtime)?.session(file, &runtime)?;
        if let Some(missing) =
            outputs.iter().find(|name| session.outputs().iter().all(|output| output.name() != **name))
        {
            let cause = format!("it has no output `{missing}`, so it is another kind of model");
            return Err(RuntimeError::Model { path: file.to_path_buf(), cause });
        }
        let shape = InputShape::of(&session);
        Ok(Self { session, outputs, provider: options.provider, shape })
    }

    /// The fixed dimensions of the input.
    pub fn shape(&self) -> InputShape {
        self.shape
    }

    /// The hardware that it runs on.
    pub fn provider(&self) -> ExecutionProvider {
        self.provider
    }

    /// Batch size of the input for this number of images: on a GPU a power of two, so that few batch shapes occur.
    pub fn slots(&self, images: usize) -> usize {
        self.shape.batch.unwrap_or_else(|| match self.provider {
            ExecutionProvider::Cpu => images,
            ExecutionProvider::Cuda | ExecutionProvider::Tensorrt => images.next_power_of_two(),
        })
    }

    /// Runs on `slots` images of one size, whose planes are in `input` one after the other, and passes the outputs to `read`.
    ///
    /// # Errors
    /// The network does not run, or `read` fails.
    pub fn run<T>(
        &mut self,
        input: &[f32],
        slots: usize,
        size: Size,
        read: impl FnOnce(&Outputs<'_>) -> Result<T, DetectError>,
    ) -> Result<T, DetectError> {
        let failed = |error: ort::Error| DetectError::Inference(error.to_string());
        let shape = [slots, 3, size.height as usize, size.width as usize];
        let tensor = TensorRef::from_array_view((shape, input)).map_err(failed)?;
        let results = self.session.run(ort::inputs![tensor]).map_err(failed)?;
        let mut outputs = Outputs::default();
        for name in self.outputs {
            let value = results.get(name).ok_or_else(|| DetectError::Inference(format!("no output {name}")))?;
            let (shape, numbers) = value.try_extract_tensor::<f32>().map_err(failed)?;
            outputs.push(name, shape, numbers);
        }
        read(&outputs)
    }

    /// Releases the memory that earlier runs needed. `smallest` is the smallest input, for a network that accepts several sizes.
    ///
    /// On a GPU the provider keeps its memory.
    pub fn release_memory(&mut self, smallest: Size) {
        if self.provider == ExecutionProvider::Cpu
            && let Err(error) = self.shrink_arena(self.shape.size.unwrap_or(smallest))
        {
            tracing::warn!(error = error_chain(&error), "ONNX Runtime did not release memory");
        }
    }

    /// ONNX Runtime releases an arena only at the end of a run, so this runs the network on its smallest input.
    fn shrink_arena(&mut self, size: Size) -> Result<(), ort::Error> {
        let shape = [self.shape.batch.unwrap_or(1), 3, size.height as usize, size.width as usize];
        let blank = vec![0_f32; shape.iter().product()];
        let input = || TensorRef::from_array_view((shape, &blank[..]));
        // An output in the arena would keep a whole region of it alive, so the outputs get separate memory.
        let mut outputs = OutputSelector::no_default();
        let sample = self.session.run(ort::inputs![input()?])?;
        for name in self.outputs {
            if let Some(value) = sample.get(name) {
                let (dimensions, _) = value.try_extract_tensor::<f32>()?;
                let own = Tensor::<f32>::new(&Allocator::default(), dimensions.clone())?;
                outputs = outputs.with(*name).preallocate(*name, own);
            }
        }
        drop(sample);
        let mut options = RunOptions::new()?.with_outputs(outputs);
        options.set("memory.enable_memory_arena_shrinkage", "cpu:0")?;
        self.session.run_with_options(ort::inputs![input()?], &options)?;
        Ok(())
    }
}

impl InputShape {
    fn of(session: &Session) -> Self {
        let shape = session.inputs().first().and_then(|input| input.dtype().tensor_shape());
        shape.map_or(Self::default(), |shape| Self::declared(shape))
    }

    /// From the declared dimensions, in which a negative number is a dynamic one.
    fn declared(dimensions: &[i64]) -> Self {
        let &[batch, _, height, width] = dimensions else { return Self::default() };
        let fixed = |side: i64| u32::try_from(side).ok().filter(|side| *side > 0);
        Self {
            batch: usize::try_from(batch).ok().filter(|batch| *batch > 0),
            size: fixed(width).zip(fixed(height)).map(|(width, height)| Size { width, height }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_declared_input_shape_has_its_fixed_dimensions() {
        let size = Some(Size { width: 416, height: 320 });
        assert_eq!(InputShape::declared(&[1, 3, 320, 416]), InputShape { batch: Some(1), size });
        assert_eq!(InputShape::declared(&[-1, 3, 320, 416]), InputShape { batch: None, size });
        assert_eq!(InputShape::declared(&[-1, 3, -1, -1]), InputShape::default());
        assert_eq!(InputShape::declared(&[1, 3]), InputShape::default());
    }
}
