"""The table that `stgcma compare` prints."""

from stgcma.commands.compare import _show

from ..pages.comparisons import made_comparison


def test_compared_settings_are_columns_and_every_number_is_the_results(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "140")
    _show(made_comparison())
    header, _, *rows = [line.split() for line in capsys.readouterr().out.splitlines() if line.strip()]
    assert header[:2] == ["adapter", "backbone"]
    assert rows[0] == [
        *("stg-cma", "clip-demo", "70.0", "%", "123,456", "0.25", "s"),
        *("40", "MiB", "900", "MiB", "2", "MiB"),
    ]
    assert rows[5][2:6] == ["76.0", "±", "1.4", "%"]
    assert " ".join(rows[6]) == "mean ± standard deviation over 2 seeds"
    assert " ".join(rows[-1]) == "baseline: most frequent class 45.3 %"
