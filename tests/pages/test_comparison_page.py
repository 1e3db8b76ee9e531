"""The page of `stgcma compare`: its table says what the result says, and every plot names its points."""

import re
from html import unescape

import pytest
from stgcma.errors import InputError
from stgcma.pages.comparison import write_comparison

from .comparisons import made_comparison


def cells(row):
    found = re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row)
    return [unescape(cell) for cell in found]


def test_the_table_is_the_result(tmp_path):
    comparison = made_comparison()
    page = write_comparison(comparison, tmp_path / "comparison.html").read_text()
    header, *rows = [cells(row) for row in re.findall(r"<tr.*?</tr>", page, re.DOTALL)]
    assert header[:4] == ["№", "adapter", "backbone", "accuracy"]
    assert all(len(row) == len(header) for row in rows[:-1])
    assert len(rows) == 7
    assert rows[0] == [
        *("1", "stg-cma", "clip-demo", "70.0 %", "–", "1", "123,456", "0.25"),
        *("40 MiB", "900 MiB", "2 MiB"),
    ]
    assert rows[5][:6] == ["6", "<side>", "a-backbone-with-a-name-of-some-length", "76.0 %", "1.4 %", "2"]
    assert rows[6][:3] == ["", "baseline: most frequent class", "45.3 %"]
    assert re.findall(r'<tr class="sum"><td>(\d)<', page) == ["6"]


def test_every_plot_has_every_model(tmp_path):
    page = write_comparison(made_comparison(), tmp_path / "comparison.html").read_text()
    assert page.count("<svg") == page.count("</ol>") == 3
    assert page.count("<circle") == 18
    assert page.count("<polyline") == 15
    assert re.findall(r"</span>(\d .*)</li>", page)[5] == (
        "6 &lt;side&gt;, a-backbone-with-a-name-of-some-length"
    )
    assert "test accuracy over memory: stg-cma, clip-demo 70.0 % at 40.00; " in page


def test_a_page_in_place_of_a_folder_is_refused(tmp_path):
    with pytest.raises(InputError, match=re.escape(str(tmp_path))):
        write_comparison(made_comparison(), tmp_path)
