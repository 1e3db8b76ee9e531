"""Tables and description of a directory whose shards are all made."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ...errors import InputError, StgcmaError
from ...shards.additions import Addition, Sums
from ...shards.fbank_sums import audio_statistics, total_sums
from ...shards.manifest import (
    read_dataset,
    read_quarantine,
    write_dataset,
    write_manifest,
    write_planned,
    write_quarantine,
)
from ...shards.schema import (
    MANIFEST_FILE,
    PLANNED_FILE,
    QUARANTINE_FILE,
    SPLITS,
    ClipRecord,
    DatasetInfo,
    PlannedRecord,
    place_of,
    shard_name,
)
from ...shards.storage import Location, open_store
from ..media.video import deciding_versions
from .amendment import Amendment, amendment_of
from .description import Description
from .output import OutputFolder, open_output
from .parts import part_number, shard_ends
from .shard_result import ShardResult

_MOST_NAMED = 5


@dataclass(frozen=True)
class Outcome:
    """Result of preprocessing.

    Attributes:
        info: the content of `dataset.json`.
        failures: number of quarantined clips by reason.
        was_complete: whether the directory was complete before.
    """

    info: DatasetInfo
    failures: dict[str, int]
    was_complete: bool

    @property
    def written(self) -> int:
        """Number of clips in the shards."""
        return sum(count["written"] for count in self.info.counts.values())

    @property
    def quarantined(self) -> int:
        """Number of clips that could not be made."""
        return sum(count["quarantined"] for count in self.info.counts.values())

    @property
    def failed_share(self) -> float:
        """Quarantined clips as a share of all clips."""
        return self.quarantined / max(self.written + self.quarantined, 1)


def finish(
    output: OutputFolder,
    info: DatasetInfo,
    made: Sequence[ShardResult],
    planned: Sequence[PlannedRecord] = (),
    amendment: Amendment | None = None,
) -> Outcome:
    """Write the tables and the description, which makes the directory complete.

    Args:
        output: the directory, with all shards.
        info: its description without results; the additions have the results of the finished ones.
        made: results of the shards that this run made or found made.
        planned: the planned clips, for a directory of several additions.
        amendment: the former shards, for a directory that was finished before.

    Raises StgcmaError when another process took the directory over.
    """
    output.check_lock()
    kept = amendment.kept if amendment is not None else ()
    results = sorted((*kept, *made), key=lambda result: (SPLITS.index(result.split), result.index))
    written = _Written(results)
    quarantined = [record for result in results for record in result.quarantined]
    files = {
        MANIFEST_FILE: write_manifest(output.location, written),
        QUARANTINE_FILE: write_quarantine(output.location, quarantined),
    }
    if info.additions:
        files[PLANNED_FILE] = write_planned(output.location, planned)
        additions = tuple(
            _with_results(addition, results, made, amendment, number)
            for number, addition in enumerate(info.additions)
        )
        audio = audio_statistics(total_sums(addition.sums for addition in additions))
    else:
        additions = ()
        audio = audio_statistics(total_sums(_training_sums(made, amendment)))
    info = dataclasses.replace(
        info,
        additions=additions,
        counts=_counts(results, SPLITS),
        audio=audio,
        files=files,
        versions=deciding_versions(info.versions, (record.decoder for record in written)),
    )
    output.check_lock()  # writing the tables of a million clips takes minutes
    if not output.restore(info):
        write_dataset(output.location, info)
    output.end()
    return Outcome(info, dict(Counter(record.reason for record in quarantined)), was_complete=False)


def part_outcome(info: DatasetInfo, results: Sequence[ShardResult]) -> Outcome:
    """Return the result of a part, whose counts are those of its share."""
    failures = Counter(row.reason for result in results for row in result.quarantined)
    return Outcome(
        dataclasses.replace(info, counts=_counts(results, SPLITS)), dict(failures), was_complete=False
    )


def finish_parts(out: Location) -> Outcome:
    """Write the tables of a directory whose parts are all made, without the raw folder.

    Raises:
        InputError: when no part was begun in `out`, or one is being made.
        StgcmaError: when shards are missing; it names them, and the parts that make them.
    """
    if not open_store(out).names():
        raise _no_parts(out)  # before a folder is made for a name that is mistyped
    with open_output(out) as output:
        if output.is_complete():
            output.end()
            failures = Counter(record.reason for record in read_quarantine(out))
            return Outcome(read_dataset(out), dict(failures), was_complete=True)
        description = output.description()
        if description is None:
            raise _no_parts(output.location)
        former = output.former()
        again = former.shards().again if former is not None else frozenset()
        places = {shard_name(*place): place for place in description.unfinished()}
        places |= {name: place_of(name) for name in again}
        results = output.finished(places)
        missing = set(places.values()) - results.keys()
        if missing:
            raise StgcmaError(_missing(output.location, sorted(missing, key=_in_order), description))
        amendment = planned = None
        if former is not None:
            amendment, planned = amendment_of(former, former.shards()), former.planned()
        return finish(output, description.final_info, list(results.values()), planned or (), amendment)


def _no_parts(out: Location) -> InputError:
    return InputError(f"{out} holds no parts; make them with `stgcma preprocess`")


def _in_order(place: tuple[str, int]) -> tuple[int, int]:
    return SPLITS.index(place[0]), place[1]


def _missing(where: str, places: Sequence[tuple[str, int]], description: Description) -> str:
    ends = shard_ends([addition.shards for addition in description.info.additions])
    parts = sorted({part_number(*place, ends, description.parts) for place in places})
    names = ", ".join(shard_name(*place) for place in places[:_MOST_NAMED])
    names += ", …" if len(places) > _MOST_NAMED else ""
    again = ", ".join(f"{number}/{description.parts}" for number in parts)
    return f"{where} lacks {len(places)} shards ({names}); make the parts {again}"


class _Written(Collection[ClipRecord]):
    """The rows of the manifest, unpacked while they are iterated over."""

    def __init__(self, results: Sequence[ShardResult]) -> None:
        self._results = results

    def __iter__(self) -> Iterator[ClipRecord]:
        return (record for result in self._results for record in result.written)

    def __len__(self) -> int:
        return sum(len(result.written) for result in self._results)

    def __contains__(self, record: object) -> bool:
        return any(record in result.written for result in self._results)


def _with_results(
    addition: Addition,
    results: Sequence[ShardResult],
    made: Sequence[ShardResult],
    amendment: Amendment | None,
    number: int,
) -> Addition:
    inside = [result for result in results if addition.holds(result.split, result.index)]
    sums = addition.sums
    if amendment is None or number not in amendment.recorded:
        sums = total_sums(_training_sums(made, amendment, addition))
    return dataclasses.replace(addition, counts=_counts(inside, addition.shards), sums=sums)


def _training_sums(
    made: Sequence[ShardResult], amendment: Amendment | None, addition: Addition | None = None
) -> list[Mapping[str, Sums]]:
    """Return the sums of the training shards, of one `addition` or all."""
    sums: list[Mapping[str, Sums]] = [
        result.sums
        for result in made
        if result.split == "train" and (addition is None or addition.holds(result.split, result.index))
    ]
    if amendment is not None:
        sums += [
            each for name, each in amendment.sums.items() if addition is None or addition.holds_shard(name)
        ]
    return sums


def _counts(results: Sequence[ShardResult], splits: Iterable[str]) -> dict[str, dict[str, int]]:
    return {
        split: {
            "written": sum(len(result.written) for result in results if result.split == split),
            "quarantined": sum(len(result.quarantined) for result in results if result.split == split),
        }
        for split in splits
    }
