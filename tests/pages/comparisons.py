"""A comparison as `stgcma compare` returns it, without training."""

from __future__ import annotations

from stgcma.train import ComparedModel, Comparison, ScoredRun

ADAPTERS, BACKBONES = ("stg-cma", "lora", "<side>"), ("clip-demo", "a-backbone-with-a-name-of-some-length")


def made_comparison() -> Comparison:
    """Six models, the first of one seed, the others of two."""
    models = []
    for number, (adapter, backbone) in enumerate((a, b) for a in ADAPTERS for b in BACKBONES):
        runs = [
            ScoredRun(
                run=f"{number}/seed-{seed}",
                score_name="accuracy",
                score=0.7 + number / 100 + seed / 50,
                selected_on="val",
                trainable_parameters=123_456 * (number + 1),
                seconds=60.0,
                step_seconds=0.25 * (number + 1),
                peak_memory_bytes=(900 + number) << 20,
                checkpoint_bytes=(2 + number) << 20,
            )
            for seed in range(2 if number else 1)
        ]
        models.append(
            ComparedModel(
                name=f"adapter={adapter},backbone={backbone}",
                choices={"adapter": adapter, "backbone": backbone},
                runs=runs,
                mean=sum(run.score for run in runs) / len(runs),
                std=0.02 / 2**0.5 if number else None,
                trained_parameters=runs[0].trainable_parameters,
                step_seconds=runs[0].step_seconds,
                peak_memory_bytes=runs[0].peak_memory_bytes,
                clip_memory_bytes=(40 + number) << 20,
                checkpoint_bytes=runs[0].checkpoint_bytes,
            )
        )
    return Comparison(
        preset="ave-demo",
        split="test",
        score_name="accuracy",
        axes=["adapter", "backbone"],
        models=models,
        baselines={"most frequent class": 0.453},
    )
