"""Quoting of catalogue texts in prompts: as data, on one line, of bounded length, without delimiters.

A text of the catalogue is written by sellers and users. In a prompt it stands in double quotes, and what
could end the quotes, a line, or a turn of the conversation (brackets, pipes, control and bidirectional
characters) is replaced or dropped, so that no text can leave its place. What it says still reaches the model,
so texts that talk to a model rather than describe a thing are recognised by :func:`is_suspicious` and not
shown to it at all. That list of patterns is a filter, not a proof.
"""

from __future__ import annotations

import re
import unicodedata

_REPLACED = str.maketrans(
    {
        '"': "'", "\u201c": "'", "\u201d": "'", "\u201e": "'", "`": "'", "\\": "/", "|": "/",
        "<": "(", ">": ")", "[": "(", "]": ")", "{": "(", "}": ")", "#": " ", "~": "-", "=": "-", "*": " ",
    }
)  # fmt: skip

_DROPPED = frozenset({"Cc", "Cf", "Cs", "Co", "Cn"})
"""Unicode categories of what shows nothing: controls, bidirectional marks, zero-width, private use."""

_PATTERNS = (
    # Talks about the instructions or the conversation.
    r"\b(?:ignore|disregard|forget|override|bypass|skip)\b.{0,40}"
    r"\b(?:instruction|prompt|rule|above|previous|prior|earlier|everything|system|order|ranking|list\b)",
    r"\b(?:new|updated|real|actual|following|these|your|my|hidden) (?:instruction|task|prompt|rule)s?\b",
    r"\b(?:system|developer) (?:prompt|message|note|override|instruction)",
    r"\b(?:system|assistant|user|human|ai|developer|instructions?)\s*:",
    r"\b(?:as an|you are an?|act as|pretend to|you must|you should|you will now)\b.{0,20}\b"
    r"(?:ai|assistant|model|chatbot|llm|answer|respond|reply|output|rank|put|place|list|order|say|write|print)\b",
    r"\b(?:language model|chatgpt|gpt-?\d|llm|im_start|im_end|endoftext|inst)\b",
    # Asks for a place or an answer.
    r"\b(?:rank|put|place|list|sort|order|position|move|choose|select|pick|return|output|prefer|recommend)\b"
    r".{0,40}"
    r"\b(?:first|1st|top|number one|no\.? ?1|highest|above all|before all|best|last|lowest|at the bottom)\b",
    r"\b(?:respond|reply|answer|output|print|write|say)\b.{0,20}\b(?:with|only|exactly|in|as|that)\b",
    r"\b(?:do not|don't|never) (?:rank|mention|list|recommend|include|answer|follow)\b",
    r"\b(?:candidate|option|label|letter) [a-t]\b",
    r"https?:|www\.|\bdata:|javascript:",
    r"\b(?:first choice|top rank|position (?:one|1)|(?:correct|right|expected) answer)\b",
    r"\b[a-t] is (?:right|correct)\b",
    r"\b(?:answer|respond|reply) with\b|\bmy letter\b|\"order\"|'order'",
    r"\b(?:this|my) (?:item|film|movie|product|song|video|one)\b.{0,60}"
    r"\b(?:first|top|next|best|highest|position|rank|chosen|chose|won|prefer)\b",
    r"\b(?:every|all|the) other (?:candidate|film|movie|item|product|option|song|video)s?\b",
    # Talks of what only a prompt has.
    r"\b(?:ranking|recommender|recommendation) (?:model|system|engine)\b",
    r"\bend of (?:data|list|prompt|input)\b|\b(?:the|new|your) task (?:is|was)\b",
    r"\b(?:everything|all) above\b|\babove this line\b|\b(?:our|this) chat\b",
    r"\b(?:explain|tell|inform|say) (?:to )?(?:the|every|all) (?:user|person|viewer|customer|reader)s?\b",
    # The same in Chinese.
    r"忽略|无视|忘记.{0,10}(?:指令|提示|规则|以上)|系统(?:提示|消息|指令)|(?:排|放|列|置)在?.{0,6}(?:第一|首位|最前|榜首)"
    r"|(?:你是|扮演).{0,10}(?:助手|模型)|语言模型|请?(?:只|仅)?(?:回答|输出|回复)[:：]?",
)
_SUSPICIOUS = re.compile("|".join(f"(?:{pattern})" for pattern in _PATTERNS), re.IGNORECASE)
_LOOKS = 4_000
_SPACED = re.compile(r"(?<!\w)(?:\w[ ._-]){4,}\w(?!\w)")


def plain(text: str) -> str:
    """The text in its compatibility form (NFKC), on one line, without characters that show nothing."""
    shown = "".join(
        " " if character in "\n\r\t\u2028\u2029" else character
        for character in unicodedata.normalize("NFKC", text[: 2 * _LOOKS])
        if character in "\n\r\t" or unicodedata.category(character) not in _DROPPED
    )
    return " ".join(shown.split())


def quoted(text: str, limit: int) -> str:
    """The text as data of a prompt, quotes included.

    Args:
        text: Any text.
        limit: Longest text, in characters, quotes not counted.
    """
    line = " ".join(plain(text).translate(_REPLACED).split())
    return f'"{line if len(line) <= limit else line[: limit - 1].rstrip() + "…"}"'


def is_suspicious(text: str) -> bool:
    """Whether a text talks to a language model rather than describes a thing."""
    line = plain(text)[:_LOOKS]
    # Letters with gaps between them ("i g n o r e") are read by a model all the same.
    closed = _SPACED.sub(lambda found: re.sub(r"[ ._-]", "", found[0]), line)
    return bool(_SUSPICIOUS.search(line) or _SUSPICIOUS.search(closed))
