"""Tables in text files: dialects, headers, numbers, and rows at fault by their line."""

import pytest
from stgcma.errors import InputError
from stgcma.preprocess.collections import tables
from stgcma.preprocess.collections.tables import read_table

COLUMNS = {"file": ("file", "filename"), "label": ("label", "labels"), "split": ("split",)}


@pytest.fixture
def table(tmp_path):
    """Opens a table of file, label and optional split with the given content."""

    def opened(content, **options):
        path = tmp_path / "labels.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return read_table(path, **{"columns": COLUMNS, "optional": ("split",), "hint": "write it", **options})

    return opened


def rows(table):
    return [(row["file"], row["label"], row["split"]) for row in table]


SAME = [("a.mp4", "dog, barking", "train"), ("b.mp4", "rain", "test")]


@pytest.mark.parametrize(
    "content",
    [
        'file,label,split\na.mp4,"dog, barking",train\nb.mp4,rain,test\n',
        "file;label;split\na.mp4;dog, barking;train\nb.mp4;rain;test\n",
        "file\tlabel\tsplit\na.mp4\tdog, barking\ttrain\nb.mp4\train\ttest",
        b'\xef\xbb\xbffile,label,split\r\na.mp4,"dog, barking",train\r\nb.mp4,rain,test\r\n',
        'File , LABEL,Split\r a.mp4, "x"\r'.replace(' a.mp4, "x"', 'a.mp4,"dog, barking",train')
        + "b.mp4,rain,test",
        "split;labels;filename\ntrain;dog, barking;a.mp4\ntest;rain;b.mp4\n",
        'sep=;\nfile;label;split\na.mp4;"dog, barking";train\n\n;;\nb.mp4;rain;test\n',
        '"file","label","split"\n"a.mp4","dog, barking","train"\n"b.mp4","rain","test"\n',
        '# file,label,split,note\na.mp4,"dog, barking",train,good\nb.mp4,rain,test,\n',
        'file,label,split,,\na.mp4,"dog, barking",train,,\nb.mp4,rain,test,,\n',
    ],
    ids=["comma", "semicolon", "tab", "bom", "cr", "order", "excel", "quoted", "more", "padded"],
)
def test_dialects_give_the_same_rows(table, content):
    assert rows(table(content)) == SAME


def test_a_table_can_be_read_twice_and_names_what_it_does_not_use(table):
    opened = table("file,Taken on,label\na.mp4,monday,dog\n")
    assert opened.unused == ("Taken on",)
    assert rows(opened) == rows(opened) == [("a.mp4", "dog", "")]


def test_rows_without_a_header_have_the_given_order(table):
    opened = table('a.mp4,"dog, barking",train\nb.mp4,rain,test\n', header=False)
    assert rows(opened) == SAME


def test_the_line_of_a_row_is_its_first(table):
    opened = table('file,label\n\na.mp4,"dog\nbarking"\n\nb.mp4,rain\n')
    assert [row.where.rpartition(":")[2] for row in opened] == ["3", "6"]


@pytest.mark.parametrize("at_once", [1, 2, 3, 100])
def test_rows_are_the_same_whatever_is_read_at_once(table, monkeypatch, at_once):
    monkeypatch.setattr(tables, "_LINES_AT_ONCE", at_once)
    content = 'sep=,\n\nfile,label\na,b\n\n ,\n"c","d\n\ne"\nf, g \n,h\ni,j,\n'
    opened = table(content)
    assert [(row.line, row["file"], row["label"], row["split"]) for row in opened] == [
        (4, "a", "b", ""),
        (7, "c", "d\n\ne", ""),
        (10, "f", "g", ""),
        (11, "", "h", ""),
        (12, "i", "j", ""),
    ]
    noted = []
    opened = table("file,label\na,b\nc\nd,e\n" + 'f,"g\n')
    assert [line for line, _ in opened.cells(lambda where, fault: noted.append((where, fault)))] == [2, 4]
    assert [where.rpartition(":")[2] for where, _ in noted] == ["3", "5"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", r"labels.csv:1: the columns are none; there must be 'file' \(or filename\), in a header line"),
        ("a.mp4,dog\n", r"labels.csv:1: the columns are a.mp4, dog; there must be 'file'"),
        ("file,split\n", r"labels.csv:1: the columns are file, split; there must be 'label' \(or labels\)"),
        ("file,label,File\n", r"labels.csv:1: two columns are called 'File'"),
        ("file,label\na.mp4\n", r"labels.csv:2: 1 cells in 'a.mp4', expected 2 \(file, label\)"),
        ("file,label\na.mp4,dog, barking\n", r"labels.csv:2: 3 cells in .*; quote a cell that holds ','"),
        ('file,label\na.mp4,"dog"s\n', r"labels.csv:2: not a row of a CSV file"),
        ('file,label\nb.mp4,rain\na.mp4,"dog\n', r"labels.csv:3: not a row of a CSV file"),
        ("file,label\n".encode("utf-16"), r"labels.csv is encoded in UTF-16; save it as UTF-8"),
        (b"PK\x03\x04", "perhaps an Excel workbook"),
    ],
)
def test_what_cannot_be_read_is_named_by_its_line(table, content, said):
    with pytest.raises(InputError, match=said):
        rows(table(content))


def test_a_missing_table_comes_with_the_hint(tmp_path):
    with pytest.raises(InputError, match=r"none.csv is missing; write it"):
        read_table(tmp_path / "none.csv", columns=COLUMNS, hint="write it")


@pytest.mark.parametrize(
    ("text", "value"),
    [("1.5", 1.5), ("1,5", 1.5), ("-0,25", -0.25), (" 3 ", 3.0), ("2e-1", 0.2), (".5", 0.5), ("7.", 7.0)],
)
def test_numbers_have_a_point_or_a_comma(table, text, value):
    (row,) = table(f"file;label\na.mp4;{text}\n")
    assert row.number("label") == value


@pytest.mark.parametrize("text", ["", "nan", "inf", "1e999", "1.234,5", "1,234.5", "0x1", "١", "1 s", "1_0"])
def test_other_texts_are_no_numbers(table, text):
    (row,) = table(f"file;label\na.mp4;{text}\n")
    with pytest.raises(InputError, match=r"labels.csv:2: label is .*, expected a number such as 1.5"):
        row.number("label")


@pytest.mark.parametrize("row", ['a.mp4, "dog, barking", train', 'a.mp4,  "dog, barking"  , train'])
def test_a_quote_after_a_blank_is_a_quote(table, row):
    content = f"file, label, split\n{row}\nb.mp4, rain, test\n"
    if row.endswith("  , train"):
        with pytest.raises(InputError, match=r"labels\.csv:2: not a row of a CSV file"):
            rows(table(content))
    else:
        assert rows(table(content)) == SAME


@pytest.mark.parametrize("label", ["dog, big, brown", "dog, big", "dog"])
def test_without_a_header_the_delimiter_gives_the_number_of_columns(table, label):
    """With decimal commas in the table; commas alone would give 5, 3 and 2 cells."""
    opened = table(f"a.mp4\t0,5 {label}\ttrain\nb.mp4\t0,5 {label}\ttest\n", header=False)
    assert rows(opened) == [("a.mp4", f"0,5 {label}", "train"), ("b.mp4", f"0,5 {label}", "test")]


def test_rows_of_another_width_are_given_to_the_caller(table):
    refused = []
    opened = table('file,label\na.mp4\nb.mp4,rain\nc.mp4,a,b\nd.mp4,"x\n')
    found = [row["file"] for row in opened.rows(lambda where, _: refused.append(where.rpartition(":")[2]))]
    assert found == ["b.mp4"]
    assert refused == ["2", "4", "5"]


def test_a_column_may_stand_alone_in_a_row(table):
    assert rows(table("file,label,split\na.mp4\nb.mp4,rain,test\n", lone="file")) == [
        ("a.mp4", "", ""),
        ("b.mp4", "rain", "test"),
    ]
    with pytest.raises(InputError, match=r"labels\.csv:2: 1 cells"):  # it would be the label
        rows(table("label,file,split\na.mp4\n", lone="file"))
