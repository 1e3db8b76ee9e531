"""Small files that claim to be large, each as a member of a clip or a table of a shard directory."""

import dataclasses
import hashlib
import io
import json
import struct
import sys
import tarfile
import zlib

import numpy as np
from PIL import Image
from stgcma.shards.manifest import read_dataset, read_manifest, write_dataset, write_manifest
from stgcma.shards.writer import end_of_archive

GIB = 1 << 30
CLAIMED = 12 * GIB
EPS = b"""%!PS-Adobe-3.0 EPSF-3.0
%%BoundingBox: 0 0 224 224
%%EndComments
showpage
%%EOF
"""


def header(name, kind=tarfile.REGTYPE, size=0, link=""):
    """A USTAR header."""
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    block = bytearray(info.tobuf(tarfile.USTAR_FORMAT))
    block[124:136] = f"{size:011o}\0".encode() if 0 <= size < 8**11 else size.to_bytes(12, "big", signed=True)
    if size >= 8**11:
        block[124] |= 0x80
    return signed(block)


def signed(block):
    """The block with its checksum right."""
    block = bytearray(block)
    block[148:156] = b" " * 8
    block[148:156] = f"{sum(block):06o}\0 ".encode()
    return bytes(block)


def padded(content):
    return content + bytes(-len(content) % 512)


def sparse(name):
    """GNU's old sparse file: no data, 12 GiB of zeros."""
    block = bytearray(header(name, tarfile.GNUTYPE_SPARSE))
    block[257:265] = b"ustar  \0"
    block[386:398], block[398:410] = f"{CLAIMED:011o}\0".encode()[:12], b"00000000000\0"
    block[483:495] = CLAIMED.to_bytes(12, "big")
    block[386:398] = CLAIMED.to_bytes(12, "big")
    block[386] |= 0x80
    block[483] |= 0x80
    return signed(block)


def pax(name, **records):
    """A PAX header, and the member that it changes."""
    lines = b""
    for key, value in records.items():
        line = f" {key.replace('__', '.')}={value}\n"
        length = len(line) + 2
        lines += f"{length + (length > 9) * 0}{line}".encode()
    return header(name, tarfile.XHDTYPE, len(lines)) + padded(lines) + header(name)


# What stands in a tar in place of a member: name of the attack to the function that makes it of the name.
TARS = {
    "sparse": sparse,
    "pax-size": lambda name: pax(name, size=CLAIMED),
    "pax-sparse": lambda name: pax(
        name, GNU__sparse__major=1, GNU__sparse__minor=0, GNU__sparse__realsize=CLAIMED
    ),
    "long-name": lambda name: header("././@LongLink", tarfile.GNUTYPE_LONGNAME, 8 * GIB - 1) + header(name),
    "huge": lambda name: header(name, size=CLAIMED),
    "past-the-end": lambda name: header(name, size=1 << 20),
    "negative": lambda name: header(name, size=-512),
    "hard-link": lambda name: header(name, tarfile.LNKTYPE, link=name),
    "symbolic-link": lambda name: header(name, tarfile.SYMTYPE, link="/etc/passwd"),
    "device": lambda name: header(name, tarfile.CHRTYPE),
    "twice": lambda name: 2 * (header(name, size=4) + padded(b"data")),
    "out-of-the-folder": lambda name: header(f"{name}/../../x", size=4) + padded(b"data"),
}


def deep(depth=100_000):
    """JSON lists in lists."""
    return b"[" * depth + b"]" * depth


def npy(text, data=b""):
    """An array whose header is `text`."""
    line = text.encode() + b" " * (-(10 + len(text) + 1) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(line)) + line + data


def large_jpeg(side=65_500):
    """A small JPEG picture whose header claims a large one."""
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((16, 16, 3), np.uint8)).save(buffer, "JPEG")
    content = bytearray(buffer.getvalue())
    at = content.index(b"\xff\xc0") + 5
    content[at : at + 4] = struct.pack(">HH", side, side)
    return bytes(content)


def large_png(side=60_000):
    """A PNG picture of a few bytes whose header claims a large one."""
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((16, 16), np.uint8)).save(buffer, "PNG")
    content = bytearray(buffer.getvalue())
    content[16:24] = struct.pack(">II", side, side)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    return bytes(content)


# Attack to the member that holds it, and its content.
MEMBERS = {
    "eps": ("frame_00.jpg", EPS),
    "large-jpeg": ("frame_00.jpg", large_jpeg()),
    "png-as-jpeg": ("frame_00.jpg", large_png(16)),
    "deep-description": ("json", b'{"category":' + deep() + b"}"),
    "long-number": ("json", b'{"category":"Bell","seconds":' + b"9" * 100_000 + b"}"),
    "not-a-number": ("json", b'{"category":"Bell","seconds":NaN}'),
    "claimed-shape": ("label.npy", npy("{'descr': '<i2', 'fortran_order': False, 'shape': (6442450944,), }")),
    "expression": ("label.npy", npy("(" * 9000)),
    "pickle": ("label.npy", npy("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }", b"\x80\x04N.")),
    "many-windows": (
        "fbank_4.npy",
        npy("{'descr': '<f2', 'fortran_order': False, 'shape': (500000, 1, 4), }", bytes(4_000_000)),
    ),
}


def replace_member(folder, key, name, part):
    """Put `part` in place of the member KEY.name of a shard, all hashes and sizes right."""
    records = read_manifest(folder)
    row = next(index for index, record in enumerate(records) if record.key == key)
    shard = folder / "shards" / records[row].shard
    content = shard.read_bytes()
    begin = sum(record.bytes for record in records[:row] if record.shard == records[row].shard)
    extent = content[begin : begin + records[row].bytes]
    with tarfile.open(fileobj=io.BytesIO(extent + bytes(1024))) as archive:
        member = archive.getmember(f"{key}.{name}")
    end = member.offset_data + -(-member.size // 512) * 512
    changed = extent[: member.offset] + part + extent[end:]
    total = sum(record.bytes for record in records if record.shard == records[row].shard)
    whole = content[:begin] + changed + content[begin + len(extent) : total]
    shard.write_bytes(whole + end_of_archive(len(whole)))
    records[row] = records[row]._replace(bytes=len(changed), sha256=hashlib.sha256(changed).hexdigest())
    files = read_dataset(folder).files | {"manifest.parquet": write_manifest(folder, records)}
    write_dataset(folder, dataclasses.replace(read_dataset(folder), files=files))


def replace_content(folder, key, name, content):
    """Give the member KEY.name another content."""
    replace_member(folder, key, name, header(f"{key}.{name}", size=len(content)) + padded(content))


def replace_table(folder, name, content):
    """Put another table in place of `name`, its hash in `dataset.json` right."""
    (folder / name).write_bytes(content)
    files = read_dataset(folder).files | {name: hashlib.sha256(content).hexdigest()}
    write_dataset(folder, dataclasses.replace(read_dataset(folder), files=files))


def wordy_table(kind, rows=1_000_000, text="x" * 8000, **options):
    """A table of `kind` whose rows all repeat one text: a few kilobytes for gigabytes."""
    from typing import get_type_hints

    import pyarrow
    from pyarrow import parquet

    def column(each):
        index = pyarrow.array(np.zeros(rows, np.int32))
        words = pyarrow.DictionaryArray.from_arrays(index, [text])
        if each is str:
            return words
        if each == tuple[str, ...]:
            return pyarrow.ListArray.from_arrays(np.arange(rows + 1, dtype=np.int32), words)
        return pyarrow.array(
            np.ones(rows), {int: pyarrow.int64(), float: pyarrow.float64()}.get(each, pyarrow.bool_())
        )

    columns = {name: column(each) for name, each in get_type_hints(kind).items()}
    schema = pyarrow.schema(
        [pyarrow.field(name, each.type, nullable=False) for name, each in columns.items()]
    )
    buffer = io.BytesIO()
    parquet.write_table(pyarrow.table(columns, schema=schema), buffer, store_schema=False, **options)
    return buffer.getvalue()


CHILD = """
import contextlib, io, json, resource, sys
import numpy, PIL.Image, PIL.JpegImagePlugin, PIL.PngImagePlugin, pyarrow.parquet
from stgcma import cli
import stgcma.pages.samples, stgcma.shards.verification, stgcma.shards.statistics, stgcma.shards.clip_view
target, requests, modules = sys.argv[1:]
for module in json.loads(modules):
    __import__(module)
def used():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[0]) * resource.getpagesize()
allowed = used() + (700 << 20)
resource.setrlimit(resource.RLIMIT_AS, (allowed, allowed))
results = []
for name, arguments in json.load(open(requests)):
    sys.argv = ["stgcma", *arguments]
    out, err, status = io.StringIO(), io.StringIO(), 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            cli.main()
        except SystemExit as exit_:
            status = exit_.code
        except BaseException as error:
            status = repr(error)[:300]
    results.append([name, arguments[:2], status, out.getvalue()[-1500:], err.getvalue()[-1500:]])
json.dump(results, open(target, "w"))
"""


def run_commands(forks, commands, tmp_path, *, imports=(), env=None):
    """Run command lines, `[name, arguments]`, in a child that has 700 MiB of memory beside what it imports.

    Returns `[name, arguments, status, stdout, stderr]` of each.
    """
    results, requests = tmp_path / "results.json", tmp_path / "requests.json"
    requests.write_text(json.dumps([[name, [str(each) for each in args]] for name, args in commands]))
    done = forks.run([sys.executable, "-c", CHILD, results, requests, json.dumps(list(imports))], env=env)
    assert done.returncode == 0, done.stderr
    return json.loads(results.read_text())
