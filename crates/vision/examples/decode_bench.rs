//! Compares the speed of two JPEG decoders on the given files:
//! `cargo run --release -p vision --example decode_bench -- FILE...`
//!
//! Both decode each file to packed RGB, alternately; the median of the runs is printed. The figures of
//! `docs/decisions/jpeg-decoder.md` come from this example.

use std::hint::black_box;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

const ROUNDS: usize = 31;

fn main() -> anyhow::Result<()> {
    let mut totals = [Duration::ZERO; 2];
    println!("{:<28} {:>11} {:>14} {:>14} {:>6}", "file", "pixels", "libjpeg-turbo", "zune-jpeg", "ratio");
    for path in std::env::args().skip(1) {
        let bytes = std::fs::read(&path).with_context(|| path.clone())?;
        let header = vision::media::probe(&bytes).with_context(|| path.clone())?;
        let mut times = [Vec::new(), Vec::new()];
        for _ in 0..ROUNDS {
            times[0].push(timed(|| turbo(&bytes))?);
            times[1].push(timed(|| zune(&bytes))?);
        }
        let [turbo, zune] = times.map(median);
        let name = path.rsplit('/').next().unwrap_or(&path);
        let pixels = format!("{}x{}", header.width, header.height);
        println!("{name:<28} {pixels:>11} {turbo:>14.2?} {zune:>14.2?} {:>6.2}", zune.div_duration_f64(turbo));
        totals[0] += turbo;
        totals[1] += zune;
    }
    println!(
        "{:<28} {:>11} {:>14.2?} {:>14.2?} {:>6.2}",
        "all",
        "",
        totals[0],
        totals[1],
        totals[1].div_duration_f64(totals[0])
    );
    Ok(())
}

fn turbo(bytes: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut decompressor = turbojpeg::Decompressor::new()?;
    let header = decompressor.read_header(bytes)?;
    let (width, height, format) = (header.width, header.height, turbojpeg::PixelFormat::RGB);
    let mut pixels = vec![0; width * height * 3];
    decompressor
        .decompress(bytes, turbojpeg::Image { pixels: &mut pixels[..], width, pitch: width * 3, height, format })?;
    Ok(pixels)
}

fn zune(bytes: &[u8]) -> anyhow::Result<Vec<u8>> {
    let options = DecoderOptions::default().jpeg_set_out_colorspace(ColorSpace::RGB).set_strict_mode(true);
    Ok(JpegDecoder::new_with_options(ZCursor::new(bytes), options).decode()?)
}

fn timed(decode: impl Fn() -> anyhow::Result<Vec<u8>>) -> anyhow::Result<Duration> {
    let start = Instant::now();
    black_box(decode()?);
    Ok(start.elapsed())
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}
