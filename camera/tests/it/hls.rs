//! A live camera over HLS: its server has segments of six seconds, and each is there at once.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;
use serde_json::json;

use crate::clips::Clip;
use crate::hostile::request;
use crate::live::listen;
use crate::server::Server;

/// Seconds and frames of a segment.
const SEGMENT: u64 = 6;
const FRAMES: i64 = 150;
/// Segments in the playlist.
const LISTED: u64 = 3;

/// A camera that has three segments, and a new one every six seconds; returns its address.
fn live_hls(folder: &Path) -> String {
    let segment = |number: i64| {
        let clip = Clip { frames: FRAMES, begins: number * FRAMES * 40, ..Clip::default() };
        std::fs::read(clip.write(folder, &format!("{number}.ts"))).unwrap()
    };
    let segments: Arc<Vec<Vec<u8>>> = Arc::new((0..8).map(segment).collect());
    let begun = Instant::now();
    let port = listen(move |mut stream| {
        let Some(text) = request(&mut stream) else { return };
        let path = text.split(' ').nth(1).unwrap();
        let body = match path.trim_start_matches('/').strip_suffix(".ts") {
            Some(number) => segments[number.parse::<usize>().unwrap()].clone(),
            None => {
                let first = begun.elapsed().as_secs() / SEGMENT;
                let parts = (first..first + LISTED).map(|number| format!("#EXTINF:{SEGMENT},\n{number}.ts\n"));
                let head = format!("#EXTM3U\n#EXT-X-TARGETDURATION:{SEGMENT}\n#EXT-X-MEDIA-SEQUENCE:{first}\n");
                (head + &parts.collect::<String>()).into_bytes()
            }
        };
        let head = format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
        let _ = stream.write_all(&[head.as_bytes(), &body].concat());
    });
    format!("http://127.0.0.1:{port}/live.m3u8")
}

#[test]
fn the_bursts_of_a_playlist_become_a_steady_stream_without_a_hole() {
    let folder = tempfile::tempdir().unwrap();
    let url = live_hls(folder.path());
    // The largest part of three segments.
    let settings = |fps: Option<f64>| json!({"fps": fps, "duration": 14.0, "when_slow": "drop", "motion_gate": false});
    std::thread::scope(|scope| {
        for (fps, period) in [(None, 40), (Some(5.0), 200)] {
            let url = &url;
            scope.spawn(move || {
                let (server, begun) = (Server::start(), Instant::now());
                let pushed = server.push(Path::new(url), &settings(fps));
                assert!(
                    pushed.succeeded && pushed.counts["frames_dropped"] == 0,
                    "{} {}",
                    pushed.errors,
                    pushed.counts
                );
                assert!(begun.elapsed().as_secs() >= 13, "at its own pace: {:?}", begun.elapsed());
                let times = server.frames().into_iter().map(|frame| frame.captured_at.parse::<Timestamp>().unwrap());
                let times: Vec<Timestamp> = times.collect();
                let steps: Vec<i128> =
                    times.windows(2).map(|pair| pair[1].duration_since(pair[0]).as_millis()).collect();
                assert!(steps.iter().all(|step| *step == period), "{steps:?}");
                let expected = 14_000 / usize::try_from(period).unwrap();
                assert!(times.len().abs_diff(expected) <= 2, "{} of {expected}", times.len());
            });
        }
    });
}
