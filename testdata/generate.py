"""Writes the golden vectors of this directory, or checks them: README.md.

    python3 -m pip install --no-deps --target /tmp/backend sentry-opensearch-nodestore==1.2.0
    PYTHONPATH=/tmp/backend python3 generate.py            # writes the vectors
    PYTHONPATH=/tmp/backend python3 generate.py --check    # exits 1 if the backend differs from them
"""

import base64, datetime, hashlib, itertools, json, logging, os, pathlib, random, sys, types, zlib


class NotFoundError(Exception):
    pass


class ConflictError(Exception):
    pass


# The backend runs on Sentry and opensearch-py; of both it needs no more than this.
sys.modules["opensearchpy"] = types.SimpleNamespace(exceptions=types.SimpleNamespace(NotFoundError=NotFoundError, ConflictError=ConflictError))
for name in ("sentry", "sentry.nodestore", "sentry.nodestore.base"):
    sys.modules[name] = types.ModuleType(name)
sys.modules["sentry.nodestore.base"].NodeStorage = object

from sentry_opensearch_nodestore import backend  # noqa: E402

logging.disable()
VARIABLES = "SENTRY_NODESTORE_OPENSEARCH_"
rng = random.Random(20250829)
ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"


class Cluster:
    """What the backend asks of OpenSearch, with one document in it."""

    def __init__(self, data=None, indices=()):
        self.data, self.names, self.written, self.deleted, self.indices = data, indices, None, [], self

    def get_index_template(self, name):
        raise NotFoundError

    def put_index_template(self, name, body, create):
        self.written = {"name": name, "body": body}

    def index(self, **request):
        self.written = request

    def search(self, index, body):
        return {"hits": {"total": {"value": 1}, "hits": [{"_index": "sentry-2025-08-29"}]}}

    def get(self, id, index, stored_fields):
        return {"fields": {"data": [self.data]}}

    def get_alias(self, name):
        return self.names

    def delete(self, index):
        self.deleted.append(index)


def storage(environment, constructor, cluster):
    for name in [n for n in os.environ if n.startswith(VARIABLES)]:
        del os.environ[name]
    os.environ.update({VARIABLES + name: value for name, value in environment.items()})
    return backend.OpenSearchNodeStorage(cluster, **constructor)


# Payloads: rows of nodestore_node.data, and what the reader gets.


def deflate(data, level=6, wbits=15, strategy=zlib.Z_DEFAULT_STRATEGY, flush=False):
    c = zlib.compressobj(level, zlib.DEFLATED, wbits, 8, strategy)
    head = c.flush(zlib.Z_SYNC_FLUSH) if flush else b""
    return head + c.compress(data) + c.flush()


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
    yield from [b"", b"QUJD", b"QUI=", b"QUI", b"QR==", b"QQ==QUJD", b"QUJD\xc3\xa9", b"QQ==\xc3\xa9", b"-_-_"]


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
                    out[at] = rng.choice(ALPHABET + b"==\n \x01-_")
                case 1:
                    out.insert(at, rng.choice(b"==\n\r\t -_*\x01\x7f"))
                case 2:
                    del out[at]
                case 3:
                    out[at:at] = rng.choice([b"==", b"=", b"===", "é".encode(), b"AAAA", b"\r\n"])
        yield bytes(out)


def streams():
    small, large = event(0), event(20)
    for data in (b"", b"{", b"[]", b"-Infinity", small, large, b"\x80\x02}q\x00.", b"(dp0\n.", b"hello"):
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
    # What the backend itself writes.
    for data in (small, large, event(200)):
        cluster = Cluster()
        storage({}, {}, cluster)._set_bytes("id", data)
        yield base64.b64decode(cluster.written["body"]["data"])


def rows():
    texts = list(paddings())
    for stream in streams():
        texts.extend(mutations(base64.b64encode(stream)))
    for text in dict.fromkeys(texts):
        try:
            yield {"text": text.decode()}
        except UnicodeDecodeError:
            pass  # no row of a database in UTF-8
    for stream in streams():
        if stream[:1] == b"\x78" and not stream[1] & 0x20:  # with a preset dictionary nobody writes one
            yield {"bytea": base64.b64encode(stream).decode()}


def outcome(row):
    """What Sentry gets from the row, and so from its document, or why it is not copied."""
    if row.get("text") == "":
        return {"reason": "empty"}
    try:
        # As the Django backend does, with a str: other bytes than ASCII raise.
        stream = base64.b64decode(row["text"] if "text" in row else row["bytea"])
        inner = zlib.decompress(stream)
    except ValueError:
        return {"reason": "corrupt_base64"}
    except zlib.error:
        return {"reason": "corrupt_zlib"}
    document = base64.b64encode(stream).decode()
    if storage({}, {}, Cluster(document))._get_bytes("id") != inner:
        sys.exit(f"the backend reads {document} as something else")
    if inner == b"":
        return {"reason": "empty"}
    if inner[:1] in (b"\x80", b"("):
        return {"reason": "pickle"}
    if inner[:1] not in b'{["-tfnNI \t\n\r0123456789':
        return {"reason": "not_json"}
    return {"size": len(inner), "sha256": hashlib.sha256(inner).hexdigest()}


def payloads(kept):
    """Rows that are there are kept: another zlib deflates to other bytes."""
    for row in kept or rows():
        row = {kind: row[kind] for kind in ("text", "bytea") if kind in row}
        yield row | outcome(row)


# Templates: what bootstrap writes for an environment, and the rule of its indices.


def environments():
    """Every combination of one value for each variable, then one variable at a time."""
    values = {
        "NUMBER_OF_SHARDS": "1",
        "NUMBER_OF_REPLICA": "0",
        "INDEX_PATTERN": "events-*",
        "INDEX_CODEC": "best_compression",
        "INDEX_PREFIX": "prod",
    }
    for chosen in itertools.product((False, True), repeat=len(values)):
        yield {name: values[name] for name, is_set in zip(values, chosen) if is_set}, {}
    for name in values:
        yield {name: " "}, {}
    for text in (" 12 ", "+2", "three", "1.5"):
        yield {"NUMBER_OF_SHARDS": text}, {}
        yield {"NUMBER_OF_REPLICA": text}, {}
    yield {"INDEX_CODEC": " best_compression\n"}, {}
    yield {"INDEX_PREFIX": " prod "}, {}
    for text in (
        *("events", " events-* ", ' [ " events-* " ] ', '["a,b"]', ", events-* ,,", "events a,"),
        *("a-*,b-*", " , ,", '["a-*","b-*"]', "[]", '[" "]', '["a-*"'),
    ):
        yield {"INDEX_PATTERN": text}, {}
    for index in ("sentry-{prefix}-{date}", "events-{date}", "{date}.x"):
        yield {"INDEX_PREFIX": "prod"}, {"index": index}
    yield {}, {"index": "{date}.x", "alias_name": "a", "template_name": "t"}


def templates():
    for environment, constructor in environments():
        vector = {"environment": environment, "constructor": constructor}
        cluster = Cluster()
        try:
            made = storage(environment, constructor, cluster)
        except ValueError as e:
            yield vector | {"error": str(e)}
            continue
        made.bootstrap()
        yield vector | {"index": made.index, "template": cluster.written["name"], "body": cluster.written["body"]}


# Indices: the name for a moment, as the backend writes it at that moment.


def indices():
    times = (
        *("1969-12-31T23:59:59.999999+00:00", "1970-01-01T00:00:00.000000+00:00", "2024-02-29T00:00:00.000001+00:00"),
        *("2025-08-28T23:59:59.999999+00:00", "2025-08-29T00:00:00.000000+00:00", "2025-08-29T12:34:56.123456+00:00"),
        *("2025-08-29T01:30:00.000000+02:00", "2025-08-28T20:00:00.000000-04:00", "2025-08-29T05:29:59.999999+05:30"),
        *("2025-12-31T23:59:59.999999+00:00", "2026-01-01T00:00:00.000000+00:00"),
    )
    rules = (({}, {}), ({"INDEX_PREFIX": "prod"}, {}), ({"INDEX_PREFIX": "2025"}, {}), ({}, {"index": "{date}"}), ({}, {"index": "sentry-{date}-b"}))
    for text, (environment, constructor) in itertools.product(times, rules):
        moment = datetime.datetime.fromisoformat(text).astimezone(datetime.timezone.utc)

        class Then(datetime.datetime):
            @classmethod
            def today(cls):
                return moment.replace(tzinfo=None)

            @classmethod
            def now(cls, tz=None):
                return moment

        cluster = Cluster()
        backend.datetime = Then
        made = storage(environment, constructor, cluster)
        made._set_bytes("id", b"{}")
        backend.datetime = datetime.datetime
        name = cluster.written["index"]
        cluster.names = [name]
        made.cleanup(moment + datetime.timedelta(days=2))
        yield {
            "environment": environment,
            "constructor": constructor,
            "row": text,
            "micros": (moment - datetime.datetime.fromtimestamp(0, datetime.timezone.utc)) // datetime.timedelta(microseconds=1),
            "timestamp": moment.isoformat(timespec="microseconds"),
            "index": name,
            "cleaned_up": cluster.deleted == [name],
        }


def main():
    here, check, differ = pathlib.Path(__file__).parent, "--check" in sys.argv, False
    for name, make in {"payloads": payloads, "templates": lambda _: templates(), "indices": lambda _: indices()}.items():
        file = here / f"{name}.json"
        kept = json.loads(file.read_text()) if check else None
        vectors = list(make(kept))
        if not check:
            file.write_text("[\n" + ",\n".join(json.dumps(v, ensure_ascii=False) for v in vectors) + "\n]\n")
        elif vectors != kept:
            differ = True
            wrong = next((pair for pair in zip(vectors, kept) if pair[0] != pair[1]), (len(vectors), len(kept)))
            print(f"{file.name}: the backend makes {wrong[0]}, not {wrong[1]}", file=sys.stderr)
        print(f"{file.name}: {len(vectors)} vectors")
    sys.exit(differ)


main()
