"""Small runs of LCR and GenSR through all their stages, and what they have logged so far."""

import json

WORDS = {
    "lcr": [
        "--config=lcr_jax/configs/tiny.py", "--config.second.kind=reinforce",
        "--config.second.epochs=1", "--config.second.eval_every_epochs=0.5",
        "--config.second.rollouts=3", "--config.reasoner.steps=1",
    ],
    "gensr": [
        "--config=gensr_jax/configs/tiny.py", "--config.text.vocabulary=256",
        "--config.train.batch_size=64", "--config.cf.epochs=4", "--config.cf.eval_every_epochs=2",
        "--config.train.log_every_steps=1", "--config.train.checkpoint_every_steps=3",
    ],
}  # fmt: skip


def read_stage(workdir, stage):
    """The steps of a stage that are in metrics.jsonl so far."""
    try:
        lines = (workdir / "metrics.jsonl").read_text().splitlines(keepends=True)
    except FileNotFoundError:
        return []
    lines = [json.loads(line) for line in lines if line.endswith("\n")]
    return [line["step"] for line in lines if (line["kind"], line["stage"]) == ("train", stage)]
