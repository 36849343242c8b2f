//! The chunks of a WAV file: whether the file has the bytes that its `data` chunk announces.

use std::io;

use crate::error::{Refusal, SoundError};
use crate::source::Source;

/// No file has more chunks before its data.
const MAX_CHUNKS: usize = 1000;

/// Checks the chunks. Returns the number of samples of one channel if the format has blocks of one sample.
pub(crate) fn measure(source: &mut Source) -> Result<Option<u64>, SoundError> {
    let mut block = None;
    let mut at = 12;
    for _ in 0..MAX_CHUNKS {
        let Some((name, length)) = chunk(source, at)? else {
            return Err(Refusal::Truncated { missing: "it ends before its samples".to_owned() }.into());
        };
        let content = at + 8;
        match &name {
            b"fmt " => block = block_of(source, content)?,
            b"data" => {
                let there = source.length() - content;
                // Programs that write to a pipe do not know the length.
                let unknown = length == u64::from(u32::MAX);
                if !unknown && length > there {
                    let missing = format!("{} bytes of its samples are missing", length - there);
                    return Err(Refusal::Truncated { missing }.into());
                }
                let bytes = if unknown { there } else { length };
                return Ok(block.map(|block| bytes / block));
            }
            _ => {}
        }
        at = content + length + length % 2;
    }
    Err(Refusal::damaged("too many chunks before its samples").into())
}

fn chunk(source: &mut Source, at: u64) -> io::Result<Option<([u8; 4], u64)>> {
    let mut head = [0; 8];
    if at >= source.length() || source.read_at(at, &mut head)? < head.len() {
        return Ok(None);
    }
    let [a, b, c, d, length @ ..] = head;
    Ok(Some(([a, b, c, d], u64::from(u32::from_le_bytes(length)))))
}

/// The bytes of one sample of all channels, in formats whose blocks are samples.
fn block_of(source: &mut Source, at: u64) -> io::Result<Option<u64>> {
    let mut format = [0; 16];
    if source.read_at(at, &mut format)? < format.len() {
        return Ok(None);
    }
    let tag = u16::from_le_bytes([format[0], format[1]]);
    let block = u64::from(u16::from_le_bytes([format[12], format[13]]));
    // PCM, floating point, A-law, µ-law, extensible.
    Ok(([1, 3, 6, 7, 0xfffe].contains(&tag) && block > 0).then_some(block))
}
