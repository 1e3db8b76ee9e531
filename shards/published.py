"""What the collections hold by their publications: Table 8 of the STG-CMA paper, and the splits beside it."""

from __future__ import annotations

# Clips a split, or in all.
PUBLISHED_CLIPS: dict[str, dict[str, int]] = {
    "ave": {"train": 3339, "val": 402, "test": 402},
    "avs-s4": {"train": 3452, "val": 740, "test": 740},
    "music-avqa": {"all": 9288},
}
PUBLISHED_QUESTIONS = {"music-avqa": 45867}

# Event classes with background, categories of objects, answers.
PUBLISHED_CLASSES = {"ave": 29, "avs-s4": 23, "music-avqa": 42}

# Mean and standard deviation of the log-mel energies.
PUBLISHED_AUDIO = {"ave": (-4.1426, 3.2001), "avs-s4": (-5.6696, 3.9484), "music-avqa": (-5.2144, 3.8699)}
