"""Edits of YAML files that people keep: comments, order and quotes stay."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from engines.files import write_atomic


@contextmanager
def edited_yaml(path: Path) -> Iterator[Any]:
    """Yield the file's content as ruamel's round-trip types; write it when the block ends well.

    A file that comes out as it was is left alone.
    """
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 4096
    yaml.representer.add_representer(type(None), _null)
    before = path.read_text(encoding="utf-8")
    yaml.indent(mapping=2, sequence=4, offset=2)
    content = yaml.load(before)
    yield content
    text = io.StringIO()
    yaml.dump(content, text)
    if text.getvalue() != before:
        write_atomic(path, text.getvalue())


def _null(representer: Any, value: None) -> Any:
    """`null` in words, as people wrote it; ruamel's round trip would leave nothing there."""
    return representer.represent_scalar("tag:yaml.org,2002:null", "null")
