"""Numbers as text for people: one function for each quantity, with one rounding rule."""

from __future__ import annotations

import datetime
import math


def percent(share: float | None, digits: int = 0) -> str:
    """Return a share as a percentage with `digits` decimals; `–` for None and NaN.

    A share between 0 and 1 never reads as none or all: with no decimals it is at least `<1 %` and at most
    `>99 %`, with one `<0.1 %` and `>99.9 %`.

    >>> percent(0.974), percent(0.974, 1), percent(0.999), percent(0.0002, 1), percent(None)
    ('97 %', '97.4 %', '>99 %', '<0.1 %', '–')
    """
    if share is None or math.isnan(share):
        return "–"
    text = f"{100 * share:.{digits}f}"
    smallest = 10.0**-digits
    if share > 0 and float(text) == 0:
        text = f"<{smallest:.{digits}f}"
    elif share < 1 and float(text) == 100:
        text = f">{100 - smallest:.{digits}f}"
    return f"{text} %"


def clock(seconds: float) -> str:
    """Return a time within a video, rounded down to seconds: `1:05`, from one hour on `1:00:05`.

    >>> clock(65.9), clock(3605)
    ('1:05', '1:00:05')
    """
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def duration(seconds: float) -> str:
    """Return a duration as hours, minutes and seconds, rounded to seconds.

    >>> duration(3904.6)
    '1:05:05'
    """
    return str(datetime.timedelta(seconds=round(seconds)))


def short_duration(seconds: float) -> str:
    """Return a duration as `duration` does; below a minute as seconds with two significant digits.

    >>> short_duration(0.4242), short_duration(12.6), short_duration(3904.6)
    ('0.42 s', '13 s', '1:05:05')
    """
    return duration(seconds) if seconds >= 59.5 else f"{_two_digits(seconds)} s"


def _two_digits(value: float) -> str:
    if value == 0:
        return "0"
    return f"{value:.{max(1 - math.floor(math.log10(value)), 0)}f}" if value < 10 else f"{value:.0f}"


def number(value: float) -> str:
    """Return a count with commas between thousands.

    >>> number(45867)
    '45,867'
    """
    return f"{value:,}"


def mebibytes(size_bytes: int) -> str:
    """Return a size rounded to mebibytes.

    >>> mebibytes(1_293_942_784)
    '1,234 MiB'
    """
    return f"{size_bytes / 2**20:,.0f} MiB"


def binary_size(size_bytes: float) -> str:
    """Return a size in the largest binary unit of which it has one or more, to one decimal below ten.

    >>> binary_size(512), binary_size(1_300_000), binary_size(1_293_942_784), binary_size(5e12)
    ('512 bytes', '1.2 MiB', '1.2 GiB', '4.5 TiB')
    """
    if size_bytes < 1024:
        return f"{size_bytes:.0f} bytes"
    power = min(int(math.log2(size_bytes) // 10), 5)
    value = size_bytes / 1024**power
    return f"{value:,.{int(value < 9.95)}f} {' KMGTP'[power]}iB"
