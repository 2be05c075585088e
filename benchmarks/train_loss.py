"""Time the loss in parts against `cross_entropy` over whole logits, in turn, in one process.

    python benchmarks/train_loss.py

Both give the loss of one micro-batch and its gradients by the hidden states and by the output embedding. The
number behind "rows" is how many rows of logits exist at a time.
"""

import argparse
import statistics
import time

import torch
import torch.nn.functional as F

from pile_tools.train import loss


def whole(hidden: torch.Tensor, output: torch.nn.Parameter, labels: torch.Tensor) -> None:
    leaf = hidden.detach().requires_grad_()
    F.cross_entropy(leaf @ output.t(), labels, reduction="sum").backward()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--tokens", type=int, default=4096)
    parser.add_argument("--vocabulary", type=int, default=50_304)
    parser.add_argument("--rows", type=int, nargs="+", default=[128, 256, 512, 1024])
    parser.add_argument("--repeat", type=int, default=5)
    options = parser.parse_args()
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(options.tokens, options.width, generator=generator)
    output = torch.nn.Parameter(torch.randn(options.vocabulary, options.width, generator=generator) * 0.05)
    output.grad = torch.zeros_like(output)
    labels = torch.randint(0, options.vocabulary, (options.tokens,), generator=generator)

    def parts(rows: int) -> None:
        loss._ROWS["cpu"] = rows
        loss.loss_and_gradient(hidden, output, labels)

    work = {"whole": lambda: whole(hidden, output, labels)}
    work |= {f"rows {rows}": lambda rows=rows: parts(rows) for rows in options.rows}
    seconds: dict[str, list[float]] = {name: [] for name in work}
    for turn in range(options.repeat + 1):
        for name, function in work.items():
            start = time.perf_counter()
            function()
            if turn:  # the first warms up
                seconds[name].append(time.perf_counter() - start)
    plain = statistics.median(seconds["whole"])
    print(f"width {options.width}, {options.tokens} tokens, vocabulary {options.vocabulary}")
    for name, times in seconds.items():
        middle = statistics.median(times)
        print(f"  {name:10} {middle:8.3f} s  ratio {plain / middle:.2f}")


if __name__ == "__main__":
    main()
