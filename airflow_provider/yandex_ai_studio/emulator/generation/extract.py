"""The text that stands in for a model's: the first sentences of the input that say something."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

#: The beginning of a text, of which at least something is worth repeating.
_LOOKED_AT = 16_000

_SENTENCES = 2
_LONGEST = 320
_FEWEST_WORDS = 4
_LONG = 40

_TAGS = (
    "a|abbr|b|blockquote|br|center|code|dd|details|div|dl|dt|em|font|h[1-6]|hr|i|img|kbd|li|ol|p|picture|pre|s|small"
    "|source|span|strong|sub|summary|sup|table|tbody|td|th|thead|tr|tt|u|ul|video"
)

#: Removed or replaced in this order: the title marks come from tags, images stand within links.
_NOISE: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"\r\n?"), "\n"),
    (re.compile(r"^([`~]{3,}).*?^\1[`~]*[ \t]*$", re.M | re.S), ""),
    (re.compile(r"<!--.{0,2000}?-->", re.S), ""),
    (re.compile(r"<h1\b[^>]*>\s*(.{0,500}?)\s*</h1>", re.I | re.S), r"\n\n# \1\n\n"),
    (re.compile(rf"</?(?:{_TAGS})\b[^<>]*>", re.I), ""),
    (re.compile(r"^(?=\S)(.+)\n={3,}[ \t]*$", re.M), r"# \1\n"),
    (re.compile(r"^.+\n[-~^*\"]{3,}[ \t]*$", re.M), ""),
    (re.compile(r"^\.\. .*\n(?:[ \t]*\n|[ \t]+\S.*(?:\n|\Z))*", re.M), ""),
    (re.compile(r"::[ \t]*\n[ \t]*\n(?:[ \t]*\n|[ \t]+\S.*(?:\n|\Z))*"), ":\n\n"),
    (re.compile(r"!\[[^\]]{0,300}\](?:\([^)]*\)|\[[^\]]*\])"), ""),
    (re.compile(r"\[([^\[\]]*)\](?:\([^)]*\)|\[[^\]]*\])"), r"\1"),
    (re.compile(r"^[ \t]*\[[^\]]+\]:[ \t]*\S+.*$", re.M), ""),
    (re.compile(r"`([^`<]+?)\s*<[^>`]+>`_{1,2}"), r"\1"),
    (re.compile(r"`([^`]+)`_{1,2}(?!\w)"), r"\1"),
    (re.compile(r"(`+)([^`]+)\1"), r"\2"),
    (re.compile(r"(\*{1,3})(?=[^\s*])([^*]*[^\s*])\1"), r"\2"),
    (re.compile(r"(?<!\w)(_{1,3})(?=[^\s_])([^_]*[^\s_])\1(?!\w)"), r"\2"),
)
_TITLE = re.compile(r"#[ \t]+\S")
_NOT_PROSE = re.compile(r"[ \t]*(?:#{1,6}[ \t]|\||https?://\S+[ \t]*$|[-=*_~+|: \t]+$|\$[ \t]|>>>|\.\.\.[ \t]{2})")
_LIST_ITEM = re.compile(r"^[ \t]*(?:[-*+•]|\d{1,3}[.)])[ \t]+")
_QUOTE = re.compile(r"^[ \t]*(?:>[ \t]?)+(?:\[![A-Z]+\])?")
_INSTRUCTION = re.compile(
    r"(?:please\s+|пожалуйста,?\s+)?(?:summari[sz]e|describe|explain|extract|classify|shorten|translate|rewrite|write"
    r"|кратко|сократи|перескажи|опиши|объясни|извлеки|выдели|классифицируй|переведи|напиши|составь|резюмируй)",
    re.I,
)
_SENTENCE = re.compile(r".+?(?:[.!?…]+[\"'»\u201d\u2019)\]]*(?=\s+[^\s])|[。\uff01\uff1f]+|$)", re.S)
_ABBREVIATED = re.compile(r"\b\w{1,3}\.$")


@dataclass(frozen=True)
class _Block:
    """Hold a stretch of text without an empty line, cleaned, and what it was."""

    text: str
    listed: bool


def extract(text: str) -> str:
    """Return the first sentences of a text that say something, without markup, each character as it was.

    A document below a title is preferred to what stands before it, which tends to be the instruction.
    """
    lines = _clean(text[:_LOOKED_AT]).split("\n")
    title = next((number for number, line in enumerate(lines) if _TITLE.match(line)), None)
    scopes = [lines] if title is None else [lines[title + 1 :], lines]
    for suits in (_is_prose, _is_meaningful, bool):
        for scope in scopes:
            for block in _blocks(scope):
                if suits(block):
                    return _joined(_sentences(block.text))
    return shorten(text.strip() or text, _LONGEST)


def shorten(text: str, longest: int) -> str:
    """Cut a text to a length, between words where there are any."""
    if len(text) <= longest:
        return text
    cut = text[:longest]
    return cut if text[longest].isspace() or not re.search(r"\s", cut) else re.sub(r"\s+\S*$", "", cut)


def _is_meaningful(block: _Block) -> bool:
    """Say whether a block reads like a sentence, and not like an instruction what to do with the others."""
    text = block.text
    wordy = len(text.split()) >= _FEWEST_WORDS or (len(text) >= _LONG and "://" not in text)
    return wordy and not _announces(_sentences(text)[0]) and not _INSTRUCTION.match(text)


def _announces(sentence: str) -> bool:
    return sentence.rstrip().endswith((":", "\uff1a"))


def _is_prose(block: _Block) -> bool:
    return not block.listed and _is_meaningful(block)


def _clean(text: str) -> str:
    for noise, instead in _NOISE:
        text = noise.sub(instead, text)
    return text


def _blocks(lines: list[str]) -> Iterator[_Block]:
    gathered: list[str] = []
    listed = False
    for line in [*lines, ""]:
        item = _LIST_ITEM.match(line)
        prose = line.strip() and not _NOT_PROSE.match(line)
        if gathered and (item or not prose):
            yield _Block(" ".join(gathered), listed)
            gathered, listed = [], False
        if prose:
            listed = listed or bool(item)
            bare = _QUOTE.sub("", _LIST_ITEM.sub("", line, count=1), count=1).strip()
            gathered += [bare] if bare else []


def _sentences(text: str) -> list[str]:
    """Return the first sentences of a text, as many as are wanted."""
    sentences: list[str] = []
    for sentence in (match.group() for match in _SENTENCE.finditer(text)):
        # "e.g." ends with a full stop too, but what follows it begins with a small letter.
        if sentences and _ABBREVIATED.search(sentences[-1][-5:]) and sentence.lstrip()[:1].islower():
            sentences[-1] += sentence
        elif len(sentences) == _SENTENCES:
            break
        else:
            sentences.append(sentence)
    return sentences


def _joined(sentences: list[str]) -> str:
    whole = sentences[0].strip()
    for sentence in sentences[1:]:
        if len(whole) + len(sentence) <= _LONGEST and not _announces(sentence):
            whole += sentence.rstrip()
    return shorten(whole, _LONGEST)
