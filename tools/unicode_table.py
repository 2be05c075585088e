"""Generator of the frozen Unicode table, for a Python whose `unicodedata` is of that version (3.12 has 15.0).

    python3.12 tools/unicode_table.py            writes pile_tools/algorithms/unicode_15.tsv
    python3.12 tools/unicode_table.py --check    compares the file with what would be written

Words, lowering and normalisation are then the same under every Python. What was written is read again and
compared with `unicodedata` at every code point.
"""

import re
import sys
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path

VERSION = "15.0.0"
PATH = Path(__file__).parents[1] / "pile_tools/algorithms/unicode_15.tsv"
SURROGATES = range(0xD800, 0xE000)
HANGUL_SYLLABLES = range(0xAC00, 0xD7A4)

# Word characters whose script (or one of whose scripts) is Han, Hiragana or Katakana, by the
# beginnings of their Unicode names.
SINGLE_NAMES = (
    "CJK COMPATIBILITY IDEOGRAPH-",
    "CJK UNIFIED IDEOGRAPH-",
    "HALFWIDTH KATAKANA",
    "HANGZHOU NUMERAL",
    "HENTAIGANA ",
    "HIRAGANA ",
    "IDEOGRAPHIC CLOSING MARK",
    "IDEOGRAPHIC ITERATION MARK",
    "IDEOGRAPHIC NUMBER ZERO",
    "KATAKANA ",
    "KATAKANA-HIRAGANA ",
    "MASU MARK",
    "VERTICAL IDEOGRAPHIC ITERATION MARK",
    "VERTICAL KANA REPEAT ",
)

HEAD = f"""\
# Unicode {VERSION} for words and normalisation; written by tools/unicode_table.py, not to be edited.
# CODES is one code point or FIRST-LAST.
# kind CODES KIND             word: \\w; single: \\w, a word alone; mark: combining mark
# lower CODES STEP TARGET     what FIRST, FIRST + STEP, ... are lowered to: TARGET, TARGET + STEP, ...
# class CODES CLASS           canonical combining class, where not 0
# canonical CODES TARGET...   decomposition; of a range, TARGET, TARGET + 1, ...
# compatible CODES TARGET...  the same, of compatibility
# excluded CODES              canonical pairs that are not composed
"""


def codes() -> Iterator[int]:
    return (code for code in range(sys.maxunicode + 1) if code not in SURROGATES)


def kind(code: int) -> str:
    character = chr(code)
    if re.match(r"\w", character):
        return "single" if unicodedata.name(character, "").startswith(SINGLE_NAMES) else "word"
    return "mark" if unicodedata.category(character)[0] == "M" else ""


def lowered(code: int) -> int:
    """The first character of ``str.lower``, and σ for ς."""
    return ord("σ") if code == ord("ς") else ord(chr(code).lower()[0])


def decomposition(code: int) -> tuple[str, list[int]]:
    fields = unicodedata.decomposition(chr(code)).split()
    if fields and fields[0].startswith("<"):
        return "compatible", [int(field, 16) for field in fields[1:]]
    return "canonical", [int(field, 16) for field in fields]


def is_excluded(code: int) -> bool:
    """Whether a canonical decomposition into two is not undone by composition."""
    tag, targets = decomposition(code)
    pair = tag == "canonical" and len(targets) == 2
    return pair and unicodedata.normalize("NFC", chr(code)) != chr(code)


def ranges(value_of: Callable[[int], object]) -> Iterator[tuple[int, int, object]]:
    """Runs of code points with one value that is not empty."""
    first, last, value = -1, -2, None
    for code in codes():
        here = value_of(code)
        if here != value or code != last + 1:
            if value:
                yield first, last, value
            first, value = code, here
        last = code
    if value:
        yield first, last, value


def lower_runs() -> Iterator[tuple[int, int, int, int]]:
    """Runs (first, last, step, target) of lowered characters; a step of 2 where cases alternate."""
    left = {code: lowered(code) for code in codes() if kind(code) and lowered(code) != code}
    while left:
        first = min(left)
        lengths = dict.fromkeys((1, 2), 1)
        for step in lengths:
            while left.get(first + step * lengths[step]) == left[first] + step * lengths[step]:
                lengths[step] += 1
        step = max(lengths, key=lambda step: lengths[step])
        last = first + step * (lengths[step] - 1)
        yield first, last, step, left[first]
        for code in range(first, last + 1, step):
            del left[code]


def decompositions() -> Iterator[tuple[str, int, int, list[int]]]:
    """Runs (tag, first, last, targets); only single targets make longer ones."""
    run: tuple[str, int, int, list[int]] | None = None
    for code in codes():
        tag, targets = decomposition(code)
        if not targets or code in HANGUL_SYLLABLES:
            continue
        if run and len(targets) == 1 and (tag, code, targets) == (
            run[0], run[2] + 1, [run[3][0] + code - run[1]]
        ) and len(run[3]) == 1:  # fmt: skip
            run = (tag, run[1], code, run[3])
            continue
        if run:
            yield run
        run = (tag, code, code, targets)
    if run:
        yield run


def span(first: int, last: int) -> str:
    return f"{first:04X}" if first == last else f"{first:04X}-{last:04X}"


def table() -> str:
    lines = [("kind", span(first, last), str(value)) for first, last, value in ranges(kind)]
    lines += [
        ("lower", span(first, last), str(step), f"{target:04X}") for first, last, step, target in lower_runs()
    ]
    lines += [
        ("class", span(first, last), str(value))
        for first, last, value in ranges(lambda code: unicodedata.combining(chr(code)))
    ]
    lines += [
        (tag, span(first, last), *(f"{target:04X}" for target in targets))
        for tag, first, last, targets in decompositions()
    ]
    lines += [("excluded", span(first, last)) for first, last, _ in ranges(is_excluded)]
    return HEAD + "".join("\t".join(line) + "\n" for line in lines)


def check(content: str) -> None:
    """Compare ``content``, read by itself, with `unicodedata` at every code point."""
    kinds: dict[int, str] = {}
    lower: dict[int, int] = {}
    classes: dict[int, int] = {}
    mappings: dict[int, tuple[str, list[int]]] = {}
    for line in content.splitlines():
        if line.startswith("#"):
            continue
        tag, *fields = line.split("\t")
        if tag == "excluded":
            continue
        bounds = [int(bound, 16) for bound in fields[0].split("-")]
        first, last = bounds[0], bounds[-1]
        for code in range(first, last + 1):
            if tag == "kind":
                kinds[code] = fields[1]
            elif tag == "class":
                classes[code] = int(fields[1])
            elif tag == "lower" and (code - first) % int(fields[1]) == 0:
                lower[code] = int(fields[2], 16) + code - first
            elif tag in ("canonical", "compatible"):
                targets = [int(field, 16) for field in fields[1:]]
                mappings[code] = (tag, [targets[0] + code - first, *targets[1:]])
    for code in codes():
        assert kinds.get(code, "") == kind(code), hex(code)
        assert lower.get(code, code) == (lowered(code) if kind(code) else code), hex(code)
        assert classes.get(code, 0) == unicodedata.combining(chr(code)), hex(code)
        if code not in HANGUL_SYLLABLES:
            assert mappings.get(code, ("canonical", [])) == decomposition(code), hex(code)
        # What the word scanner and the kernels rely on.
        assert not classes.get(code, 0) or kinds.get(code) == "mark", hex(code)
        assert kinds.get(lower.get(code, code), "") == kinds.get(code, ""), hex(code)


def main() -> None:
    if unicodedata.unidata_version != VERSION:
        raise SystemExit(
            f"Unicode {unicodedata.unidata_version} is this Python's; run it by one with {VERSION} (3.12)"
        )
    content = table()
    check(content)
    if sys.argv[1:] == ["--check"]:
        if PATH.read_text() != content:
            raise SystemExit(f"{PATH}: not what this script writes; run it without --check")
    else:
        PATH.write_text(content)


if __name__ == "__main__":
    main()
