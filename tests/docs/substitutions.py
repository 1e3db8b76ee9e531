"""Stand-ins for files and settings of the documentation's commands in their tests.

Everything else runs as it is written. Collections are small synthetic ones in folders of the names that the
pages use; a preset is swapped for the demo preset of its task, with the smallest of models, for one epoch.
"""

from __future__ import annotations

import sys

from ..conftest import SMALL

SWIN_OF_AVE = (
    "model.backbone=swin",
    "model.width=8",
    "model.depths=[1,1,1,1]",
    "model.heads=[1,1,2,2]",
    "model.patch=4",
    "model.audio_shape=[224,224]",
    "model.adapter_ratio=0.25",
)
# Prefix of a preset's name to the demo preset that stands for it, and the settings that make that small.
PRESETS = {
    "ave-swin-": ("ave-demo", SWIN_OF_AVE),
    "avc-swin-": ("avc-demo", SWIN_OF_AVE),
    "avc-": ("avc-demo", SMALL["avc"]),
    "ave-": ("ave-demo", SMALL["ave"]),
    "tag-": ("tag-demo", SMALL["ave"]),  # of the page on extending
    "avs-": ("avs-demo", SMALL["avs"]),
    "avss-": ("avss-demo", SMALL["avss"]),
    "avqa-": ("avqa-demo", SMALL["avqa"]),
    "avvp-swin-": ("avvp-demo", SWIN_OF_AVE),
    "avvp-": ("avvp-demo", SMALL["avvp"]),
}
# Appended to what trains, so that they win over what a page sets.
SETTINGS = ("data.workers=0",)
# Appended too, unless the page itself trains for one epoch: then its settings must fit together.
ONE_EPOCH = "optim.epochs=1"
SHORT = (ONE_EPOCH, "optim.warmup_epochs=0")
TRAINING = ("train", "run", "ablate", "compare")
# Option to the value that it gets instead.
VALUES = {"--workers": "1", "--weights": "random", "--clips": "10", "--seeds": "2", "--nproc-per-node": "2"}
# Other programs than `stgcma`.
PROGRAMS = {"torchrun": [sys.executable, "-m", "torch.distributed.run", "--standalone"]}
STGCMA = ("stgcma", ".venv/bin/stgcma")


def substituted(words: list[str]) -> list[str]:
    """The arguments of a `stgcma` or `torchrun` command as they are run."""
    words = list(words)
    for option, value in VALUES.items():
        for place in (place for place, word in enumerate(words) if word == option):
            words[place + 1] = value
    if "--preset" in words and any(verb in words for verb in TRAINING):
        place = words.index("--preset") + 1
        prefix = next(prefix for prefix in PRESETS if words[place].startswith(prefix))
        words[place], small = PRESETS[prefix]
        short = () if ONE_EPOCH in words else SHORT
        words += [part for setting in (*small, *SETTINGS, *short) for part in ("--set", setting)]
    return words
