"""The one repair that text gets: U+FFFD for what is no character."""

__all__ = ["repair_utf8", "replace_surrogates"]


def repair_utf8(data: bytes) -> tuple[str, int]:
    """Decode UTF-8 with U+FFFD for every invalid sequence; also return how many were put in."""
    text = data.decode("utf-8", "replace")
    return text, text.count("\ufffd") - data.count(b"\xef\xbf\xbd")


def replace_surrogates(text: str) -> str:
    """Put U+FFFD for each lone surrogate; a pair of halves becomes the character that they stand for."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text
