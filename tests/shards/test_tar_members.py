"""One header after the other: what a shard's members may be."""

import tarfile

import pytest
from stgcma.shards.tar_members import TarMemberError, extent_members

ODD = {
    "symbolic link": tarfile.SYMTYPE,
    "hard link": tarfile.LNKTYPE,
    "folder": tarfile.DIRTYPE,
    "pipe": tarfile.FIFOTYPE,
    "device": tarfile.CHRTYPE,
    "sparse": tarfile.GNUTYPE_SPARSE,
    "extended": tarfile.XHDTYPE,
    "long name": tarfile.GNUTYPE_LONGNAME,
    "of before POSIX": tarfile.AREGTYPE,
}


def member(kind):
    header = tarfile.TarInfo("a.json")
    header.size, header.type = 3, kind
    return header.tobuf(tarfile.USTAR_FORMAT) + b"abc" + bytes(509)


def test_plain_files_are_members():
    assert list(extent_members(member(tarfile.REGTYPE))) == [("a.json", b"abc")]


@pytest.mark.parametrize("kind", ODD.values(), ids=ODD)
def test_nothing_else_is_a_member(kind):
    with pytest.raises(TarMemberError, match="shards hold plain files only"):
        list(extent_members(member(kind)))
