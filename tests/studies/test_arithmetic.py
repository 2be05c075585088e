import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from pile_tools.errors import DataError, ParameterError, PileToolsError
from pile_tools.formats.tokenizer import read_tokenizer
from pile_tools.studies.arithmetic import Answer, answer_problems, make_problems
from pile_tools.studies.model_name import ModelName
from pile_tools.studies.models import open_model
from pile_tools.studies.term_frequency import Frequencies, answers_table, plot_frequency, summarise
from tests.studies.small import make_own


def test_problems_are_the_whole_table_after_other_examples() -> None:
    problems = make_problems("multiplication", shots=3)
    assert len(problems) == 5000
    assert len({(p.x1, p.x2) for p in problems}) == 5000
    for problem in problems[::97]:
        *examples, question = problem.prompt.split("\n")
        assert question == f"Q:What is {problem.x1} times {problem.x2}? A:"
        assert problem.answer == problem.x1 * problem.x2
        assert len(set(examples)) == 3
        assert not any(f"is {problem.x1} times {problem.x2}?" in example for example in examples)
        for example in examples:
            one, two, answer = re.findall(r"\d+", example)
            assert int(one) * int(two) == int(answer)
    assert problems == make_problems("multiplication", shots=3)
    assert make_problems("addition", shots=0, x1=[4], x2=[9])[0].answer == 13
    with pytest.raises(ParameterError, match="task 'division'"):
        make_problems("division", shots=1)


def test_an_answer_is_right_when_its_number_is() -> None:
    problem = make_problems("addition", shots=0, x1=[4], x2=[9])[0]
    texts = {
        " 13\n": True,
        "13": True,
        " 13 or so": True,
        " 134": False,
        " 1": False,
        "": False,
        " x13": False,
    }
    assert {text: Answer(problem, text).is_right for text in texts} == texts


def test_answers_are_the_models_and_in_order(tmp_path: Path) -> None:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(
        ["What is plus"], trainers.BpeTrainer(initial_alphabet=alphabet, vocab_size=262, show_progress=False)
    )
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    found = read_tokenizer(str(tmp_path))
    model = open_model(ModelName(str(make_own(tmp_path / "step7", vocab=262))))
    problems = make_problems("addition", shots=1, x1=range(12), x2=[3, 44])
    answers = list(answer_problems(model, found, problems, model_batch_size=5))
    assert [answer.problem for answer in answers] == problems
    for answer in answers[::5]:
        ids = np.array([tokenizer.encode(answer.problem.prompt).ids])
        continuation = model.greedy(ids, 4)[0].tolist()
        assert answer.text == tokenizer.decode(continuation)
    small = open_model(ModelName(str(make_own(tmp_path / "small", vocab=200))))
    with pytest.raises(DataError, match="ids up to 261, but the vocabulary"):
        next(answer_problems(small, found, problems))


def test_the_gap_is_that_of_the_tenths_by_count(tmp_path: Path) -> None:
    problems = make_problems("addition", shots=0, x2=[1, 2])
    # The twenty operands that end in 7 or 8 were read most often; answers are right for those that end in 7.
    counts = {n: 1000 + n if n % 10 == 7 else n for n in range(100)}
    table = {
        "checkpoint": [step for step in (50, 100) for _ in range(100)],
        "term": [str(n) for n in range(100)] * 2,
        "count": [counts[n] * step for step in (50, 100) for n in range(100)],
    }
    pq.write_table(pa.table(table), tmp_path / "counts.parquet")
    frequencies = Frequencies(tmp_path / "counts.parquet")
    answers = [Answer(p, f" {p.answer}" if p.x1 % 10 == 7 and p.x2 == 1 else " no") for p in problems]
    result = summarise("run/step100", 100, answers, frequencies)
    assert (result.accuracy, result.most, result.least, result.gap) == (0.05, 0.5, 0.0, 0.5)
    assert result.operands[7] == (7, 100_700, 0.5)
    plot_frequency([result], tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")
    assert answers_table("m", 100, answers).column("is_right").to_pylist().count(True) == 10
    assert summarise("m", None, answers, None).gap is None
    with pytest.raises(ParameterError, match=r"no checkpoint 70 \(it has 50, 100, …\)"):
        summarise("m", 70, answers, frequencies)
    with pytest.raises(ParameterError, match="does not say how many steps"):
        summarise("m", None, answers, frequencies)
    pq.write_table(pa.table({"term": ["1"]}), tmp_path / "other.parquet")
    with pytest.raises(DataError, match="no column 'checkpoint'"):
        Frequencies(tmp_path / "other.parquet")
    with pytest.raises(PileToolsError, match="no such file"):
        Frequencies(tmp_path / "none.parquet")
