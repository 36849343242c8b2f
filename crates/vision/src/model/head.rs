//! Heads: the parts of a detector that differ between kinds of networks. Everything else is in [`onnx`](super::onnx).
//!
//! A kind of network is one line of [`HEADS`]. Its name is the `kind` of an entry in `models.yaml`, so another ONNX file of a
//! known kind needs an entry and no code.

use std::ops::Range;

use super::DetectError;
use super::centerface::CenterFace;
use super::nms::Candidate;
use super::picodet::PicoDet;
use super::prepare::{Channels, Normalisation, Size};
use super::yolox::YoloX;
use super::yunet::YuNet;

/// Creates a head for a model with this number of classes.
///
/// # Errors
/// The network has another number of classes.
type Constructor = fn(classes: usize) -> Result<Box<dyn Head>, String>;

/// Every kind of network, by name.
pub const HEADS: &[(&str, Constructor)] = &[
    ("centerface", |classes| one_class(classes).map(|()| Box::new(CenterFace) as Box<dyn Head>)),
    ("picodet", |classes| Ok(Box::new(PicoDet { classes }))),
    ("yolox", |classes| Ok(Box::new(YoloX { classes }))),
    ("yunet", |classes| one_class(classes).map(|()| Box::new(YuNet) as Box<dyn Head>)),
];

fn one_class(classes: usize) -> Result<(), String> {
    if classes == 1 { Ok(()) } else { Err(format!("this kind of network has one class, but labels has {classes}")) }
}

/// The constructor of a kind of network.
pub fn constructor(kind: &str) -> Option<Constructor> {
    HEADS.iter().find(|(name, _)| *name == kind).map(|(_, constructor)| *constructor)
}

/// The input and output format of one kind of network.
pub trait Head: Send {
    /// Order of the colour planes.
    fn channels(&self) -> Channels;

    /// How the levels of a colour, 0 to 255, become the numbers of the input; `None` if they are its numbers.
    fn normalisation(&self) -> Option<Normalisation> {
        None
    }

    /// Whether an image keeps its proportions in an input of fixed size. The rest of the input is padding then. Otherwise
    /// the image is stretched to the whole input.
    fn keeps_proportions(&self) -> bool {
        true
    }

    /// Colour level, 0 to 255, of the padding to the right of the image and below it.
    fn padding(&self) -> f32 {
        0.0
    }

    /// Both sides of the input must be multiples of this, in pixels.
    fn input_multiple(&self) -> u32;

    /// Names of the outputs that [`Head::candidates`] decodes. They are checked when the model is opened.
    fn outputs(&self) -> &'static [&'static str];

    /// The boxes of batch item `item` whose score reaches `threshold`, in pixels of an input of size `input`.
    ///
    /// # Errors
    /// An output does not have the shape that belongs to the size of the input.
    fn candidates(
        &self,
        outputs: &Outputs<'_>,
        item: usize,
        input: Size,
        threshold: f32,
    ) -> Result<Vec<Candidate>, DetectError>;
}

/// The output tensors of one run, by name.
#[derive(Default)]
pub struct Outputs<'r> {
    tensors: Vec<(&'static str, Vec<i64>, &'r [f32])>,
}

impl<'r> Outputs<'r> {
    /// Adds a tensor: its dimensions, and its numbers in row-major order.
    pub fn push(&mut self, name: &'static str, shape: &[i64], numbers: &'r [f32]) {
        self.tensors.push((name, shape.to_vec(), numbers));
    }

    /// The numbers of batch item `item`. `shape` is the expected shape without the batch dimension.
    ///
    /// # Errors
    /// There is no such output or item, or it has another shape.
    pub fn item(&self, name: &str, item: usize, shape: &[usize]) -> Result<&'r [f32], DetectError> {
        let mismatch = |found: &[i64]| {
            DetectError::Inference(format!("output `{name}` has shape {found:?} instead of batch and {shape:?}"))
        };
        let (_, found, numbers) =
            self.tensors.iter().find(|(output, ..)| *output == name).ok_or_else(|| mismatch(&[]))?;
        let matches = found.len() == shape.len() + 1
            && found[1..].iter().zip(shape).all(|(&found, &expected)| usize::try_from(found) == Ok(expected));
        let length: usize = shape.iter().product();
        let range = Range { start: item * length, end: (item + 1) * length };
        numbers.get(range).filter(|_| matches).ok_or_else(|| mismatch(found))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_found_by_name_and_checks_its_number_of_classes() {
        assert!(constructor("yunet").unwrap()(1).is_ok());
        assert!(constructor("yunet").unwrap()(2).err().unwrap().contains("one class"));
        assert!(constructor("yolox").unwrap()(80).is_ok());
        assert!(constructor("unicorn").is_none());
    }
}
