"""Time training steps beside transformers, in turn, in one process; then our whole loop with its data.

    python benchmarks/train.py 14m 70m      on CPUs, float32
    python benchmarks/train.py --gpu        on a GPU: 160m and 410m, bfloat16, compiled, 16 × 2048 at a time

Both sides train the same model, from the same weights, on the same batch, with the same threads: zero the
gradients, forward and backward passes by micro-batches, clip to norm 1, one Adam step. The other side is
`GPTNeoXForCausalLM` as it comes (attention by PyTorch's scaled_dot_product_attention, loss in float32) with
`clip_grad_norm_` and `AdamW(fused=True)`. Ours is the code of the training loop. Loading data is in neither.

With `--loop` (part of `--gpu`) `pile_tools.train` then trains the model on a stream of random tokens in the
`neox` order, and what its metrics say is printed: tokens/s, the share of the device's peak (by the model's
FLOP count as computed) and the share of the step that was spent waiting for data.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

from pile_tools import BatchViewer
from pile_tools.formats.mmidx import write_index
from pile_tools.stages.order.order import make_order
from pile_tools.train import Start, read_metrics, train
from pile_tools.train.checkpoints import State
from pile_tools.train.hardware import DTYPES, deterministic, peak_flops
from pile_tools.train.loop import _accumulate
from pile_tools.train.loss import logit_gradient, logit_gradient_in_place
from pile_tools.train.model import GPTNeoX, flops_per_token, initialise
from pile_tools.train.optimizer import BETAS, EPS, WEIGHT_DECAY, FlatAdam
from pile_tools.train.parallel import World, micro_batches
from pile_tools.train.record import DataRecord
from pile_tools.train.setup import COMPILE
from pile_tools.train.sizes import SIZES

RATE = 1e-4


def our_step(
    model: GPTNeoX, tokens: np.ndarray, micro: int, dtype: torch.dtype, world: World, compiled: bool
) -> Callable[[], float]:
    adam = FlatAdam(model, world)
    state = State(model, adam, torch.Generator(), DataRecord((), b""), [0, 0])
    parts = micro_batches(len(tokens), micro, 0, 1)
    number = len(tokens) * (tokens.shape[1] - 1)
    of_logits = torch.compile(logit_gradient, **COMPILE) if compiled else logit_gradient_in_place

    def step() -> float:
        with deterministic(world.device):
            loss = _accumulate(state, tokens, parts, dtype, world, of_logits, lambda: False) / number
            adam.norm(number)
            adam.update(RATE)
        return loss

    return step


def their_step(
    model: GPTNeoXForCausalLM, tokens: np.ndarray, micro: int, dtype: torch.dtype, device: torch.device
) -> Callable[[], float]:
    groups = [
        {"params": [p for p in model.parameters() if p.ndim > 1], "weight_decay": WEIGHT_DECAY},
        {"params": [p for p in model.parameters() if p.ndim == 1], "weight_decay": 0.0},
    ]
    adam = torch.optim.AdamW(groups, lr=RATE, betas=BETAS, eps=EPS, fused=True)

    def step() -> float:
        adam.zero_grad()
        total = 0.0
        for start in range(0, len(tokens), micro):
            rows = torch.from_numpy(tokens[start : start + micro].astype(np.int64)).to(device)
            with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
                inputs, labels = rows[:, :-1], rows[:, 1:].contiguous()
                loss = model(input_ids=inputs, labels=inputs, shift_labels=labels, use_cache=False).loss
            (loss * len(rows) / len(tokens)).backward()
            total += loss.item() * len(rows) / len(tokens)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        adam.step()
        return total

    return step


def compare(size: str, options: argparse.Namespace, device: torch.device) -> None:
    row, dtype, world = SIZES[size], DTYPES[options.dtype], World(device)
    ours = GPTNeoX(layers=row.layers, width=row.width, heads=row.heads, vocab=row.vocab)
    initialise(ours, torch.Generator().manual_seed(1))
    config = GPTNeoXConfig(
        vocab_size=row.vocab,
        hidden_size=row.width,
        num_hidden_layers=row.layers,
        num_attention_heads=row.heads,
        intermediate_size=4 * row.width,
    )
    theirs = GPTNeoXForCausalLM(config).to(device).train()
    weights = ours.state_dict()
    theirs.load_state_dict({name.replace("embed_out.", "lm_head."): value for name, value in weights.items()})
    ours.to(device)
    if options.compile:
        for layer in [*ours.gpt_neox.layers, *theirs.gpt_neox.layers]:
            layer.compile(**COMPILE)
    random = np.random.default_rng(0)
    tokens = random.integers(0, 50_254, (options.batch_size, options.seq_length + 1), np.uint16)
    number = options.batch_size * options.seq_length
    steps = {
        "transformers": their_step(theirs, tokens, options.micro_batch_size, dtype, device),
        "pile-tools": our_step(ours, tokens, options.micro_batch_size, dtype, world, options.compile),
    }
    clock = time.process_time if options.cpu_time else time.perf_counter
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    losses: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(options.repeat + 1):
        for name, step in steps.items():
            start = clock()
            loss = step()
            if device.type == "cuda":
                torch.cuda.synchronize()
            if turn:  # the first warms up
                seconds[name].append(clock() - start)
            losses[name].append(loss)
    ratios = [one / two for one, two in zip(*seconds.values(), strict=True)]
    cost = flops_per_token(ours, options.seq_length)
    peak, origin = peak_flops(world, dtype)
    print(
        f"{size}: batch {options.batch_size} × {options.seq_length}, micro-batch {options.micro_batch_size}"
    )
    for name, times in seconds.items():
        rate = number / statistics.median(times)
        print(
            f"  {name:13} {rate:10,.0f} tokens/s (median of {options.repeat}), {rate * cost / peak:6.1%} "
            f"of {peak:.3g} FLOP/s, losses {losses[name][0]:.6f} to {losses[name][-1]:.6f}"
        )
    print(
        f"  ratio {statistics.median(ratios):.2f} (median of turns; {min(ratios):.2f} to {max(ratios):.2f}); "
        f"{cost:,} FLOPs per token; peak: {origin}"
    )


def loop(size: str, options: argparse.Namespace) -> None:
    """Print what `pile-tools train` reports of itself, the median of its steps but the first three."""
    steps, start = options.repeat + 3, []
    with tempfile.TemporaryDirectory() as directory:
        viewer = random_stream(Path(directory) / "tokens", options, steps)
        settings = {"dtype": options.dtype, "device": options.device, "compile_layers": options.compile}
        run = Path(directory) / "run"
        train(
            viewer,
            run,
            model=size,
            micro_batch_size=options.micro_batch_size,
            schedule=f"{steps}",
            on_start=start.append,
            **settings,
        )
        lines = read_metrics(run)[3:]
    told: Start = start[0]
    rate, peak, data = (
        statistics.median(line[name] for line in lines)
        for name in ("tokens_per_second", "peak_share", "data_share")
    )
    print(
        f"  loop: {rate:,.0f} tokens/s (median of {len(lines)}), {peak:.1%} of {told.peak_flops:.3g} FLOP/s "
        f"({told.peak_origin}), {told.flops_per_token:,} FLOPs per token, {data:.3%} of a step for data"
    )


def random_stream(directory: Path, options: argparse.Namespace, steps: int) -> BatchViewer:
    """Write documents of 50 to 3,000 random tokens, and an order of ``steps``."""
    random = np.random.default_rng(2)
    total = steps * options.batch_size * options.seq_length + options.seq_length
    sizes = random.integers(50, 3000, total // 1500 + 10)
    directory.mkdir()
    random.integers(0, 50_254, sizes.sum(), np.uint16).tofile(directory / "document.bin")
    write_index(directory / "document.idx", np.dtype("<u2"), sizes.astype(np.int32))
    make_order(directory, seq_length=options.seq_length, batch_size=options.batch_size, steps=steps)
    return BatchViewer.open(directory)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sizes", nargs="*")
    parser.add_argument(
        "--gpu", action="store_true", help="the defaults above for a GPU; others may be named"
    )
    parser.add_argument("--batch-size", type=int)
    parser.add_argument("--micro-batch-size", type=int)
    parser.add_argument("--seq-length", type=int, default=2048)
    parser.add_argument("--dtype", choices=list(DTYPES), default="float32")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--compile", action="store_true", help="compile the layers of both sides")
    parser.add_argument("--loop", action="store_true", help="train with our whole loop, too")
    parser.add_argument("--loop-only", action="store_true", help="leave transformers out")
    parser.add_argument("--repeat", type=int, default=7)
    parser.add_argument(
        "--cpu-time",
        action="store_true",
        help="count CPU seconds, for a busy machine; with OMP_NUM_THREADS=1",
    )
    options = parser.parse_args()
    if options.gpu:
        parser.set_defaults(dtype="bfloat16", device="cuda", compile=True, loop=True, repeat=20)
        options = parser.parse_args()
    options.sizes = options.sizes or (["160m", "410m"] if options.gpu else ["14m", "70m"])
    options.batch_size = options.batch_size or (64 if options.gpu else 2)
    options.micro_batch_size = options.micro_batch_size or (16 if options.gpu else 2)
    device = torch.device(options.device)
    print(
        f"torch {torch.__version__}, {torch.get_num_threads()} threads, {device}, {options.dtype}"
        f"{', compiled layers' if options.compile else ''}"
        f"{', CPU seconds' if options.cpu_time else ''}",
        flush=True,
    )
    for size in options.sizes:
        if not options.loop_only:
            compare(size, options, device)
        if options.loop or options.loop_only:
            loop(size, options)


if __name__ == "__main__":
    main()
