"""The tables beside the shards: their own checksums find damage that still unpacks."""

import pyarrow
import pytest
from pyarrow import parquet
from stgcma.errors import InputError
from stgcma.shards.manifest import read_manifest
from stgcma.shards.schema import MANIFEST_FILE


def damaged(content, word):
    """`content` with a letter of `word` changed, wherever it stands in plain text."""
    place = content.index(word)
    changed = bytearray(content)
    changed[place] ^= 1
    return bytes(changed)


def test_a_changed_letter_in_a_page_is_found(directory):
    """The page unpacks as before, to another name: nothing but its checksum tells."""
    folder = directory()
    path = folder / MANIFEST_FILE
    path.write_bytes(damaged(path.read_bytes(), b"pyav"))
    try:
        table = parquet.read_table(path)
    except (OSError, pyarrow.ArrowException) as error:
        pytest.fail(f"the damage shows without a checksum: {error}")
    assert "pyav" not in table.column("decoder").to_pylist()
    with pytest.raises(InputError, match=r"manifest\.parquet cannot be read: .*(CRC|crc)"):
        read_manifest(folder)
