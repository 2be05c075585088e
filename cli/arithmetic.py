"""``pile-tools arithmetic``."""

from dataclasses import asdict
from pathlib import Path

import click

from . import options, study_options
from .tables import print_table


def _is_answers(path: Path) -> bool:
    from pile_tools.studies.term_frequency import is_answers_table

    return is_answers_table(path)


@options.command(
    example="pile-tools arithmetic RUN/step256 RUN/step512 --tokenizer tokens/ --counts counts.parquet"
)
@click.argument("models", nargs=-1, required=True, metavar="MODEL...")
@click.option(
    "--tokenizer",
    default=None,
    metavar="FILE|HUB_ID",
    show_default="the model's own",
    help="The tokenizer that the models were trained with.",
)
@click.option(
    "--task",
    "tasks",
    multiple=True,
    type=click.Choice(["addition", "multiplication"]),
    show_default="both",
    help="What to ask; may be given twice.",
)
@click.option(
    "--shots", type=int, default=16, show_default=True, help="Solved examples before each question."
)
@click.option("--seed", type=int, default=1234, show_default=True, help="Seed of the examples.")
@click.option(
    "--x1",
    "limit_x1",
    type=click.IntRange(1, 100),
    default=100,
    show_default=True,
    help="Ask the first operands from 0 up to this number, exclusive.",
)
@click.option(
    "--x2",
    "limit_x2",
    type=click.IntRange(1, 50),
    default=50,
    show_default=True,
    help="Ask the second operands from 1 up to this number.",
)
@click.option(
    "--counts",
    type=click.Path(path_type=Path, dir_okay=False),
    default=None,
    help="Table of `pile-tools count` with the terms 0 to 99, to join accuracy with.",
)
@click.option(
    "-o",
    "--output",
    type=options.OutputFile(".parquet", is_earlier=_is_answers),
    default=None,
    metavar="FILE.parquet",
    help="File to write, with a row for each answer; it replaces no file but an earlier one of answers.",
)
@options.plot_option
@study_options.model_options
@options.json_option
def command(
    models: tuple[str, ...],
    tokenizer: str | None,
    tasks: tuple[str, ...],
    shots: int,
    seed: int,
    limit_x1: int,
    limit_x2: int,
    counts: Path | None,
    output: Path | None,
    plot: Path | None,
    revision: str | None,
    model_batch_size: int | None,
    device: str,
    dtype: str,
    as_json: bool,
) -> None:
    """Let each MODEL add and multiply, and join its accuracy with how often it had read the numbers.

    The questions are those of the Pythia paper: x1 from 0 to 99, x2 from 1 to 50, after some solved examples.
    With --counts the gap is the accuracy on the tenth of x1 that was read most often less that on the tenth
    that was read least often, up to that checkpoint. A checkpoint of `pile-tools train` records what it has
    read, and counts of anything else are refused.
    """
    from pile_tools.errors import ParameterError
    from pile_tools.formats.tokenizer import read_tokenizer
    from pile_tools.studies.arithmetic import TASKS, answer_problems, make_problems
    from pile_tools.studies.model_name import ModelName
    from pile_tools.studies.models import open_model
    from pile_tools.studies.term_frequency import (
        Frequencies,
        answers_table,
        plot_frequency,
        summarise,
        write_answers,
    )

    frequencies = None if counts is None else Frequencies(counts)
    if plot is not None and frequencies is None:
        raise ParameterError("accuracy is drawn against counts; give them with --counts")
    results, tables, unproved = [], [], []
    with options.progress_bar() as progress:
        for text in models:
            name = ModelName.parse(text, revision)
            if frequencies is not None and not frequencies.prove(name):
                unproved.append(str(name))
            model = open_model(name, device=device, dtype=dtype)
            found = read_tokenizer(tokenizer or str(name), allow_id_gaps=True)
            for task in dict.fromkeys(tasks or TASKS):
                problems = make_problems(
                    task, shots=shots, seed=seed, x1=range(limit_x1), x2=range(1, limit_x2 + 1)
                )

                def told(done: int, label: str = f"{name} {task}", total: int = len(problems)) -> None:
                    progress(label, done, total)

                answers = list(
                    answer_problems(
                        model, found, problems, model_batch_size=model_batch_size or 64, progress=told
                    )
                )
                results.append(summarise(str(name), name.steps(), answers, frequencies))
                tables.append(answers_table(str(name), name.steps(), answers))
    if output is not None:
        write_answers(tables, output)
    if plot is not None:
        plot_frequency(results, plot)
    if as_json:
        said: dict[str, object] = {"results": [asdict(result) for result in results]}
        if frequencies is not None:
            joined = {
                "stream": frequencies.stream,
                "batch_size": frequencies.batch_size,
                "unproved": unproved,
            }
            said["counts"] = joined
        options.print_json(said)
        return

    print_table(
        ("model", "steps", "task", "problems", "accuracy", "most frequent", "least frequent", "gap"),
        [
            (
                result.model,
                result.steps,
                result.task,
                result.problems,
                float(result.accuracy),
                *(result.most, result.least, result.gap),
            )
            for result in results
        ],
    )
    for unnamed in unproved:
        if frequencies is not None:
            click.echo(f"{unnamed}: does not record what it has read; joined with {frequencies.describe()}")
