"""Fonts for letters that DejaVu Sans lacks. An installed font is found automatically; otherwise a warning is logged.

All other letters stay in DejaVu Sans, which comes with matplotlib, so figures look the same on every machine.
"""

from __future__ import annotations

import logging
import unicodedata
from collections.abc import Iterable
from functools import cache

from matplotlib.artist import Artist
from matplotlib.font_manager import FontEntry, FontProperties, findfont, fontManager, get_font
from matplotlib.text import Text

log = logging.getLogger(__name__)

USUAL = "DejaVu Sans"
_PREFERRED = ("Noto Sans", "Source Han Sans", "IPA", "WenQuanYi", "Arial Unicode", "Unifont")
"""First words of preferred font families: sans serif fonts with many scripts."""
_NEVER = ("Last Resort", "cm", "STIXNonUnicode", "STIXSize")
"""Fonts of boxes instead of letters, and of formulas whose code points are not Unicode's."""


def lacking(text: str) -> str:
    """Return the letters of ``text`` that no installed font has, each once."""
    return "".join(letter for letter in dict.fromkeys(text) if _family_of(letter) is None)


def stand_in(text: str) -> str:
    """Return ``text`` with letters of the default font that are about as wide, for measuring."""
    return text if text.isascii() else "".join(letter if _family_of(letter) == USUAL else "M" for letter in text)


def fit(figure: Artist) -> None:
    """Give every text of ``figure`` fonts with all its letters. A letter in no font becomes ``?`` and is logged."""
    gone: dict[str, None] = {}
    for text in figure.findobj(Text):
        assert isinstance(text, Text)
        said = text.get_text()
        if said.isascii():
            continue
        families = {_family_of(letter): None for letter in said}
        if None in families:
            gone |= dict.fromkeys(lacking(said))
            text.set_text("".join(letter if _family_of(letter) else "?" for letter in said))
        others = [family for family in families if family not in (None, USUAL)]
        if others:
            text.set_fontfamily([USUAL, *others])
    if gone:
        _tell(said_of(gone))


@cache
def _tell(what: str) -> None:
    """Log a message once per process."""
    log.warning("figures: %s", what)


def said_of(letters: Iterable[str]) -> str:
    """Return a message about missing letters that needs no such font."""
    shown = list(letters)
    names = ", ".join(f"U+{ord(letter):04X} {unicodedata.name(letter, '')}".strip() for letter in shown[:3])
    more = f" and {len(shown) - 3} more" if len(shown) > 3 else ""
    return f"no installed font has {names}{more}. Install one of that script, e.g. Noto Sans."


@cache
def _family_of(letter: str) -> str | None:
    """Return the font family for ``letter``: the default if it has it, else the first installed one.

    None if none has it.
    """
    if letter.isspace() or ord(letter) in _letters(findfont(FontProperties(family=[USUAL]))):
        return USUAL
    return next((font.name for font in _installed() if ord(letter) in _letters(font.fname)), None)


@cache
def _installed() -> tuple[FontEntry, ...]:
    """Return one upright font per family, preferred ones first, else by name."""
    upright = [
        font
        for font in fontManager.ttflist
        if font.style == "normal" and str(font.weight) in ("400", "normal") and not font.name.startswith(_NEVER)
    ]

    def order(font: FontEntry) -> tuple[int, str, str]:
        ranks = (rank for rank, start in enumerate(_PREFERRED) if font.name.startswith(start))
        return next(ranks, len(_PREFERRED)), font.name, font.fname

    return tuple({font.name: font for font in sorted(upright, key=order)}.values())


@cache
def _letters(path: str) -> frozenset[int]:
    """Return the code points of a font file."""
    try:
        return frozenset(get_font(path).get_charmap())
    except (OSError, RuntimeError):  # gone or damaged since matplotlib listed it
        return frozenset()
