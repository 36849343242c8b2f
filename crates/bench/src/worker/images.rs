//! The images that all variants process: the given files, else the samples, else one photograph in many sizes.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use vision::media::{self, DecodeLimits, Format};
use vision::pixels::Pixels;
use vision::sample;

/// Size limit of a file, so that it fits into a message.
const MOST_BYTES: usize = 1 << 20;
/// Lengths of the longer side of the one photograph, in pixels.
const SIDES: [u32; 8] = [320, 480, 640, 800, 1024, 1280, 1600, 1920];

/// Writes the images into `folder`, in the order in which all variants read them; returns a description.
pub fn gather(named: &[PathBuf], folder: &Path) -> anyhow::Result<String> {
    std::fs::create_dir_all(folder)?;
    let samples = std::env::var_os("SIGHTLINE_SAMPLES_DIR").map(PathBuf::from);
    let photograph = std::env::var_os("SIGHTLINE_TEST_PHOTO").map(PathBuf::from);
    let (source, images) = match (named, samples, photograph) {
        ([_, ..], ..) => ("the files named".to_owned(), files(named)?),
        (_, Some(samples), _) => (format!("the JPEG files under {}", samples.display()), files(&[samples])?),
        (.., Some(photograph)) => (format!("{} in {} sizes", photograph.display(), SIDES.len()), sizes(&photograph)?),
        _ => bail!(
            "name images, or set SIGHTLINE_SAMPLES_DIR to a folder of photographs, or SIGHTLINE_TEST_PHOTO to one"
        ),
    };
    ensure!(!images.is_empty(), "there is no JPEG file of at most {MOST_BYTES} bytes among {source}");
    for (number, image) in images.iter().enumerate() {
        write(folder, number, image)?;
    }
    Ok(format!("{} images, {source}", images.len()))
}

/// Writes the first image of `images` in `count` sizes, small and large, wide and tall, unordered.
pub fn mixed(images: &Path, folder: &Path, count: usize) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder)?;
    let image = first(images)?;
    let mut state = 1_u64;
    let mut side = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        64 + u32::try_from(state >> 33).unwrap_or(0) % 1985
    };
    for number in 0..count {
        write(folder, number, &sample::jpeg(&image, side(), side())?)?;
    }
    Ok(())
}

/// Writes the first image of `images` once, at the size of a camera's frame.
pub fn uniform(images: &Path, folder: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder)?;
    write(folder, 0, &sample::jpeg(&first(images)?, 640, 480)?)
}

/// The files that this module wrote into a folder, in order.
pub fn paths(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let listed = std::fs::read_dir(folder).with_context(|| format!("{} cannot be read", folder.display()))?;
    let mut paths = listed.map(|entry| Ok(entry?.path())).collect::<anyhow::Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}

/// Contents of the files.
pub fn read(folder: &Path) -> anyhow::Result<Vec<Bytes>> {
    let read = |path: &PathBuf| std::fs::read(path).with_context(|| format!("{} cannot be read", path.display()));
    paths(folder)?.iter().map(|path| Ok(read(path)?.into())).collect()
}

fn write(folder: &Path, number: usize, image: &[u8]) -> anyhow::Result<()> {
    let path = folder.join(format!("{number:04}.jpg"));
    std::fs::write(&path, image).with_context(|| format!("{} cannot be written", path.display()))
}

fn first(images: &Path) -> anyhow::Result<Pixels> {
    let path = paths(images)?.into_iter().next().context("there is no image")?;
    Ok(media::decode(&std::fs::read(path)?, &DecodeLimits::default())?)
}

/// JPEG files that fit into a message; folders are searched.
fn files(places: &[PathBuf]) -> anyhow::Result<Vec<Vec<u8>>> {
    let mut found = Vec::new();
    for place in places {
        if place.is_dir() {
            found.extend(files(&paths(place)?)?);
            continue;
        }
        let bytes = std::fs::read(place).with_context(|| format!("{} cannot be read", place.display()))?;
        if Format::of(&bytes) == Some(Format::Jpeg) && bytes.len() <= MOST_BYTES {
            found.push(bytes);
        }
    }
    Ok(found)
}

fn sizes(photograph: &Path) -> anyhow::Result<Vec<Vec<u8>>> {
    let bytes = std::fs::read(photograph).with_context(|| format!("{} cannot be read", photograph.display()))?;
    let image = media::decode(&bytes, &DecodeLimits::default())?;
    let longer = image.width().max(image.height());
    let scaled = |side: u32, to: u32| (u64::from(side) * u64::from(to) / u64::from(longer)).max(1) as u32;
    SIDES.iter().map(|&to| sample::jpeg(&image, scaled(image.width(), to), scaled(image.height(), to))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_and_folders_give_their_jpeg_files_and_nothing_else() {
        let place = tempfile::tempdir().unwrap();
        let grey = Pixels::from_rgb(80, 60, vec![128; 80 * 60 * 3]).unwrap();
        std::fs::create_dir(place.path().join("below")).unwrap();
        std::fs::write(place.path().join("below/one.jpg"), sample::jpeg(&grey, 80, 60).unwrap()).unwrap();
        std::fs::write(place.path().join("notes.jpg"), "no image").unwrap();
        let (gathered, many) = (place.path().join("gathered"), place.path().join("many"));
        gather(&[place.path().join("below"), place.path().join("notes.jpg")], &gathered).unwrap();
        assert_eq!(read(&gathered).unwrap().len(), 1);
        assert!(gather(&[place.path().join("notes.jpg")], &many).is_err());

        mixed(&gathered, &many, 3).unwrap();
        let sizes: std::collections::BTreeSet<_> =
            read(&many).unwrap().iter().map(|file| media::probe(file).unwrap().width).collect();
        assert_eq!(sizes.len(), 3, "{sizes:?}");
    }
}
