"""Child process of `test_math_paths.py`: print a hash of every member of the clips in a folder.

Arguments: the folder, and the processor features that FFmpeg's libraries may use (0 for all there are).
"""

import ctypes
import hashlib
import sys
from pathlib import Path

import av.buffer
from stgcma.preprocess.collections.ave import SAMPLING
from stgcma.preprocess.collections.specification import ClipSpecification, FeatureSettings
from stgcma.preprocess.samples.sample import SampleMaker

folder, features = Path(sys.argv[1]), int(sys.argv[2])
if features:
    ctypes.CDLL(av.buffer.__file__).av_force_cpu_flags(features)
make = SampleMaker(folder, FeatureSettings(SAMPLING, ("clip", "swin")))
for path in sorted(folder.iterdir()):
    sample = make(ClipSpecification(path.stem, "train", path.name))
    for name, content in sample.members.items():
        sys.stdout.write(f"{path.name} {name} {hashlib.sha256(content).hexdigest()}\n")
    sys.stdout.write(f"{path.name} sums {sample.fbank_sums}\n")
