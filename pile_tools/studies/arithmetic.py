"""Arithmetic by term frequency: does a model add and multiply the numbers better that it has read more often?

The tasks are those of Biderman et al. 2023 (after Razeghi et al. 2022): "What is x₁ plus x₂?" and "What is
x₁ times x₂?", x₁ from 0 to 99 and x₂ from 1 to 50, after k solved examples. An answer is right when the
model's greedy continuation begins with the right number.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from pile_tools.errors import MismatchError, ParameterError
from pile_tools.formats.tokenizer import TokenizerFile
from pile_tools.studies.models import CausalModel

__all__ = ["OPERAND_ONE", "OPERAND_TWO", "TASKS", "Answer", "Problem", "answer_problems", "make_problems"]

OPERAND_ONE: Final = range(100)
OPERAND_TWO: Final = range(1, 51)
TASKS: Final[dict[str, tuple[str, Callable[[int, int], int]]]] = {
    "addition": ("plus", lambda one, two: one + two),
    "multiplication": ("times", lambda one, two: one * two),
}
_NUMBER: Final = re.compile(r"\s*(\d+)")


@dataclass(frozen=True, slots=True)
class Problem:
    """One question of a task: its operands, the answer, and the whole prompt with the examples before it."""

    task: str
    x1: int
    x2: int
    answer: int
    prompt: str


@dataclass(frozen=True, slots=True)
class Answer:
    """A problem and the ``text`` that the model goes on with."""

    problem: Problem
    text: str

    @property
    def is_right(self) -> bool:
        match = _NUMBER.match(self.text)
        return match is not None and match[1] == str(self.problem.answer)


def make_problems(
    task: str,
    *,
    shots: int,
    seed: int = 1234,
    x1: Sequence[int] = OPERAND_ONE,
    x2: Sequence[int] = OPERAND_TWO,
) -> list[Problem]:
    """Return the problems of ``task`` for all pairs of ``x1`` and ``x2``, each after ``shots`` examples.

    The examples are other pairs of the task's whole table, drawn without repetition from
    ``numpy.random.RandomState(seed)``, anew for each problem in order. Raises ParameterError for a task that
    is not there or more examples than there are.
    """
    if task not in TASKS:
        raise ParameterError(f"task {task!r} is none of {', '.join(TASKS)}")
    table = [(one, two) for one in OPERAND_ONE for two in OPERAND_TWO]
    if not 0 <= shots < len(table):
        raise ParameterError(f"{shots} examples: from 0 to {len(table) - 1} can be given")
    word, solve = TASKS[task]
    generator = np.random.RandomState(seed)
    problems = []
    for one in x1:
        for two in x2:
            drawn = [table[place] for place in generator.choice(len(table), shots + 1, replace=False)]
            examples = [pair for pair in drawn if pair != (one, two)][:shots]
            lines = [f"Q:What is {a} {word} {b}? A:{solve(a, b)}\n" for a, b in examples]
            prompt = "".join(lines) + f"Q:What is {one} {word} {two}? A:"
            problems.append(Problem(task, one, two, solve(one, two), prompt))
    return problems


def answer_problems(
    model: CausalModel,
    tokenizer: TokenizerFile,
    problems: Sequence[Problem],
    *,
    model_batch_size: int = 64,
    progress: Callable[[int], None] = lambda done: None,
) -> Iterator[Answer]:
    """Let ``model`` answer, in the order of ``problems``.

    Prompts of one length are computed together, so that none needs padding. As many tokens are generated as
    the longest right answer has, and one more, which shows where the number ends. Raises DataError where the
    tokenizer has ids that the model does not know.
    """
    if tokenizer.max_id >= model.vocab:
        raise MismatchError(
            f"{tokenizer.path}: ids up to {tokenizer.max_id}, but the vocabulary of {model.name} has "
            f"{model.vocab}; give the tokenizer that the model was trained with"
        )
    loaded = tokenizer.load()
    prompts = [ids.ids for ids in loaded.encode_batch([p.prompt for p in problems], add_special_tokens=False)]
    length = 1 + max(len(loaded.encode(f" {p.answer}", add_special_tokens=False).ids) for p in problems)
    by_length: dict[int, list[int]] = defaultdict(list)
    for place, ids in enumerate(prompts):
        by_length[len(ids)].append(place)
    texts: dict[int, str] = {}
    for places in by_length.values():
        for first in range(0, len(places), model_batch_size):
            here = places[first : first + model_batch_size]
            window = np.array([prompts[place] for place in here], np.int64)
            model.check_length(window.shape[1] + length)
            for place, ids in zip(here, model.greedy(window, length).tolist(), strict=True):
                # Decoded after the prompt's last token: some tokenizers drop a leading space.
                before = loaded.decode(prompts[place][-1:], skip_special_tokens=False)
                both = loaded.decode([*prompts[place][-1:], *ids], skip_special_tokens=False)
                texts[place] = both[len(before) :]
            progress(len(texts))
    for place, problem in enumerate(problems):
        yield Answer(problem, texts[place])
