//! Opens a source with FFmpeg, with bounds for what it may do: which protocols, containers and decoders, how large an image, and whose
//! certificates.
//!
//! The wrapper can set none of the callbacks of a context, so this is done here. Each further address that a playlist names is opened
//! through `open_address`, because FFmpeg gives such connections none of the options of the first one.

use std::ffi::{CStr, CString, c_char, c_int};
use std::ptr;
use std::sync::Arc;

use ffmpeg_next::ffi::{
    AVDictionary, AVERROR_EXIT, AVFormatContext, AVIOContext, av_dict_free, av_dict_set, avformat_alloc_context,
    avformat_close_input, avformat_find_stream_info, avformat_free_context, avformat_open_input,
};
use ffmpeg_next::util::interrupt;
use ffmpeg_next::{Dictionary, Error, codec, decoder, format};

use super::guard::Guard;
use crate::source::{Address, Tls};

/// Containers of files. Others could open further files or addresses that a file names, such as those of playlists.
const FILE_FORMATS: &str = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,flv,asf,ogg,mxf,mjpeg,mpjpeg,h264,hevc,m4v,ivf,dv,gif,\
    image2,jpeg_pipe,png_pipe,webp_pipe";
/// Containers of live sources. The last line is for HLS, which also has playlists of sound and of subtitles.
const LIVE_FORMATS: &str = "rtsp,sdp,rtp,mpjpeg,mjpeg,jpeg_pipe,mpegts,hls,mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,flv,h264,hevc,m4v,\
    aac,mp3,ac3,eac3,webvtt";
/// Decoders. FFmpeg has hundreds, and a camera could choose the worst of them.
const CODECS: [&str; 24] = [
    "h264",
    "hevc",
    "mjpeg",
    "mpeg4",
    "mpeg2video",
    "mpeg1video",
    "mpegvideo",
    "h263",
    "vp8",
    "libvpx",
    "vp9",
    "libvpx-vp9",
    "libdav1d",
    "libaom-av1",
    "av1",
    "flv",
    "theora",
    "vc1",
    "wmv3",
    "prores",
    "dvvideo",
    "gif",
    "png",
    "webp",
];
/// Most pixels of an image. A few kilobytes can pretend to be an image that fills the memory.
const MOST_PIXELS: u64 = 8192 * 8192;
/// Protocols that a source of HTTP may use, whatever its playlists name. No `file`.
const HTTP_PROTOCOLS: &str = "tcp,tls,http,https,httpproxy,crypto,hls,data";
/// Protocols of RTSP. No TLS, to which a camera could redirect: FFmpeg would not check its certificate.
const RTSP_PROTOCOLS: &str = "rtsp,rtp,tcp";
/// The same where certificates are not checked.
const UNCHECKED_RTSP_PROTOCOLS: &str = "rtsp,rtsps,rtp,tcp,tls";
/// Most streams of a live source, such as video and sound.
const MOST_STREAMS: &str = "100";
/// Time limit of FFmpeg for one answer of a camera, in microseconds; `Watch` has the limits that count.
const ANSWER_LIMIT: &str = "5000000";
/// What FFmpeg reads of a live source before the first frame, in microseconds of the source's time.
const LIVE_ANALYSIS: &str = "2000000";

type OpenAddress = unsafe extern "C" fn(
    *mut AVFormatContext,
    *mut *mut AVIOContext,
    *const c_char,
    c_int,
    *mut *mut AVDictionary,
) -> c_int;

/// What `open_address` needs. It lives as long as the context.
struct Opener {
    of_ffmpeg: OpenAddress,
    options: Vec<(&'static CStr, CString)>,
    guard: Arc<Guard>,
}

/// The context, for its own callback.
struct Own(*const AVFormatContext);

// SAFETY: the callback reads it on the thread that uses the context.
unsafe impl Send for Own {}

impl Own {
    /// The address that FFmpeg reads from.
    fn url(&self) -> &CStr {
        // SAFETY: only a source of RTSP is asked for its address. FFmpeg closes its connection before it frees the context, and changes
        // the address on the same thread, between two calls. (HTTP's connection is closed after the context was freed.)
        unsafe {
            let url = (*self.0).url;
            if url.is_null() { c"" } else { CStr::from_ptr(url) }
        }
    }
}

/// Opens a source and reads enough of it to know its streams. `guard` is asked while FFmpeg waits.
pub(super) fn open(address: &Address, guard: &Arc<Guard>) -> Result<format::context::Input, Error> {
    let name = CString::new(address.for_ffmpeg()).map_err(|_| Error::InvalidData)?;
    let tls_options = match address {
        Address::Live(live) => Some(tls_options(live.tls()).ok_or(Error::InvalidData)?),
        Address::File(_) => None,
    };
    // SAFETY: FFmpeg allocates the context, and frees it when opening fails. The callback lives as long as the returned context, which has
    // its guard; so does the opener, which the callback owns. The dictionary is freed after the call that may change it.
    unsafe {
        let mut context = avformat_alloc_context();
        if context.is_null() {
            return Err(Error::Other { errno: ffmpeg_next::error::ENOMEM });
        }
        let Some(of_ffmpeg) = (*context).io_open else {
            avformat_free_context(context);
            return Err(Error::Bug);
        };
        let opener = tls_options.map(|options| Box::new(Opener { of_ffmpeg, options, guard: Arc::clone(guard) }));
        if let Some(opener) = &opener {
            (*context).opaque = ptr::from_ref::<Opener>(opener).cast_mut().cast();
            (*context).io_open = Some(open_address);
        }
        let (own, guard) = (Own(context), Arc::clone(guard));
        let callback = interrupt::new(Box::new(move || {
            let _kept = &opener;
            guard.interrupts(guard.checks_address().then(|| own.url()))
        }));
        (*context).interrupt_callback = callback.interrupt;
        let mut options = options(address).disown();
        let opened = avformat_open_input(&raw mut context, name.as_ptr(), ptr::null(), &raw mut options);
        av_dict_free(&raw mut options);
        if opened < 0 {
            return Err(Error::from(opened));
        }
        let found = find_streams(context);
        if found < 0 {
            avformat_close_input(&raw mut context);
            return Err(Error::from(found));
        }
        Ok(format::context::Input::wrap_with_interrupt(context, callback.guard))
    }
}

/// Reads until the streams are known. That decodes frames already, within the same bound.
unsafe fn find_streams(context: *mut AVFormatContext) -> c_int {
    // SAFETY: the context is open, and there is a dictionary for each stream that it has now.
    unsafe {
        let streams = (*context).nb_streams as usize;
        let mut options: Vec<*mut AVDictionary> = (0..streams).map(|_| bounds().disown()).collect();
        let found = avformat_find_stream_info(context, options.as_mut_ptr());
        options.iter_mut().for_each(|options| av_dict_free(options));
        found
    }
}

/// `None` for a path that C cannot express.
fn tls_options(tls: &Tls) -> Option<Vec<(&'static CStr, CString)>> {
    let mut options = vec![(c"tls_verify", if tls.verify { c"1" } else { c"0" }.to_owned())];
    if let Some(path) = &tls.ca_file {
        options.push((c"ca_file", CString::new(path.as_os_str().as_encoded_bytes()).ok()?));
    }
    Some(options)
}

unsafe extern "C" fn open_address(
    context: *mut AVFormatContext,
    io: *mut *mut AVIOContext,
    url: *const c_char,
    flags: c_int,
    options: *mut *mut AVDictionary,
) -> c_int {
    let mut own = ptr::null_mut();
    let options = if options.is_null() { &raw mut own } else { options };
    // SAFETY: FFmpeg calls this with the context whose `opaque` was set above. It may change a dictionary that is its own.
    unsafe {
        let opener = &*(*context).opaque.cast::<Opener>();
        // A list of a hundred thousand variants would be tried to its end.
        if !opener.guard.opens() {
            return AVERROR_EXIT;
        }
        for (name, value) in &opener.options {
            av_dict_set(options, name.as_ptr(), value.as_ptr(), 0);
        }
        let opened = (opener.of_ffmpeg)(context, io, url, flags, options);
        av_dict_free(&raw mut own);
        opener.guard.answered(opened);
        opened
    }
}

fn options(address: &Address) -> Dictionary<'static> {
    let mut options = Dictionary::new();
    options.set("codec_whitelist", &CODECS.join(","));
    match address {
        Address::File(_) => {
            options.set("protocol_whitelist", "file");
            options.set("format_whitelist", FILE_FORMATS);
        }
        Address::Live(live) => {
            let protocols = match (live.is_rtsp(), live.tls().verify) {
                (false, _) => HTTP_PROTOCOLS,
                (true, true) => RTSP_PROTOCOLS,
                (true, false) => UNCHECKED_RTSP_PROTOCOLS,
            };
            options.set("protocol_whitelist", protocols);
            options.set("format_whitelist", LIVE_FORMATS);
            options.set("analyzeduration", LIVE_ANALYSIS);
            options.set("max_streams", MOST_STREAMS);
            if live.is_rtsp() {
                options.set("rtsp_transport", "tcp");
                options.set("timeout", ANSWER_LIMIT);
            } else {
                options.set("rw_timeout", ANSWER_LIMIT);
            }
        }
    }
    options
}

fn bounds() -> Dictionary<'static> {
    let mut options = Dictionary::new();
    options.set("codec_whitelist", &CODECS.join(","));
    options.set("max_pixels", &MOST_PIXELS.to_string());
    options
}

/// The decoder of a stream, or why there is none.
pub(super) fn decoder(
    stream: &ffmpeg_next::Stream<'_>,
    threads: usize,
) -> Result<Result<decoder::Video, Error>, String> {
    let Some(codec) = decoder::find(stream.parameters().id()) else {
        return Err("this FFmpeg has no decoder for its video".to_owned());
    };
    if !CODECS.contains(&codec.name()) {
        return Err(format!("its video is in {}, which is not supported", codec.name()));
    }
    Ok(open_decoder(stream, codec, threads))
}

fn open_decoder(
    stream: &ffmpeg_next::Stream<'_>,
    codec: ffmpeg_next::Codec,
    threads: usize,
) -> Result<decoder::Video, Error> {
    let mut context = codec::Context::from_parameters(stream.parameters())?;
    let kind = codec::threading::Config::kind(codec::threading::Type::Frame);
    context.set_threading(codec::threading::Config { count: threads, ..kind });
    let mut decoder = context.decoder();
    decoder.set_packet_time_base(stream.time_base());
    decoder.open_as_with(codec, bounds())?.video()
}
