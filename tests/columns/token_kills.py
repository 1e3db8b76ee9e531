"""Kills additions of tokens to a copy of a shard directory, and compares what they come to.

token_kills.py SHARDS FOLDER KILLS SEED
"""

import json
import random
import shutil
import sys
import time
from pathlib import Path

import torch
from added import contents, killed_after, killed_before, operations_of
from stgcma.columns import add_tokens
from stgcma.train.config import load_preset

SETTINGS = ("model.width=32", "model.depths=[1]", "model.heads=[2]", "data.workers=0")


def main():
    shards, folder, kills, seed = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    sys.path.insert(0, str(Path(__file__).parent.parent / "preprocess" / "pipeline"))
    import stand_in

    torch.set_num_threads(1)  # a child of a fork has no other threads
    config = load_preset("ave-demo", list(SETTINGS), adapter="side")
    out, whole = folder / "out", shutil.copytree(shards, folder / "whole")

    def work():
        add_tokens(out, config, device="cpu")

    started = time.monotonic()
    add_tokens(whole, config, device="cpu")
    longest = time.monotonic() - started
    wanted, different = contents(whole), []

    def compare(kill):
        work()
        if contents(out) != wanted:
            different.append(kill)
        shutil.rmtree(out)

    shutil.copytree(shards, out)
    operations = operations_of(stand_in, out, work)
    rng, at_random = random.Random(seed), 0
    for number in sorted(rng.sample(range(1, len(operations) + 1), min(kills // 2, len(operations)))):
        shutil.rmtree(out, ignore_errors=True)
        shutil.copytree(shards, out)
        stand_in.died(killed_before(stand_in, out, number, work))
        compare(f"operation {number}")
    while at_random < kills - kills // 2:
        if not out.exists():
            shutil.copytree(shards, out)
        at_random += killed_after(rng.uniform(0, longest), work)
        if rng.random() < 0.3:
            compare(f"random {at_random}")
    sys.stdout.write(json.dumps({"kills": kills, "different": different}))


if __name__ == "__main__":
    main()
