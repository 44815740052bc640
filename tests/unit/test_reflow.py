"""Wrapping texts at 120 columns leaves them readable: no literal is torn into words, no paragraph of a docstring into
lines.
"""

from __future__ import annotations

import ast
import io
import itertools
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("airflow_provider_tenable", "benchmarks", "dags", "deploy", "sandbox", "scripts", "tests")
_LIMIT = 120
#: A piece of a literal with fewer characters has no line of its own.
_SHORT = 25
_PIECE = re.compile(r'([fF]?)"(?!"")(.*)"')
_TWO_PIECES = re.compile(r'"\n +[fF]?"(?!"")')
_FIELD = re.compile(r":(?:cvar|ivar|param|raises|return|type|yield)\b")
_ITEM = re.compile(r"(?:[*-]|\d+\.) +")
#: Columns, as in a table or after an example.
_ALIGNED = re.compile(r"\S   +\S")


def torn_literals(source: str) -> Iterator[int]:
    """The lines with a short piece of a literal to which the first word of the next piece could be added."""
    lines, pieces = source.split("\n"), []
    # Tokenizing takes most of the time.
    if not _TWO_PIECES.search(source):
        return
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.STRING:
            pieces.append(token)
        elif token.type != tokenize.NL:
            for piece, following in itertools.pairwise(pieces):
                own, text = _PIECE.fullmatch(piece.string), _PIECE.fullmatch(following.string)
                line = lines[piece.start[0] - 1]
                if not own or not text or line.strip() != piece.string or not own[2].endswith(" "):
                    continue
                word = text[2].split(" ")[0]
                if len(own[2]) < _SHORT and len(line) + len(word) <= _LIMIT and "{" not in word:
                    yield piece.start[0]
            pieces = []


def torn_docstrings(source: str) -> Iterator[str]:
    """Lines of docstrings after which the text should continue, or the next line is indented although nothing begins
    there; and fields within a sentence.
    """
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        for paragraph in (ast.get_docstring(node) or "").split("\n\n"):
            lines = paragraph.split("\n")
            # An example.
            if all(line.startswith("    ") for line in lines):
                continue
            if len(lines) > 1 and re.search(rf"\S +{_FIELD.pattern}", paragraph):
                yield lines[0]
            #: The column at which the text of the current item stands.
            item = 0
            for line, following in itertools.pairwise(lines):
                text, next_text = line.strip(), following.strip()
                indent, deeper = line.find(text), following.find(next_text)
                if found := _ITEM.match(text):
                    item = indent + len(found[0])
                begins = _ITEM.match(next_text) or _FIELD.match(next_text)
                if begins or text.endswith(":") or _ALIGNED.search(line) or _ALIGNED.search(following):
                    continue
                indented = deeper > indent and not (_ITEM.match(text) or _FIELD.match(text) or text.startswith("``"))
                short = len(text) + len(next_text.split(" ")[0]) < 80 and not text.startswith(("``", "{"))
                if indented or short or deeper < item:
                    yield line


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_text_is_torn(folder: str) -> None:
    torn = {}
    for path in (ROOT / folder).rglob("*.py"):
        source = path.read_text()
        if found := [*torn_literals(source), *torn_docstrings(source)]:
            torn[str(path.relative_to(ROOT))] = found
    assert torn == {}


def test_torn_texts_are_found() -> None:
    literal = 'error = (\n    "A message of some length, which continues "\n    "there, "\n    "and ends here."\n)\n'
    assert list(torn_literals(literal)) == [3]
    assert list(torn_literals(literal.replace("there, ", "there,\\n"))) == []
    for text in (
        "A sentence, or\n   what continues it.",
        "* An item which is long enough to be wrapped, as it has so many words in it that\nno line holds it.",
        "A file; None if it does not exist. :raises OSError: it cannot\nbe read.",
        "The first half.\n\nThe second half,\nand the rest.",
    ):
        assert list(torn_docstrings(f'"""{text}"""')), text
    field = ":param name: a name that is explained at such length that its text needs a second line,\n    as here."
    assert list(torn_docstrings(f'"""Read it.\n\n{field}"""')) == []
