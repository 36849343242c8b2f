//! The packets of every container but MP3, by symphonia's demuxers.
//!
//! Times are samples of one channel from the start. A demuxer that goes wrong ends the stream or loses a part; it never loops, because
//! it gets a bounded number of tries and of bytes.

use symphonia::core::audio::Channels;
use symphonia::core::codecs::CodecParameters;
use symphonia::core::codecs::audio::{AudioCodecParameters, AudioDecoder, AudioDecoderOptions, well_known as codecs};
use symphonia::core::errors::{Error, Result as DecoderResult};
use symphonia::core::formats::{FormatOptions, FormatReader, SeekMode, SeekTo, TrackType};
use symphonia::core::io::{MediaSourceStream, MediaSourceStreamOptions};
use symphonia::core::meta::StandardTag;
use symphonia::core::units::{TimeBase, Timestamp};
use symphonia::default::formats::{AdtsReader, FlacReader, IsoMp4Reader, MkvReader, OggReader, WavReader};

use crate::container::Container;
use crate::error::{Refusal, SoundError, of_decoder};
use crate::packets::Piece;
use crate::sound::{Tags, tag_text};
use crate::source::{OPENING, PACKET, Source};
use crate::{mp4, wav};

/// How many broken packets in a row end a stream.
const MAX_BROKEN: usize = 64;

/// A demuxer with its sound track.
pub(crate) struct Demuxer {
    container: Container,
    source: Source,
    reader: Box<dyn FormatReader>,
    track: u32,
    base: TimeBase,
    /// Samples a second, in which times are told.
    rate: u32,
    params: AudioCodecParameters,
    /// The length that the container announces, in samples. Not of formats whose announcement is an estimate.
    claimed: Option<u64>,
    /// Whether the container can go to a time.
    indexed: bool,
    /// Start of the present part of a file of several parts, and the end of what was read.
    shift: i64,
    end: i64,
    /// Counts the parts. Each needs a decoder of its own.
    generation: u32,
    /// A packet that was read on the way to a time.
    pending: Option<Piece>,
}

impl Demuxer {
    /// Opens the container.
    pub(crate) fn open(container: Container, source: &Source) -> Result<Self, SoundError> {
        source.allow(OPENING);
        let mut source = source.clone();
        let mut samples = None;
        let mut movie = None;
        match container {
            Container::Wav => samples = wav::measure(&mut source)?,
            Container::Mp4 => {
                let mut found = mp4::inspect(&mut source)?;
                source = source.hiding(std::mem::take(&mut found.others));
                movie = Some(found);
            }
            _ => {}
        }
        source.go_to(0);
        let reader = reader(container, source.clone()).map_err(|error| of_decoder(&error))?;
        let mut demuxer = Self {
            container,
            source,
            reader,
            track: 0,
            base: TimeBase::default(),
            rate: 0,
            params: AudioCodecParameters::new(),
            claimed: None,
            indexed: matches!(container, Container::Wav | Container::Flac)
                || movie.as_ref().is_some_and(|movie| !movie.fragmented),
            shift: 0,
            end: 0,
            generation: 0,
            pending: None,
        };
        let length = demuxer.select().map_err(|refusal| match (&movie, refusal) {
            // The demuxer does not tell a codec that it does not know from a track of another kind.
            (Some(movie), Refusal::NoSound) => Refusal::unsupported(&format!("codec {}", movie.codec)),
            (_, refusal) => refusal,
        })?;
        demuxer.claimed = samples.or(length.filter(|_| demuxer.indexed));
        Ok(demuxer)
    }

    /// Chooses the sound track. Returns its length in samples, if it says one.
    fn select(&mut self) -> Result<Option<u64>, Refusal> {
        let track = self.reader.default_track(TrackType::Audio).or_else(|| self.reader.first_track(TrackType::Audio));
        let track = track.ok_or(Refusal::NoSound)?;
        let params = track.codec_params.as_ref().and_then(CodecParameters::audio).ok_or(Refusal::NoSound)?;
        self.params = params.clone();
        let recip = params.sample_rate.and_then(TimeBase::try_from_recip);
        self.base = track.time_base.or(recip).ok_or_else(|| Refusal::damaged("its track has no clock"))?;
        self.rate = params.sample_rate.unwrap_or(self.base.denom.get());
        self.track = track.id;
        let length = track.duration.map(|duration| i128::from(duration.get()));
        Ok(length.and_then(|length| u64::try_from(self.samples(length)).ok()))
    }

    /// Samples a second of one channel, as the container says.
    pub(crate) fn sample_rate(&self) -> u32 {
        self.rate
    }

    /// Sets the samples a second that the decoder found.
    pub(crate) fn set_sample_rate(&mut self, rate: u32) {
        let claimed = self.claimed.map(|samples| u128::from(samples) * u128::from(rate) / u128::from(self.rate.max(1)));
        self.claimed = claimed.and_then(|samples| u64::try_from(samples).ok());
        let end = i128::from(self.end) * i128::from(rate) / i128::from(self.rate.max(1));
        self.end = i64::try_from(end).unwrap_or(0);
        self.rate = rate;
    }

    /// The length that the container announces.
    pub(crate) fn claimed(&self) -> Option<u64> {
        self.claimed
    }

    /// Whether times are exact to the sample.
    pub(crate) fn is_exact(&self) -> bool {
        self.base.numer.get() == 1 && self.base.denom.get() == self.rate
    }

    /// The number of the present part.
    pub(crate) fn generation(&self) -> u32 {
        self.generation
    }

    /// The end of the last packet that was read.
    pub(crate) fn end(&self) -> u64 {
        u64::try_from(self.end).unwrap_or(0)
    }

    /// A decoder for the present part.
    pub(crate) fn decoder(&self) -> Result<Box<dyn AudioDecoder>, Refusal> {
        let made = symphonia::default::get_codecs().make_audio_decoder(&self.params, &AudioDecoderOptions::default());
        made.map_err(|error| match error {
            error if self.params.codec != codecs::CODEC_ID_AAC && !matches!(error, Error::Unsupported(_)) => {
                of_decoder(&error)
            }
            // A configuration of AAC that is not that of AAC-LC may also read as a damaged one.
            _ => Refusal::unsupported(&name_of(&self.params)),
        })
    }

    /// Title and artist in the newest tags.
    pub(crate) fn tags(&mut self) -> Tags {
        let mut tags = Tags::default();
        let mut metadata = self.reader.metadata();
        let Some(revision) = metadata.skip_to_latest() else { return tags };
        let of_tracks = revision.per_track.iter().flat_map(|track| &track.metadata.tags);
        for tag in revision.media.tags.iter().chain(of_tracks).filter_map(|tag| tag.std.as_ref()) {
            match tag {
                StandardTag::TrackTitle(text) => tags.title = tags.title.or_else(|| tag_text(text)),
                StandardTag::Artist(text) => tags.artist = tags.artist.or_else(|| tag_text(text)),
                _ => {}
            }
        }
        tags
    }

    /// The next packet of the sound, or none at the end.
    pub(crate) fn next(&mut self) -> Result<Option<Piece>, SoundError> {
        if let Some(piece) = self.pending.take() {
            return Ok(Some(piece));
        }
        let mut broken = 0;
        while broken < MAX_BROKEN {
            self.source.allow(PACKET);
            match self.reader.next_packet() {
                // A packet without bytes costs none of the file: any number of them could be announced.
                Ok(Some(packet)) if packet.data.is_empty() => broken += 1,
                Ok(Some(packet)) if packet.track_id != self.track => {}
                Ok(Some(packet)) => {
                    let trimmed = i128::from(packet.trim_start.get());
                    let start = i128::from(packet.pts.get()) + trimmed;
                    let at = self.samples(start).saturating_add(self.shift);
                    let until = self.samples(start + i128::from(packet.dur.get())).saturating_add(self.shift);
                    self.end = self.end.max(until);
                    let samples = u64::try_from(until.saturating_sub(at)).unwrap_or(0);
                    return Ok(Some(Piece { at, samples, packet }));
                }
                Ok(None) => break,
                Err(Error::ResetRequired) => {
                    self.shift = self.end;
                    self.generation += 1;
                    broken += 1;
                    let rate = self.rate;
                    self.select()?;
                    if self.rate != rate {
                        return Err(Refusal::unsupported("a change of the sample rate within a file").into());
                    }
                }
                // The end of the file, or a failure that the source remembers.
                Err(Error::IoError(_)) => break,
                Err(_) => broken += 1,
            }
        }
        Ok(None)
    }

    /// Goes to the packet with this sample, or to one before it. Sample zero is the start of the stream: packets that end before it are the
    /// decoder's lead.
    pub(crate) fn seek(&mut self, sample: u64) -> Result<(), SoundError> {
        self.pending = None;
        self.source.allow(OPENING);
        if self.indexed && self.seek_by_index(sample) {
            return Ok(());
        }
        let (generation, rate) = (self.generation, self.rate);
        *self = Self::open(self.container, &self.source.hiding(Vec::new()))?;
        self.generation = generation + 1;
        self.set_sample_rate(rate);
        if sample == 0 {
            return Ok(());
        }
        let target = i64::try_from(sample).unwrap_or(i64::MAX);
        while let Some(piece) = self.next()? {
            if self.end > target {
                self.pending = Some(piece);
                break;
            }
        }
        Ok(())
    }

    fn seek_by_index(&mut self, sample: u64) -> bool {
        let rate = u128::from(self.rate.max(1)) * u128::from(self.base.numer.get());
        let ticks = u128::from(sample) * u128::from(self.base.denom.get()) / rate;
        let Ok(ticks) = i64::try_from(ticks) else { return false };
        let to = SeekTo::Timestamp { ts: Timestamp::new(ticks), track_id: self.track };
        self.reader.seek(SeekMode::Accurate, to).is_ok_and(|found| found.actual_ts <= found.required_ts)
    }

    /// Ticks of the clock as samples.
    fn samples(&self, ticks: i128) -> i64 {
        let scaled = ticks.saturating_mul(i128::from(self.base.numer.get())).saturating_mul(i128::from(self.rate));
        let samples = scaled.div_euclid(i128::from(self.base.denom.get()));
        i64::try_from(samples).unwrap_or(if samples < 0 { i64::MIN } else { i64::MAX })
    }
}

fn reader(container: Container, source: Source) -> DecoderResult<Box<dyn FormatReader>> {
    let stream = MediaSourceStream::new(Box::new(source), MediaSourceStreamOptions::default());
    let options = FormatOptions::default();
    Ok(match container {
        Container::Mp4 => Box::new(IsoMp4Reader::try_new(stream, options)?),
        Container::Flac => Box::new(FlacReader::try_new(stream, options)?),
        Container::Wav => Box::new(WavReader::try_new(stream, options)?),
        Container::Ogg => Box::new(OggReader::try_new(stream, options)?),
        Container::Aac => Box::new(AdtsReader::try_new(stream, options)?),
        Container::Matroska => Box::new(MkvReader::try_new(stream, options)?),
        Container::Mp3 => return Err(Error::Unsupported("MP3 with a demuxer")),
    })
}

/// The name of a codec that has no decoder, or of the kind of it that has none.
fn name_of(params: &AudioCodecParameters) -> String {
    let name = match params.codec {
        codecs::CODEC_ID_AAC => return name_of_aac(params),
        codecs::CODEC_ID_OPUS => "Opus",
        codecs::CODEC_ID_SPEEX => "Speex",
        codecs::CODEC_ID_MP1 | codecs::CODEC_ID_MP2 => "MPEG audio layer I or II",
        codecs::CODEC_ID_AC3 => "AC-3",
        codecs::CODEC_ID_EAC3 => "E-AC-3",
        codecs::CODEC_ID_AC4 => "AC-4",
        codecs::CODEC_ID_DCA => "DTS",
        codecs::CODEC_ID_WMA => "Windows Media Audio",
        codecs::CODEC_ID_WAVPACK => "WavPack",
        codecs::CODEC_ID_TRUEHD => "TrueHD",
        _ => "its codec",
    };
    name.to_owned()
}

fn name_of_aac(params: &AudioCodecParameters) -> String {
    // The first five bits of the configuration are the kind: 5 and 29 are HE-AAC, which plain AAC may also announce at its end.
    let kind = params.extra_data.as_deref().and_then(<[u8]>::first).map(|byte| byte >> 3);
    let channels = params.channels.as_ref().map_or(0, Channels::count);
    match kind {
        Some(5 | 29) => "HE-AAC".to_owned(),
        _ if channels > 2 => format!("AAC of {channels} channels"),
        Some(2) => "HE-AAC".to_owned(),
        Some(kind) => format!("AAC of kind {kind}"),
        None => "AAC of this kind".to_owned(),
    }
}
