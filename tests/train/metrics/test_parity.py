"""Metrics and losses against numbers of the authors' code; `parity/README.md` says how they were made.

Cases, sizes, seeds and expected values are read from `parity/numbers.json`, or from the file that the
environment variable PARITY_METRICS names, which must have the same layout.
"""

from __future__ import annotations

import copy
import json
import os
from functools import partial
from pathlib import Path

import pytest

from .parity.loss_checks import TERMS, check_large_features, check_losses
from .parity.mask_checks import (
    check_binary_edge,
    check_binary_masks,
    check_colours,
    check_frame_index,
    check_geometry,
    check_palette,
    check_semantic,
    check_semantic_edge,
)
from .parity.parsing_checks import check_decisions, check_events, check_mmil, check_network

OWN_FILE = Path(__file__).parent / "parity" / "numbers.json"

CHECKS = {
    ("a_binary_masks", "cases"): check_binary_masks,
    ("a_binary_masks", "explicit_edge_cases"): check_binary_edge,
    ("b_semantic", "cases"): check_semantic,
    ("b_semantic", "explicit_edge_cases"): check_semantic_edge,
    ("b_semantic", "palette_rgb_of_class_0_to_70"): check_palette,
    ("c_llp", "explicit_events"): check_events,
    ("c_llp", "decision_rule"): check_decisions,
    ("d_mmil", "head"): check_mmil,
    ("d_mmil", "whole_official_network"): check_network,
    ("e_losses", "s4"): partial(check_losses, "s4"),
    ("e_losses", "ms3"): partial(check_losses, "ms3"),
    ("e_losses", "avss"): partial(check_losses, "avss"),
    ("e_losses", "ms3_unnormalised_large_features"): check_large_features,
    ("f_data_side", "geometry"): check_geometry,
    ("f_data_side", "colour_to_label"): check_colours,
    ("f_data_side", "frame_index"): check_frame_index,
}
WHOLE = ("palette_rgb_of_class_0_to_70", "colour_to_label")
# Not in every file of this layout.
OPTIONAL = ("whole_official_network", "ms3_unnormalised_large_features")
# Names of classes, and scores on annotation files that are not part of this repository.
NOT_CHECKED = {("c_llp", "classes"), ("c_llp", "constant_predictors_on_the_real_annotations_percent")}
ABOUT_THE_FILE = {"about", "rules", "sources", "made_with"}


def read_cases(content):
    """Every case as (name, check, case). Raises ValueError for a part that is missing, empty or unknown."""
    sections = set(content) - ABOUT_THE_FILE
    parts = {(section, part) for section in sections for part in content[section]}
    if unknown := sorted(parts - set(CHECKS) - NOT_CHECKED):
        raise ValueError(f"no check for {unknown}")
    cases = []
    for (section, part), check in CHECKS.items():
        found = content.get(section, {}).get(part)
        if found is None and part in OPTIONAL:
            continue
        if not found:
            raise ValueError(f"no cases in {section}/{part}")
        named = [found] if part in WHOLE else found
        cases += [(f"{section}-{part}-{number}", check, case) for number, case in enumerate(named)]
    return cases


def read_file(path):
    return json.loads(Path(path).read_text("utf-8"))


CASES = read_cases(read_file(os.environ.get("PARITY_METRICS") or OWN_FILE))


@pytest.mark.parametrize(("check", "case"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_numbers_agree(check, case):
    check(case)


# A number of the last case of every part.
CHANGED = {
    ("a_binary_masks", "cases"): ("beside", "split_level_f"),
    ("a_binary_masks", "explicit_edge_cases"): ("miou",),
    ("b_semantic", "cases"): ("beside", "no_padding", "f_seen_foreground"),
    ("b_semantic", "explicit_edge_cases"): ("f_sum", 1),
    ("b_semantic", "palette_rgb_of_class_0_to_70"): (2,),
    ("c_llp", "explicit_events"): ("clips", 3, "event[A,V,Event,AV]", 2),
    ("c_llp", "decision_rule"): ("official_percent", "event", "Event@AV"),
    ("d_mmil", "head"): ("float32", "grad_l2", "x_v"),
    ("d_mmil", "whole_official_network"): ("grad_l2", "self_att.qkv_weight"),
    ("e_losses", "s4"): ("with_cosine_term_all_stages", "float64", "grad_l2", "visual", 1),
    ("e_losses", "ms3"): ("thresholded", "float32", "av_term"),
    ("e_losses", "avss"): ("normalised", "float64", "grad_l2", "audio", 3),
    ("e_losses", "ms3_unnormalised_large_features"): ("float64", "av_term"),
    ("f_data_side", "geometry"): ("eval", "corner_labels", 3),
    ("f_data_side", "colour_to_label"): ("label", 0, 1),
    ("f_data_side", "frame_index"): ("picked", 4),
}


@pytest.mark.parametrize(("part", "path"), CHANGED.items(), ids=["-".join(part) for part in CHANGED])
def test_a_changed_number_is_noticed(part, path):
    case = read_file(OWN_FILE)[part[0]][part[1]]
    case = case if part[1] in WHOLE else case[-1]
    holder = case
    for step in path[:-1]:
        holder = holder[step]
    value = holder[path[-1]]
    holder[path[-1]] = [0, 0, 1] if isinstance(value, list) else value * 1.001 + 1e-5
    with pytest.raises(AssertionError):
        CHECKS[part](case)


def test_a_file_without_cases_is_refused():
    content = read_file(OWN_FILE)
    assert {name.rsplit("-", 1)[0] for name, *_ in read_cases(content)} == {"-".join(key) for key in CHECKS}
    for section, part in CHECKS:
        without = copy.deepcopy(content)
        without[section][part] = []
        with pytest.raises(ValueError, match=f"no cases in {section}/{part}"):
            read_cases(without)
    with pytest.raises(ValueError, match=r"no check for \[\('b_semantic', 'more'\)\]"):
        read_cases(content | {"b_semantic": content["b_semantic"] | {"more": []}})


def test_the_file_has_every_variant_of_the_losses():
    losses = read_file(OWN_FILE)["e_losses"]
    for kind, variants in TERMS.items():
        assert [set(case) - {"config", "inputs_check"} for case in losses[kind]] == [set(variants)] * 2


def test_the_tolerances_are_those_of_the_file():
    stated = " ".join(read_file(OWN_FILE)["about"])
    for text in (
        "2e-6 absolute for metrics",
        "1e-5 for percentages",
        "relative 1e-4 for losses",
        "2e-4 for whole_official_network",
        "1e-6 relative for float64",
        "3e-7 absolute besides",
    ):
        assert text in stated
