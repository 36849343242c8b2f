//! Small videos, made by FFmpeg's own encoders. Only the tests encode video.

use std::path::{Path, PathBuf};

use ffmpeg_next::format::Pixel;
use ffmpeg_next::{Dictionary, Packet, Rational, codec, encoder, format, frame};

pub const WIDTH: u32 = 160;
pub const HEIGHT: u32 = 96;
/// Thousandths of a second.
const PERIOD: i64 = 40;

/// A clip with a bright square that moves two pixels a frame over a grey ground.
pub struct Clip {
    pub codec: codec::Id,
    pub frames: i64,
    /// Time of a frame, in thousandths of a second.
    pub time: fn(i64) -> i64,
    /// Time of the first frame, in thousandths of a second.
    pub begins: i64,
    pub b_frames: usize,
    /// Frames from one key frame to the next.
    pub group: u32,
    /// Whether the square stands still.
    pub is_still: bool,
    /// Whether the index of an MP4 file is at its beginning.
    pub has_index_first: bool,
    /// Whether a Matroska file is written as by a recorder that cannot go back: without its length and its duration.
    pub is_never_sought: bool,
}

impl Default for Clip {
    fn default() -> Self {
        Self {
            codec: codec::Id::MPEG4,
            frames: 30,
            time: |number| number * PERIOD,
            begins: 0,
            b_frames: 0,
            group: 10,
            is_still: false,
            has_index_first: false,
            is_never_sought: false,
        }
    }
}

impl Clip {
    /// Writes the clip; the ending of the name chooses the container.
    pub fn write(&self, folder: &Path, name: &str) -> PathBuf {
        ffmpeg_next::log::set_level(ffmpeg_next::log::Level::Quiet);
        let path = folder.join(name);
        let mut output = format::output(&path).unwrap();
        let mut encoder = self.encoder(&output);
        let mut stream = output.add_stream(encoder::find(self.codec)).unwrap();
        stream.set_parameters(&encoder);
        let index = stream.index();
        let mut options = Dictionary::new();
        if self.has_index_first {
            options.set("movflags", "faststart");
        }
        if self.is_never_sought {
            options.set("live", "1");
        }
        output.write_header_with(options).unwrap();
        for number in 0..self.frames {
            let mut image = self.image(number);
            image.set_pts(Some(self.begins + (self.time)(number)));
            encoder.send_frame(&image).unwrap();
            drain(&mut encoder, &mut output, index);
        }
        encoder.send_eof().unwrap();
        drain(&mut encoder, &mut output, index);
        output.write_trailer().unwrap();
        drop(output);
        rested(path)
    }

    fn encoder(&self, output: &format::context::Output) -> encoder::Video {
        let codec = encoder::find(self.codec).unwrap();
        let mut video = codec::Context::new_with_codec(codec).encoder().video().unwrap();
        video.set_width(WIDTH);
        video.set_height(HEIGHT);
        video.set_time_base(Rational(1, 1000));
        video.set_frame_rate(Some(Rational(25, 1)));
        video.set_gop(self.group);
        video.set_max_b_frames(self.b_frames);
        video.set_bit_rate(2_000_000);
        let is_mjpeg = self.codec == codec::Id::MJPEG;
        video.set_format(if is_mjpeg { Pixel::YUVJ420P } else { Pixel::YUV420P });
        if output.format().flags().contains(format::Flags::GLOBAL_HEADER) {
            video.set_flags(codec::Flags::GLOBAL_HEADER);
        }
        video.open_with(Dictionary::new()).unwrap()
    }

    fn image(&self, number: i64) -> frame::Video {
        let mut image = frame::Video::new(Pixel::YUV420P, WIDTH, HEIGHT);
        if self.codec == codec::Id::MJPEG {
            image = frame::Video::new(Pixel::YUVJ420P, WIDTH, HEIGHT);
        }
        let left = if self.is_still { 8 } else { 8 + usize::try_from(number).unwrap() * 2 % 112 };
        let stride = image.stride(0);
        let luma = image.data_mut(0);
        for (row, line) in luma.chunks_mut(stride).enumerate() {
            line.fill(90);
            if (8..40).contains(&row) {
                line[left..left + 32].fill(220);
            }
        }
        image.data_mut(1).fill(128);
        image.data_mut(2).fill(128);
        image
    }
}

/// A file that nobody has written for ten seconds: nothing waits for its end.
pub fn rested(path: PathBuf) -> PathBuf {
    let before = std::time::SystemTime::now() - std::time::Duration::from_secs(10);
    std::fs::File::options().append(true).open(&path).unwrap().set_modified(before).unwrap();
    path
}

fn drain(encoder: &mut encoder::Video, output: &mut format::context::Output, index: usize) {
    let mut packet = Packet::empty();
    while encoder.receive_packet(&mut packet).is_ok() {
        packet.set_stream(index);
        // Without it, the last frame of an MP4 file has no length, and no player shows it.
        packet.set_duration(PERIOD);
        packet.rescale_ts(Rational(1, 1000), output.stream(index).unwrap().time_base());
        packet.write_interleaved(output).unwrap();
    }
}
