"""Greedy continuations for `pile-tools memorize` beside a plain loop over ``transformers.generate``.

Both continue the same prompts (k = l = 32) with the same model, one after the other in one process; printed
are the sequences per second of each and the median of the ratios of the rounds. Continuations are compared.

    python benchmarks/memorize.py --model 14m --batch-size 64 [--device cuda --dtype bfloat16]
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
import transformers

from pile_tools.studies.model_name import ModelName
from pile_tools.studies.models import open_model
from pile_tools.train.model import GPTNeoX, initialise
from pile_tools.train.sizes import SIZES
from pile_tools.train.weights import save_model

K, LENGTH = 32, 32


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="14m", choices=list(SIZES))
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16", "float16"])
    given = parser.parse_args()
    size = SIZES[given.model]
    network = GPTNeoX(layers=size.layers, width=size.width, heads=size.heads, vocab=size.vocab)
    initialise(network, torch.Generator().manual_seed(0))
    with tempfile.TemporaryDirectory() as directory:
        save_model(network, Path(directory))
        ours = open_model(ModelName(directory), device=given.device, dtype=given.dtype)
        theirs = transformers.AutoModelForCausalLM.from_pretrained(
            directory, dtype=getattr(torch, given.dtype)
        ).to(given.device)
    prompts = np.random.default_rng(1).integers(1, 50_000, (given.batch_size, K))

    def generate() -> np.ndarray:
        tokens = torch.from_numpy(prompts).to(given.device)
        with torch.inference_mode():
            found = theirs.generate(
                tokens,
                attention_mask=torch.ones_like(tokens),
                max_new_tokens=LENGTH,
                min_new_tokens=LENGTH,
                do_sample=False,
                eos_token_id=None,
                pad_token_id=0,
            )
        return found[:, K:].cpu().numpy()

    same = (generate() == ours.greedy(prompts, LENGTH)).all(axis=1).mean()
    seconds: dict[str, list[float]] = {"generate": [], "memorize": []}
    for _ in range(given.rounds):
        for name, work in (("generate", generate), ("memorize", lambda: ours.greedy(prompts, LENGTH))):
            start = time.perf_counter()
            work()
            seconds[name].append(time.perf_counter() - start)
    ratios = [one / two for one, two in zip(*seconds.values(), strict=True)]
    for name, values in seconds.items():
        print(f"{name:10} {given.batch_size / statistics.median(values):10.1f} sequences/s")
    print(f"ratio      {statistics.median(ratios):10.2f} (median of {given.rounds} rounds)")
    print(f"equal      {same:10.1%} of the continuations")


if __name__ == "__main__":
    main()
