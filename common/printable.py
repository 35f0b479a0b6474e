"""Text of a dataset, made safe to print.

Titles, queries and ids come from logs. A terminal obeys what stands in them: an escape sequence
recolours or clears the screen or renames the window, a carriage return hides what came before it,
and marks of writing direction show a line in another order than it has. Source: ours.
"""

from __future__ import annotations

import unicodedata

# Controls, formats (writing direction, zero width), lone surrogates, line and paragraph separators.
_HIDDEN = ("Cc", "Cf", "Cs", "Zl", "Zp")
_JOINERS = "\u200c\u200d"  # of Persian and Indic words, and of emoji: they change nothing else


def printable(text: str, keep: str = "\n") -> str:
    r"""The text with what a terminal would obey or hide written out, as "\x1b" or "\u202e".

    keep: characters that stay as they are; "" for text that has to stay on one line
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        char
        if char in keep or char in _JOINERS or unicodedata.category(char) not in _HIDDEN
        else char.encode("unicode_escape", "backslashreplace").decode("ascii")
        for char in text
    )


def cut(text: str, longest: int) -> str:
    """The text; of one with more characters the first ones, and three dots."""
    return text if len(text) <= longest else text[:longest] + "..."
