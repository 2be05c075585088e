"""Characters that the running Python's Unicode and the frozen one both know."""

import sys
import unicodedata

from hypothesis import strategies as st

# What Unicode 15.1 added: the only later version among the Pythons that are tested.
NEWER = {*range(0x2EBF0, 0x2EE5E), *range(0x2FFC, 0x3000), 0x31EF}

KNOWN = [
    code
    for code in range(sys.maxunicode + 1)
    if unicodedata.category(chr(code)) not in ("Cn", "Cs") and code not in NEWER
]

characters = st.characters(
    exclude_categories=("Cn", "Cs"), exclude_characters="".join(map(chr, sorted(NEWER)))
)
texts = st.text(characters)
# Where normalisation and words have their borders: marks of several classes, Hangul, composites, exclusions.
BORDERS = (
    "aZ_9 -éßİςΣσ漢ひーかカ\u0301\u0327\u0338\u0345\u0344\u093f\u093c\u0903\u0bcd\u0bc6\u0bbe"
    "\u20dd\u3099\ufe0f\U000e0100क\u0958\u200d\x00ﬁ½㎏ẛſÅΩ=\u1100\u1161\u11a8가각\u0e33\u0644\u064b\u0651\U0001d15e\ufdfa"
)
border_texts = st.text(alphabet=BORDERS, max_size=14)
