"""A checkpoint runs in lm-evaluation-harness, on a task whose data is a local file."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from tests.studies.small import make_own

PAGE = Path(__file__).parents[2] / "docs/studies/evaluation.md"


@pytest.mark.slow
def test_a_checkpoint_is_evaluated(tmp_path: Path) -> None:
    pytest.importorskip("lm_eval")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        special_tokens=["<|endoftext|>"], initial_alphabet=alphabet, vocab_size=260, show_progress=False
    )
    tokenizer.train_from_iterator(["two and two"], trainer)
    (tmp_path / "words").mkdir()
    tokenizer.save(str(tmp_path / "words/tokenizer.json"))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|endoftext|>"}
    (tmp_path / "words/tokenizer_config.json").write_text(json.dumps(settings))
    make_own(tmp_path / "step8", vocab=260)
    questions = [
        {"question": f"{n} + {n} =", "choices": [f" {2 * n}", f" {n}"], "answer": 0} for n in range(6)
    ]
    (tmp_path / "data.jsonl").write_text("".join(json.dumps(question) + "\n" for question in questions))
    lines = PAGE.read_text().split("task: local_file")[1].split("\n")
    task = "task: local_file\n" + "\n".join(line.strip() for line in lines)
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks/local_file.yaml").write_text(task)
    command = [sys.executable, "-m", "lm_eval", "--model", "hf", "--tasks", "local_file", "--device", "cpu"]
    command += ["--model_args", f"pretrained={tmp_path / 'step8'},tokenizer={tmp_path / 'words'}"]
    command += ["--include_path", str(tmp_path / "tasks"), "--output_path", str(tmp_path / "out.json")]
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env=os.environ | {"HF_HOME": str(tmp_path / "hub"), "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    [found] = tmp_path.rglob("out*.json")
    result = json.loads(found.read_text())["results"]["local_file"]
    accuracy = result["acc,none"]
    assert 0 <= accuracy <= 1
    assert math.isclose(accuracy * 6, round(accuracy * 6), abs_tol=1e-9)
