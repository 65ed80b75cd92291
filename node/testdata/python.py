"""Writes python.json: what CPython's base64 and zlib (3.11) make of payloads.

Run in this directory: python3 python.py > python.json
"""

import base64, json, random, zlib

rng = random.Random(20250829)
ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"


def deflate(data, level=6, wbits=15, strategy=zlib.Z_DEFAULT_STRATEGY, flush=False):
    c = zlib.compressobj(level, zlib.DEFLATED, wbits, 8, strategy)
    head = c.flush(zlib.Z_SYNC_FLUSH) if flush else b""
    return head + c.compress(data) + c.flush()


def outcome(data):
    """The inner bytes, or where Python raises."""
    try:
        stream = base64.b64decode(data.decode())  # the reader hands over a str
    except ValueError:
        return {"error": "base64"}
    try:
        return {"inner": base64.b64encode(zlib.decompress(stream)).decode()}
    except zlib.error:
        return {"error": "zlib"}


def event(n):
    """An event of n lines; the second half is hard to compress."""
    body = {"event_id": rng.randbytes(16).hex(), "platform": "python", "nan": float("nan")}
    lines = [json.dumps(body)] + [json.dumps({"k": rng.randbytes(12).hex()}) for _ in range(n)]
    return "\n".join(lines).encode()


def paddings():
    """Every text of A, =, newline and B up to four characters, some of five and six."""
    for size in range(1, 7):
        for code in range(4**size):
            kinds = [code >> 2 * i & 3 for i in range(size)]
            if size < 5 or rng.random() < 0.05:
                yield bytes(b"A=\nB"[k] for k in kinds)
    yield from [b"", b"QUJD", b"QUI=", b"QUI", b"QR==", b"QQ==QUJD", b"QUJD\xc3\xa9", b"QQ==\xc3\xa9", b"\xff", b"-_-_"]


def mutations(text):
    yield text
    for size in (1, 2, 3, 4, 5, len(text) // 2):
        yield text[:-size]
    yield b"\n".join(text[i : i + 76] for i in range(0, len(text), 76)) + b"\n"
    for _ in range(12):
        out = bytearray(text)
        for _ in range(rng.randint(1, 3)):
            at = rng.randrange(len(out))
            match rng.randrange(4):
                case 0:
                    out[at] = rng.choice(ALPHABET + b"==\n \x00-_")
                case 1:
                    out.insert(at, rng.choice(b"==\n\r\t -_*\x00\x7f"))
                case 2:
                    del out[at]
                case 3:
                    out[at:at] = rng.choice([b"==", b"=", b"===", "é".encode(), b"AAAA", b"\r\n"])
        yield bytes(out)


def streams():
    small, large = event(0), event(20)
    for data in (b"", b"{", b"[]", small, large, b"\x80\x02}q\x00.", b"(dp0\n.", b"hello"):
        for level in (0, 1, 6, 9):
            yield deflate(data, level)
        for strategy in (zlib.Z_FIXED, zlib.Z_HUFFMAN_ONLY, zlib.Z_RLE, zlib.Z_FILTERED):
            yield deflate(data, 6, 15, strategy)
        yield deflate(data, 6, 9)
        yield deflate(data, flush=True)
        yield deflate(data) + b"trailing bytes"
        yield deflate(data)[:-4] + b"\0\0\0\0"
        for wbits in (-15, 31):
            yield deflate(data, 6, wbits)
    c = zlib.compressobj(zdict=b"event_id")
    yield c.compress(small) + c.flush()
    # Window of 256 bytes in the header, of 32 KiB in the stream.
    yield b"\x08\x1d" + deflate(rng.randbytes(3000) * 2)[2:]


def main():
    inputs = list(paddings())
    for stream in streams():
        inputs.extend(mutations(base64.b64encode(stream)))
    seen = dict.fromkeys(inputs)
    cases = [{"data": base64.b64encode(d).decode()} | outcome(d) for d in seen]
    print("[\n" + ",\n".join(json.dumps(c) for c in cases) + "\n]")


main()
