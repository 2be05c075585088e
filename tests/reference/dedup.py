"""Slow oracles for deduplication: Python strings, sets and fractions, and every pair compared."""

import re
import unicodedata
from collections.abc import Sequence
from fractions import Fraction

MASK64 = (1 << 64) - 1
MASK32 = (1 << 32) - 1

# The scripts Han, Hiragana and Katakana as ranges of code points (Unicode's Scripts.txt, with the marks
# that Script_Extensions adds to them), for characters that match \w.
SINGLE = re.compile(
    "[\u3005-\u3007\u3021-\u3029\u3031-\u3035\u3038-\u303c\u3041-\u3096\u309d-\u309f\u30a1-\u30fa"
    "\u30fc-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f"
    "\U0001aff0-\U0001affe\U0001b000-\U0001b167\U00020000-\U0003ffff]"
)


def words(text: str, form: str = "nfc") -> list[str]:
    """Words, character by character: letters, digits and "_", and marks after one."""
    found: list[str] = []
    before = ""  # the character that the last word's marks are on, "" where no word is open
    for character in text if form == "none" else unicodedata.normalize(form.upper(), text):
        if unicodedata.category(character).startswith("M"):
            if before:
                found[-1] += character
            continue
        if not (character.isalnum() or character == "_"):
            before = ""
            continue
        if not before or SINGLE.match(before) or SINGLE.match(character):
            found.append("")
        found[-1] += {"ς": "σ"}.get(character, character.lower()[0])
        before = character
    return found


def shingles(text: str, n: int, form: str = "nfc") -> set[tuple[str, ...]]:
    found = words(text, form)
    if not found:
        return set()
    if len(found) < n:
        return {tuple(found)}
    return {tuple(found[i : i + n]) for i in range(len(found) - n + 1)}


def similarity(one: set[tuple[str, ...]], two: set[tuple[str, ...]]) -> Fraction:
    return Fraction(len(one & two), len(one | two)) if one and two else Fraction(0)


def fmix64(h: int) -> int:
    h ^= h >> 33
    h = h * 0xFF51AFD7ED558CCD & MASK64
    h ^= h >> 33
    h = h * 0xC4CEB9FE1A85EC53 & MASK64
    return h ^ h >> 33


def fmix32(h: int) -> int:
    h ^= h >> 16
    h = h * 0x85EBCA6B & MASK32
    h ^= h >> 13
    h = h * 0xC2B2AE35 & MASK32
    return h ^ h >> 16


def word_hash(word: str) -> int:
    h = 0x5851F42D4C957F2D
    for character in word:
        h = (h ^ ord(character)) * 0x9E3779B97F4A7C15 & MASK64
        h ^= h >> 32
    return fmix64(h)


def shingle_hash(shingle: Sequence[str]) -> int:
    total = 0
    for word in shingle:
        total = (total * 0xD6E8FEB86659FD93 + word_hash(word)) & MASK64
    return fmix64(total)


def components(texts: Sequence[str], threshold: float, n: int) -> list[list[int]]:
    """Components of the graph of all pairs at or above the threshold, without single documents."""
    sets = [shingles(text, n) for text in texts]
    neighbours: dict[int, set[int]] = {i: set() for i in range(len(texts))}
    for i, one in enumerate(sets):
        for j in range(i):
            if one and sets[j] and float(similarity(one, sets[j])) >= threshold:
                neighbours[i].add(j)
                neighbours[j].add(i)
    return graph_components(neighbours)


def graph_components(neighbours: dict[int, set[int]]) -> list[list[int]]:
    seen: set[int] = set()
    found = []
    for start in sorted(neighbours):
        if start in seen:
            continue
        stack, component = [start], []
        seen.add(start)
        while stack:
            node = stack.pop()
            component.append(node)
            for other in neighbours[node] - seen:
                seen.add(other)
                stack.append(other)
        if len(component) > 1:
            found.append(sorted(component))
    return found


def partner(texts: Sequence[str], component: Sequence[int], kept: int, document: int, least: float) -> int:
    """The partner of a removed ``document`` of a component, whose numbers ascend, as unigrams have it."""
    sets = {other: shingles(texts[other], 1) for other in component}
    if float(similarity(sets[document], sets[kept])) >= least:
        return kept
    others = [other for other in component if other != document]
    same = [other for other in others if words(texts[other]) == words(texts[document])]
    return max(same or others, key=lambda other: (similarity(sets[document], sets[other]), -other))
