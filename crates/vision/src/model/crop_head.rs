//! Crop heads: the parts that differ between kinds of networks that run on the crops of boxes. Everything else is in
//! [`crops`](super::crops).
//!
//! A kind of network is one line of [`CROP_HEADS`]. Its name is the `kind` of an entry in `models.yaml`.

use super::align::Template;
use super::head::Outputs;
use super::prepare::{Channels, Normalisation};
use super::vehicle_attributes::VehicleAttributes;
use super::{DetectError, Findings};

/// What an entry of `models.yaml` says about the output of a crop model.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Values {
    /// The values of the attribute, in the order of the network's output.
    pub labels: Vec<String>,
    /// Minimum score of a value, 0 to 1.
    pub threshold: f32,
}

/// Creates a head.
///
/// # Errors
/// The network has another number of values.
type Constructor = fn(values: Values) -> Result<Box<dyn CropHead>, String>;

/// Every kind of network, by name.
pub const CROP_HEADS: &[(&str, Constructor)] =
    &[("vehicle_attributes", |values| Ok(Box::new(VehicleAttributes::new(values)?)))];

/// The constructor of a kind of network.
pub fn constructor(kind: &str) -> Option<Constructor> {
    CROP_HEADS.iter().find(|(name, _)| *name == kind).map(|(_, constructor)| *constructor)
}

/// The input and output format of one kind of network that runs on crops. Its input has a fixed size.
pub trait CropHead: Send {
    /// Order of the colour planes.
    fn channels(&self) -> Channels;

    /// How the levels of a colour, 0 to 255, become the numbers of the input; `None` if they are its numbers.
    fn normalisation(&self) -> Option<Normalisation> {
        None
    }

    /// Where the network expects the landmarks of a face, to which crops are aligned, and the side of the input for which that is. `None`
    /// for a network that reads boxes, stretched to its input.
    fn template(&self) -> Option<(&Template, u32)> {
        None
    }

    /// Names of the outputs that [`CropHead::add`] reads. They are checked when the model is opened.
    fn outputs(&self) -> &'static [&'static str];

    /// Adds what batch item `item` says about a detection to the findings of its image. `detection` is its index there.
    ///
    /// # Errors
    /// An output has another shape.
    fn add(
        &self,
        outputs: &Outputs<'_>,
        item: usize,
        findings: &mut Findings,
        detection: usize,
    ) -> Result<(), DetectError>;
}
