"""Converts Whisper from CTranslate2's format into whisper.cpp's, as crates/models/src/convert.rs does, and prints the hash of the result.

    ct2_to_ggml.py VOCABULARY OUT PART...

VOCABULARY is vocabulary.txt of the package, and PART model.bin or its parts in order. The hash must be that in crates/models/models.yaml.
Needs Python 3.9 and no packages. Written from the descriptions of both formats, not from the Rust code.
"""

import hashlib
import math
import struct
import sys


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, length):
        if self.at + length > len(self.data):
            raise SystemExit("the file is cut off")
        self.at += length
        return self.data[self.at - length : self.at]

    def number(self, kind):
        return struct.unpack("<" + kind, self.take(struct.calcsize(kind)))[0]

    def text(self):
        return self.take(self.number("H"))[:-1].decode()


def variables(data):
    reader = Reader(data)
    if (reader.number("I"), reader.text()) != (6, "WhisperSpec"):
        raise SystemExit("not a Whisper model of CTranslate2")
    reader.number("I")
    found = {}
    for _ in range(reader.number("I")):
        name = reader.text()
        dimensions = [reader.number("I") for _ in range(reader.number("B"))]
        reader.number("B")
        found[name] = (dimensions, reader.take(reader.number("I")))
    for _ in range(reader.number("I")):
        reader.text(), reader.text()
    if reader.at != len(data):
        raise SystemExit("bytes follow the last variable")
    return found


def mel_filters():
    step = math.log(6.4) / 27

    def mel(hertz):
        return hertz * 3 / 200 if hertz < 1000 else 15 + math.log(hertz / 1000) / step

    def hertz(mel):
        return mel * 200 / 3 if mel < 15 else 1000 * math.exp(step * (mel - 15))

    edges = [hertz(mel(8000.0) * edge / 81) for edge in range(82)]
    weights = []
    for low, centre, high in zip(edges, edges[1:], edges[2:]):
        for index in range(201):
            frequency = 40.0 * index
            height = min((frequency - low) / (centre - low), (high - frequency) / (high - centre))
            weights.append(max(0.0, height) * (2 / (high - low)))
    return struct.pack(f"<{len(weights)}f", *weights)


def tokens(text):
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    byte_of = {chr(byte): byte for byte in printable}
    others = [byte for byte in range(256) if byte not in printable]
    byte_of.update({chr(256 + place): byte for place, byte in enumerate(others)})
    lines = text.split("\n")
    return [bytes(byte_of[character] for character in line) for line in lines[: lines.index("<|endoftext|>")]]


def wide(halves):
    return struct.pack(f"<{len(halves) // 2}f", *struct.unpack(f"<{len(halves) // 2}e", halves))


class Writer:
    def __init__(self, model):
        self.model, self.out = model, bytearray()

    def numbers(self, *numbers):
        self.out += struct.pack(f"<{len(numbers)}i", *numbers)

    def tensor(self, name, dimensions, halves, single):
        self.numbers(len(dimensions), len(name), 0 if single else 1, *reversed(dimensions))
        self.out += name.encode() + (wide(halves) if single else halves)

    def norm(self, old, new):
        for before, after in (("gamma", "weight"), ("beta", "bias")):
            self.tensor(f"{new}.{after}", *self.model[f"{old}/{before}"], True)

    def linear(self, old, new, *parts):
        (rows, columns), weight = self.model[f"{old}/weight"]
        bias = self.model[f"{old}/bias"][1]
        rows //= len(parts)
        for place, part in enumerate(parts):
            matrix, row = rows * columns * 2, rows * 2
            self.tensor(f"{new}.{part}.weight", [rows, columns], weight[place * matrix : (place + 1) * matrix], False)
            halves = bias[place * row : (place + 1) * row]
            if part != "key":
                self.tensor(f"{new}.{part}.bias", [rows], halves, True)
            elif any(struct.unpack(f"<{rows}e", halves)):
                raise SystemExit(f"the bias of the keys in {old} is not zero")

    def layers(self, side):
        return sum(name.startswith(f"{side}/layer_") and name.endswith("/ffn/linear_0/weight") for name in self.model)

    def head(self, vocabulary):
        sizes = [self.model["decoder/embeddings/weight"][0][0]]
        for side in ("encoder", "decoder"):
            heads = struct.unpack("<h", self.model[f"{side}/num_heads"][1])[0]
            sizes += [*self.model[f"{side}/position_encodings/encodings"][0], heads, self.layers(side)]
        self.numbers(0x67676D6C, *sizes, 80, 1, 80, 201)
        self.out += mel_filters()
        self.numbers(len(vocabulary))
        for token in vocabulary:
            self.numbers(len(token))
            self.out += token

    def side(self, side):
        self.tensor(f"{side}.positional_embedding", *self.model[f"{side}/position_encodings/encodings"], True)
        if side == "encoder":
            for name in ("conv1", "conv2"):
                self.tensor(f"encoder.{name}.weight", *self.model[f"encoder/{name}/weight"], False)
                dimensions, halves = self.model[f"encoder/{name}/bias"]
                self.tensor(f"encoder.{name}.bias", [*dimensions, 1], halves, True)
        else:
            self.tensor("decoder.token_embedding.weight", *self.model["decoder/embeddings/weight"], False)
        for layer in range(self.layers(side)):
            old, new = f"{side}/layer_{layer}", f"{side}.blocks.{layer}"
            self.norm(f"{old}/self_attention/layer_norm", f"{new}.attn_ln")
            self.linear(f"{old}/self_attention/linear_0", f"{new}.attn", "query", "key", "value")
            self.linear(f"{old}/self_attention/linear_1", f"{new}.attn", "out")
            if side == "decoder":
                self.norm(f"{old}/attention/layer_norm", f"{new}.cross_attn_ln")
                self.linear(f"{old}/attention/linear_0", f"{new}.cross_attn", "query")
                self.linear(f"{old}/attention/linear_1", f"{new}.cross_attn", "key", "value")
                self.linear(f"{old}/attention/linear_2", f"{new}.cross_attn", "out")
            self.norm(f"{old}/ffn/layer_norm", f"{new}.mlp_ln")
            self.linear(f"{old}/ffn/linear_0", f"{new}.mlp", "0")
            self.linear(f"{old}/ffn/linear_1", f"{new}.mlp", "2")
        self.norm(f"{side}/layer_norm", "encoder.ln_post" if side == "encoder" else "decoder.ln")


def main():
    vocabulary, out, *parts = sys.argv[1:]
    data = b"".join(open(part, "rb").read() for part in parts)
    writer = Writer(variables(data))
    writer.head(tokens(open(vocabulary, encoding="utf-8", newline="").read()))
    for side in ("encoder", "decoder"):
        writer.side(side)
    open(out, "wb").write(writer.out)
    print(hashlib.sha256(data).hexdigest(), "->", hashlib.sha256(writer.out).hexdigest())


main()
