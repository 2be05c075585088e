import dataclasses
import json
import re
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from pile_tools_cli.main import run
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from pile_tools.errors import DataError, ParameterError
from pile_tools.formats.tokenizer import read_tokenizer
from pile_tools.stages.order.order import make_order
from pile_tools.stages.tokenize.tokenize import tokenize
from pile_tools.studies.arithmetic import Answer, answer_problems, make_problems
from pile_tools.studies.model_name import ModelName
from pile_tools.studies.models import open_model
from pile_tools.train.record import DataRecord, Segment, Stream
from pile_tools.viewer import BatchViewer
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


@pytest.mark.slow
def test_count_then_arithmetic(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What `count` writes, pairs of terms and all, `arithmetic` joins; counts are those of the text."""
    numbers = np.random.RandomState(3).geometric(0.05, 3000) % 100
    texts = [" ".join(map(str, numbers[start : start + 30])) for start in range(0, 3000, 30)]
    (tmp_path / "corpus.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        special_tokens=["<|endoftext|>"],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        vocab_size=300,
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    data = tmp_path / "tokens"
    tokenize([tmp_path / "corpus.jsonl"], data, tokenizer=str(tmp_path / "tokenizer.json"), workers=1)
    make_order(data, seq_length=32, batch_size=4, steps=9)
    (tmp_path / "terms.txt").write_text("".join(f"{n}\n" for n in range(100)))
    counted = ["terms", "--data", data, "--terms", tmp_path / "terms.txt", "--every", 4, "--window", 5]
    assert run([*map(str, counted), "-o", str(tmp_path / "counts.parquet")]) == 0
    for step in (4, 8):
        make_own(tmp_path / f"run/step{step}", vocab=300, seed=step)
    asked = ["arithmetic", tmp_path / "run/step4", tmp_path / "run/step8", "--tokenizer", data]
    asked += ["--x2", 2, "--shots", 1, "--plot", tmp_path / "plot.png", "-o", tmp_path / "answers.parquet"]
    capsys.readouterr()
    assert run([*map(str, asked), "--counts", str(tmp_path / "counts.parquet"), "--json"]) == 0
    results = json.loads(capsys.readouterr().out)["results"]
    assert [(result["steps"], result["task"]) for result in results] == [
        (step, task) for step in (4, 8) for task in ("addition", "multiplication")
    ]
    viewer = BatchViewer.open(data)
    for result in results:
        words = [
            word
            for step in range(result["steps"])
            for row in range(4)
            for text in viewer.text(step, row).split("<|endoftext|>")
            for word in re.findall(r"\w+", text)
        ]
        expected = [[x1, words.count(str(x1))] for x1 in range(100)]
        assert [operand[:2] for operand in result["operands"]] == expected
        by_count = sorted(result["operands"], key=lambda operand: (operand[1], operand[0]))
        assert result["most"] == pytest.approx(np.mean([operand[2] for operand in by_count[-10:]]))
        assert result["gap"] == result["most"] - result["least"]
    assert pq.read_metadata(tmp_path / "answers.parquet").num_rows == 4 * 200
    # The models do not say what they have read: what was joined is said.
    shown = [*map(str, asked), "--counts", str(tmp_path / "counts.parquet")]
    assert run(shown) == 0
    said = capsys.readouterr().out
    assert said.count(f"joined with the stream {viewer.identity[:12]}… in batches of 4") == 2
    # One that does say it is joined with counts of just that.
    stream = Stream.of(viewer)
    others = {
        "another": dataclasses.replace(stream, identity="0" * 64),
        "larger": dataclasses.replace(stream, batch_size=2),
    }
    for name, other in {"same": stream, **others}.items():
        lineage = (Segment(stream, 0, 3), Segment(other, 3, 4, "0" * 64), Segment(others["another"], 4, 4))
        directory = make_own(tmp_path / name / "step4", vocab=300)
        for file, content in DataRecord(lineage, bytes(4 * 16)).to_files().items():
            (directory / file).write_bytes(content)
        assert run([shown[0], str(directory), *shown[3:]]) == (0 if name == "same" else 3)
        said = capsys.readouterr()
        assert "joined with" not in said.out
        if name != "same":
            assert f"but {directory} has read steps 3:4 of the stream {other.identity[:12]}…" in said.err
    bare = pq.read_table(tmp_path / "counts.parquet").replace_schema_metadata(None)
    pq.write_table(bare, tmp_path / "bare.parquet")
    assert run([shown[0], str(tmp_path / "same/step4"), *shown[3:-1], str(tmp_path / "bare.parquet")]) == 3
    assert "counts a stream that it does not name" in capsys.readouterr().err
    # Counts that do not begin with step 0 are not what a checkpoint has read.
    assert run([*map(str, counted), "--steps", "2:8", "-o", str(tmp_path / "later.parquet")]) == 0
    assert run([*map(str, asked), "--counts", str(tmp_path / "later.parquet")]) == 2
    assert "counts from step 2 on" in capsys.readouterr().err
