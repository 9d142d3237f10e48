"""What MkDocs does to the pages while it builds the site (`hooks` of mkdocs.yml)."""

import re

_CELL = re.compile(r"<td.*?</td>", re.DOTALL)
_CODE = re.compile(r"<code>([^<]* [^<]*)</code>")


def on_page_content(html: str, **_: object) -> str:
    """Keep each word of a command in a table whole: browsers break lines behind hyphens too."""
    return _CELL.sub(lambda cell: _CODE.sub(_unbroken_words, cell[0]), html)


def _unbroken_words(code: re.Match[str]) -> str:
    words = (f'<span class="word">{word}</span>' for word in code[1].split())
    return f"<code>{' '.join(words)}</code>"
