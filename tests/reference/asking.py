"""What the lookups must answer, token by token."""

from collections import Counter

from tests.reference.dedup import words


def sample_tokens(sizes: list[int], doc_idx: list[int], seq_length: int) -> list[list[tuple[int, int]]]:
    """For each sample the (place in doc_idx, offset in the document) of each of its tokens."""
    tokens = [(place, offset) for place, number in enumerate(doc_idx) for offset in range(sizes[number])]
    samples = (len(tokens) - 1) // seq_length
    return [tokens[sample * seq_length : (sample + 1) * seq_length + 1] for sample in range(samples)]


def token_matches(tokens: list[int], pattern: list[int]) -> list[int]:
    """Where ``pattern`` begins in ``tokens``; matches may overlap."""
    return [start for start in range(len(tokens)) if tokens[start : start + len(pattern)] == pattern]


def text_matches(tokens: list[bytes], pattern: bytes) -> list[tuple[int, int, int]]:
    """(first token, tokens touched, bytes of the first before it) of ``pattern`` in the joined tokens."""
    owner = [number for number, token in enumerate(tokens) for _ in token]
    text = b"".join(tokens)
    found = []
    start = text.find(pattern)
    while start >= 0:
        first, last = owner[start], owner[start + len(pattern) - 1]
        found.append((first, last - first + 1, start - owner.index(first)))
        start = text.find(pattern, start + 1)
    return found


def term_counts(
    words: list[str], terms: list[list[str]], window: int
) -> tuple[Counter[int], Counter[tuple[int, int]]]:
    """Occurrences of each term, and of each two that do not overlap within ``window`` words."""
    met = [
        (number, start, start + len(term) - 1)
        for number, term in enumerate(terms)
        for start in range(len(words))
        if words[start : start + len(term)] == term
    ]
    pairs = Counter(
        (min(one[0], two[0]), max(one[0], two[0]))
        for place, one in enumerate(met)
        for two in met[place + 1 :]
        if max(one[1], two[1]) > min(one[2], two[2])
        and max(one[2], two[2]) - min(one[1], two[1]) + 1 <= window
    )
    return Counter(number for number, _, _ in met), pairs


def term_words(text: str) -> list[str]:
    """The words of terms: those of the text as it is."""
    return words(text, "none")
