"""Grounding check: a sentence may hold words of the facts, words that state nothing, and no others.

The vocabulary is closed. A word that is neither in the facts nor in :data:`NEUTRAL` has the sentence refused,
whatever it is: a title, a name, a number, a genre, praise. Titles count as wholes: their words are not in the
vocabulary, so that *stars* does not pass because of Star Trek. What is not checked is which of the facts'
words belongs to which; so the model is told no property of the item of the history but what both share.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from recserve_llm.explaining.facts import DEEDS, Facts


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


NEUTRAL = _words(
    """
    a an the this that these it its it's is are be as at by for from in into of on to with within
    and or but so then there here if because since while when which who why how what where therefore
    you you'd you'll you're you've your yours yourself we we've we'd our us i i'd may might can
    could will would should do does have has had let's also too well just only even more enjoy like
    love appeal appeals appealing interest interests interested interesting suit suits fit fits
    match matches prefer want try consider find think believe see explore check know recommend
    recommends recommended recommendation recommending suggest suggests suggested suggestion choice
    pick option based reason due including includes such another one other any some next out about
    both
    """
)
"""Words that state no fact. Past forms such as *liked* are not among them: what a user did is a fact."""

ALIKE = _words("similar similarly same share shares shared sharing common alike both")
"""Words that say that two things have something in common; they take a fact that says what."""

_NUMBER_WORDS = _words(
    """
    zero two three four five six seven eight nine ten eleven twelve twenty thirty forty fifty sixty
    seventy eighty ninety hundred thousand million first second third half double dozen
    """
)
_FEWEST_WORDS = 2
"""Of a sentence, beside its titles."""
_TOKEN = re.compile(r"[^\W_]+(?:['\u2019][^\W_]+)*")
_MARKUP = re.compile(r"[<>{}\[\]|`*#~=^@\\]|https?:|www\.|\s/\s|&\w+;")
_ENDED = re.compile(r"[.!?](?=\s)")
_QUOTED = re.compile(r"[\"\u201c\u201d]([^\"\u201c\u201d]*)[\"\u201c\u201d]")


def clean(text: str) -> str:
    """The sentence out of what a model wrote: its first line, without quotes around it, with a full stop."""
    first = next((line for line in text.splitlines() if line.strip()), "")
    line = " ".join(unicodedata.normalize("NFC", first).split()).removeprefix("Sentence:").strip()
    inner = line[1:-1]
    enclosed = len(line) > 1 and line[0] in "\"\u201c'" and line[-1] in "\"\u201d'"
    line = inner.strip() if enclosed and not _QUOTED.search(inner) else line
    return f"{line}." if line and (line[-1].isalnum() or line[-1] in '"\u201d') else line


def fault(
    sentence: str, facts: Facts, *, characters: int, nouns: Sequence[str], attributes: frozenset[str]
) -> str | None:
    """Why a sentence must not be shown, in one word; None if it may.

    Args:
        sentence: A cleaned sentence.
        facts: What may be said.
        characters: Longest sentence.
        nouns: What items are called.
        attributes: Words of attribute values of the catalogue, in lower case, to tell what was made up.

    Returns:
        ``form``, ``number``, ``title``, ``attribute``, ``word``, ``alike``, ``deed``, ``empty`` or None.
    """
    if not _well_formed(sentence, characters):
        return "form"
    titles = _titles(facts)
    known = _vocabulary(titles.sub(" ", _even(" ".join(facts.lines))))
    neutral = NEUTRAL | {form for noun in nouns for form in (noun.casefold(), f"{noun.casefold()}s")}
    neutral = neutral | ALIKE if facts.shared else neutral - ALIKE
    fold = _folded(sentence)
    given = _folded(" ".join((facts.title, facts.evidence, *facts.lines)))
    for title in _QUOTED.findall(fold):
        if " ".join(title.split()).strip(" .,!?") not in given:
            return "title"
    tokens = _TOKEN.findall(titles.sub(" ", _even(sentence)))
    opening = next(iter(_TOKEN.findall(_even(sentence))), "")
    for index, token in enumerate(tokens):
        word = _folded(token)
        if word in neutral or _is_known(word, known):
            continue
        if word in ALIKE:
            return "alike"
        if any(character.isdigit() for character in word) or word in _NUMBER_WORDS:
            return "number"
        if word in attributes:
            return "attribute"
        if token[0].isupper() and (index or token != opening):
            return "title"
        return "word"
    if _misstates_deed(fold, facts):
        return "deed"
    # A sentence about nothing is no explanation, nor are titles alone.
    return None if len(tokens) >= _FEWEST_WORDS and titles.search(_even(sentence)) else "empty"


def vocabulary_of(values: Sequence[str]) -> frozenset[str]:
    """Words of attribute values, in lower case."""
    return frozenset(_vocabulary(" ".join(values)))


def _well_formed(sentence: str, characters: int) -> bool:
    if not 8 <= len(sentence) <= characters or _MARKUP.search(sentence):
        return False
    if any(unicodedata.category(character)[0] == "C" for character in sentence):
        return False
    return sentence[-1] in ".!" and len(_ENDED.findall(sentence)) <= 1 and sentence.count('"') % 2 == 0


def _even(text: str) -> str:
    return unicodedata.normalize("NFKC", text).replace("\u2019", "'")


def _folded(text: str) -> str:
    return _even(text).casefold()


def _titles(facts: Facts) -> re.Pattern[str]:
    """Both titles as wholes, possessives included."""
    titles = sorted({_even(facts.title), _even(facts.evidence)}, key=len, reverse=True)
    return re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, titles))})(?:'s)?(?!\w)", re.IGNORECASE)


def _vocabulary(text: str) -> set[str]:
    return {_folded(token) for token in _TOKEN.findall(text)}


def _is_known(word: str, known: set[str]) -> bool:
    """Whether a word is in the facts, also with a possessive or plural ending of its own."""
    forms = {word, word.removesuffix("'s"), word.removesuffix("s'")}
    if len(word) > 3 and word.isalpha():
        forms |= {word.removesuffix("s"), f"{word}s"}
        if word.endswith("ies"):
            forms.add(f"{word[:-3]}y")
    return not forms.isdisjoint(known)


def _misstates_deed(fold: str, facts: Facts) -> bool:
    """Whether the sentence says that the user did something with anything but the item of the history."""
    title = _folded(facts.evidence)
    said = set(_TOKEN.findall(fold.replace(title, " ").replace(_folded(facts.title), " ")))
    for deed in said & set(DEEDS.values()):
        told = re.findall(rf"\byou(?:'ve| have)?(?: also)? {deed} [\"\u201c']?{re.escape(title)}", fold)
        if deed != facts.deed or len(told) != len(re.findall(rf"\b{deed}\b", fold)):
            return True
    return False
