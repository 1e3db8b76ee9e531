"""AVE as its authors ship it, with every oddity of the real annotations."""

import struct
import zlib

import h5py
import numpy as np
import pytest
from stgcma.errors import InputError
from stgcma.preprocess.collections import ave as reader


def by_key(collection):
    return {clip.key: clip for clip in collection.clips}


@pytest.mark.parametrize("header", [True, False])
def test_rows_are_read_with_and_without_the_header_line(ave, header):
    collection = reader.read(ave(header=header))
    assert [(clip.key, clip.split) for clip in collection.clips] == [
        ("-aBcDeFgHiJ", "train"),  # an id that begins with a dash
        ("bbbbbbbbbbb", "train"),
        ("ccccccccccc", "train"),
        ("ddddddddddd", "val"),
        ("bbbbbbbbbbb_event2", "test"),
    ]
    assert collection.clips[0].source == "AVE/-aBcDeFgHiJ.mp4"


def test_classes_stand_in_the_order_of_their_first_appearance(ave):
    collection = reader.read(ave())
    assert collection.classes == ("Church bell", "Violin, fiddle", "Frying (food)", "Clock", "Background")
    # The split files name them in another order; that does not matter.
    assert reader.read(ave(splits=((4, 3, 2), (1,), (0,)))).classes == collection.classes


def test_the_event_fills_its_seconds_and_the_rest_is_background(ave):
    clips = by_key(reader.read(ave()))
    assert clips["bbbbbbbbbbb"].labels == (4, 4, 1, 1, 1, 1, 1, 4, 4, 4)
    assert clips["bbbbbbbbbbb"].fields == {"category": "Violin, fiddle", "start_seconds": 2, "end_seconds": 7}


def test_a_video_with_two_rows_is_two_clips_with_their_own_labels(ave):
    collection = reader.read(ave())
    clips = by_key(collection)
    assert clips["bbbbbbbbbbb_event2"].labels == (4,) * 8 + (0, 0)
    assert clips["bbbbbbbbbbb_event2"].source == clips["bbbbbbbbbbb"].source
    assert any("1 videos carry more than one annotation row" in line for line in collection.findings)


def test_a_clip_must_last_as_long_as_its_event(ave):
    ends = {key: clip.event_end_seconds for key, clip in by_key(reader.read(ave())).items()}
    assert ends == {
        "-aBcDeFgHiJ": 10,
        "bbbbbbbbbbb": 7,
        "ccccccccccc": 3,
        "ddddddddddd": 0,  # of zero length
        "bbbbbbbbbbb_event2": 10,
    }


def test_an_event_of_zero_length_is_background_and_reported(ave):
    collection = reader.read(ave())
    assert by_key(collection)["ddddddddddd"].labels == (4,) * 10
    assert any("1 events have zero length" in line for line in collection.findings)


def test_byte_order_mark_and_windows_lines_change_nothing(ave):
    plain = reader.read(ave()).plan_sha256
    assert reader.read(ave(bom=True, newline="\r\n")).plan_sha256 == plain


@pytest.mark.parametrize("name", ["order", "train_order", "anything"])
def test_splits_come_as_row_numbers_in_hdf5_too(ave, name):
    raw = ave()
    expected = reader.read(raw).plan_sha256
    for split, rows in (("train", [0, 1, 2]), ("val", [4]), ("test", [3])):
        (raw / f"{split}Set.txt").unlink()
        with h5py.File(raw / f"{split}_order.h5", "w") as file:
            file[name] = np.array(rows)
    assert reader.read(raw).plan_sha256 == expected


def with_order(raw, content):
    (raw / "testSet.txt").unlink()
    with h5py.File(raw / "test_order.h5", "w") as file:
        content(file)
    return raw


def test_a_row_number_beyond_the_annotations_is_named(ave):
    raw = with_order(ave(), lambda file: file.create_dataset("order", data=[1, 5]))
    with pytest.raises(InputError, match=r"test_order\.h5: entry 1 is 5, must be .*0 to 4"):
        reader.read(raw)


def test_a_list_that_is_not_of_integers_is_refused(ave):
    raw = with_order(ave(), lambda file: file.create_dataset("order", data=[0.5]))
    with pytest.raises(InputError, match=r"float64 \[1\], must be a list of integers"):
        reader.read(raw)


def test_two_lists_without_the_known_name_are_refused(ave):
    def content(file):
        file["a"], file["b"] = [0], [1]

    with pytest.raises(InputError, match="datasets are 'a', 'b'; there must be one named 'order'"):
        reader.read(with_order(ave(), content))


def test_a_list_in_another_file_is_not_followed(ave, tmp_path_factory):
    outside = tmp_path_factory.mktemp("outside") / "order.h5"
    with h5py.File(outside, "w") as file:
        file["order"] = [0]

    def content(file):
        file["order"] = h5py.ExternalLink(str(outside), "/order")

    with pytest.raises(InputError, match="datasets are none"):
        reader.read(with_order(ave(), content))


@pytest.mark.parametrize("kind", ["external", "virtual"])
def test_numbers_that_lie_in_another_file_are_not_read(ave, tmp_path_factory, kind):
    outside = tmp_path_factory.mktemp("outside") / "order"
    if kind == "external":
        outside.write_bytes(bytes(16))
    else:
        with h5py.File(outside, "w") as file:
            file["order"] = [0, 0]

    def content(file):
        if kind == "external":
            file.create_dataset("order", (2,), "i8", external=[(str(outside), 0, 16)])
            return
        layout = h5py.VirtualLayout((2,), "i8")
        layout[:] = h5py.VirtualSource(str(outside), "order", (2,), "i8")
        file.create_virtual_dataset("order", layout)

    with pytest.raises(InputError, match="order keeps its numbers in other files, which are not read"):
        reader.read(with_order(ave(), content))


def test_a_list_much_longer_than_the_annotations_is_refused(ave):
    raw = with_order(ave(), lambda file: file.create_dataset("order", data=[0] * 11))
    with pytest.raises(InputError, match="11 entries, there are 5 rows"):
        reader.read(raw)


def test_a_chunk_that_unpacks_to_much_more_is_refused(ave):
    def content(file):
        file.create_dataset("order", data=[0, 1], chunks=(2_500_000,), maxshape=(None,), compression="gzip")

    with pytest.raises(InputError, match=r"order is stored in parts of 20000000 bytes, at most 16777216"):
        reader.read(with_order(ave(), content))


def packed_zeros(size):
    """As `zlib.compress(bytes(size))`, of parts that are packed once."""
    part_bytes = 1 << 24
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    part = packer.compress(bytes(part_bytes)) + packer.flush(zlib.Z_FULL_FLUSH)
    end = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS).flush()
    checksum = size % 65521 << 16 | 1  # Adler-32 of zeros
    return b"\x78\xda" + part * (size // part_bytes) + end + struct.pack(">I", checksum)


def test_what_a_filter_unpacks_is_bounded_too(ave):
    """Deflate may hold more than the chunk that it should fill: the library unpacks it all the same."""

    def content(file):
        order = file.create_dataset("order", (2,), "i8", chunks=(2,), compression="gzip")
        order.id.write_direct_chunk((0,), packed_zeros(1 << 30))

    with pytest.raises(InputError, match=r"test_order\.h5 (cannot be read|is not a whole HDF5 file)"):
        reader.read(with_order(ave(), content))


def test_a_damaged_hdf5_file_is_refused(ave):
    raw = ave()
    (raw / "testSet.txt").unlink()
    (raw / "test_order.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + b"\0" * 100)
    with pytest.raises(InputError, match=r"test_order\.h5 is not a whole HDF5 file"):
        reader.read(raw)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("Clock&ddddddddddd&good&4", r"Annotations\.txt:2: 4 fields in 'Clock&ddddddddddd&good&4'"),
        ("Clock&ddddddddddd&good&four&5", "start 'four' and end '5' must be whole seconds"),
        ("Clock&ddddddddddd&good&7&5", "seconds 7 to 5 must lie in order within 0 to 10"),
        ("Clock&ddddddddddd&good&0&11", "seconds 0 to 11 must lie in order within 0 to 10"),
    ],
)
def test_a_wrong_row_is_named_with_its_line(ave, row, message):
    with pytest.raises(InputError, match=message):
        reader.read(ave((row,), splits=((0,), (0,), (0,))))


def test_a_split_row_that_is_not_annotated_is_named_with_its_line(ave):
    raw = ave()
    (raw / "valSet.txt").write_text("\nClock&ddddddddddd&good&4&5\n")
    with pytest.raises(InputError, match=r"valSet\.txt:2: Clock&ddddddddddd&good&4&5 is not a row"):
        reader.read(raw)


def test_a_missing_split_names_both_of_its_files(ave):
    raw = ave()
    (raw / "valSet.txt").unlink()
    with pytest.raises(InputError, match=r"valSet\.txt is missing, and so is val_order\.h5"):
        reader.read(raw)


@pytest.mark.parametrize("video", ["../x", "/etc/passwd", "a\0b", "a/b", "", "ü", "x" * 81])
def test_a_hostile_id_is_its_clips_problem_and_no_path(ave, video):
    rows = ("Clock&aaaaaaaaaaa&good&0&5", f"Clock&{video}&good&0&5")
    clip = reader.read(ave(rows, splits=((0, 1), (0,), (0,)), videos=())).clips[1]
    assert clip.problem[0] == "unsafe-path"
    assert "\0" not in clip.key + clip.source


def test_an_id_that_is_not_utf8_is_its_clips_problem(ave):
    raw = ave()
    content = (raw / "Annotations.txt").read_bytes().replace(b"ccccccccccc", b"cc\xff")
    (raw / "Annotations.txt").write_bytes(content)
    (raw / "trainSet.txt").write_bytes(b"Frying (food)&cc\xff&bad&0&3\n")
    (clip,) = [clip for clip in reader.read(raw).clips if clip.split == "train"]
    assert (clip.key, clip.problem[0]) == (r"cc\xff", "unsafe-path")


def test_a_video_in_another_container_is_found(ave):
    raw = ave(videos=())
    (raw / "AVE" / "ccccccccccc.webm").touch()
    assert by_key(reader.read(raw))["ccccccccccc"].source == "AVE/ccccccccccc.webm"
