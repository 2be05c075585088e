"""Text of sequences: all of it, around a span of tokens, and the tokens that characters are of."""

from bisect import bisect_right
from itertools import accumulate

from pile_tools.algorithms.array_types import Tokens
from pile_tools.lookups.patterns import check_ids
from pile_tools.stream.parts import Part

__all__ = ["Texts", "byte_places"]


class Texts:
    """The texts of sequences of a part; as its tokenizer decodes them, U+FFFD for halves of characters."""

    def __init__(self, part: Part) -> None:
        from pile_tools.formats.token_texts import byte_level_tokens, fallback_bytes

        self._part = part
        self._tokenizer, self._max_id = part.tokenizer()
        self._bytes = byte_level_tokens(self._tokenizer, self._max_id + 1)
        self._fallback = fallback_bytes(self._tokenizer)

    def text(self, tokens: Tokens) -> str:
        """Return the text; DataError for a token beyond the tokenizer."""
        check_ids(self._part, tokens, self._max_id)
        if self._bytes is None:
            return str(self._tokenizer.decode(tokens.tolist(), skip_special_tokens=False))
        return self._joined(tokens).decode(errors="replace")

    def _joined(self, tokens: Tokens) -> bytes:
        table = self._bytes or []
        return b"".join([table[token] for token in tokens.tolist()])

    def around(
        self, tokens: Tokens, position: int, n_tokens: int, span: tuple[int, int | None], context: int
    ) -> tuple[str, str, str]:
        """Return the texts before, in and after the match that begins ``span[0]`` bytes into a token.

        That is token ``position``; ``span[1]`` is its length in bytes, None for ``n_tokens`` whole tokens.
        Before and after have up to ``context`` characters.
        """
        end = position + n_tokens
        if self._bytes is None:
            before, match, after = (
                self.text(part) for part in (tokens[:position], tokens[position:end], tokens[end:])
            )
            return before[len(before) - min(context, len(before)) :], match, after[:context]
        check_ids(self._part, tokens, self._max_id)
        # A character has up to four bytes: these tokens hold the context, and what is cut lies before it.
        reach = 4 * context + 4
        inner = self._joined(tokens[position:end])
        skip, length = span
        stop = len(inner) if length is None else skip + length
        before_bytes = self._joined(tokens[max(0, position - reach) : position]) + inner[:skip]
        before = before_bytes.decode(errors="replace")
        after = (inner[stop:] + self._joined(tokens[end : end + reach])).decode(errors="replace")
        match = inner[skip:stop].decode(errors="replace")
        return before[len(before) - min(context, len(before)) :], match, after[:context]

    def span(self, tokens: Tokens, text: str, start: int, stop: int) -> tuple[int, int]:
        """Return the first token that characters [start, stop) of the text touch, and how many they do."""
        if self._bytes is None:
            ids = tokens.tolist()
            first, last = self._tokens_of(ids, start)[0], self._tokens_of(ids, stop - 1)[1]
        else:
            ends = list(accumulate(len(self._bytes[token]) for token in tokens.tolist()))
            begin, end = byte_places(self._joined(tokens), text, (start, stop))
            first, last = bisect_right(ends, begin), bisect_right(ends, end - 1)
        return first, last - first + 1

    def _tokens_of(self, ids: list[int], character: int) -> tuple[int, int]:
        """Return the first and the last token that make a character of the decoded text."""

        def decoded(count: int) -> int:
            return len(self._tokenizer.decode(ids[:count], skip_special_tokens=False))

        # A run of bytes is decoded as one: the text up to a place inside of it begins no longer text.
        is_byte = [token in self._fallback for token in ids]
        cuts = [
            0,
            *(count for count in range(1, len(ids)) if not (is_byte[count - 1] and is_byte[count])),
            len(ids),
        ]
        run = bisect_right(cuts, character, key=decoded)
        begin, end = cuts[run - 1 : run + 1]
        if not is_byte[begin]:
            return begin, begin
        content = bytes(self._fallback[token] for token in ids[begin:end])
        try:
            sizes = [len(one.encode()) for one in content.decode()]
        except UnicodeDecodeError:
            sizes = [1] * len(content)
        # Of the first run of a sequence a decoder may strip a space.
        stripped = len(sizes) - (decoded(end) - decoded(begin))
        place = stripped + character - decoded(begin)
        first = begin + sum(sizes[:place])
        return first, first + sizes[place] - 1


def byte_places(content: bytes, text: str, characters: tuple[int, ...]) -> list[int]:
    """Return the bytes of ``content`` at which characters of its decoded ``text`` begin."""
    replaced: list[tuple[int, int]] = []  # characters that stand for invalid bytes, and how many bytes
    done = count = 0
    while done < len(content):
        try:
            content[done:].decode()
            break
        except UnicodeDecodeError as error:
            count += len(content[done : done + error.start].decode())
            replaced.append((count, error.end - error.start))
            count += 1
            done += error.end
    return [
        len(text[:character].encode()) - sum(3 - size for place, size in replaced if place < character)
        for character in characters
    ]
