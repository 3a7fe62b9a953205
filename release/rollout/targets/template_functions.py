"""Functions of templates: Go's own and those of sprig that values of a chart use.

https://masterminds.github.io/sprig, of which Fleet takes away env, expandenv and getHostByName.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable
from typing import Any


class TemplateFails(Exception):
    """A template that Fleet cannot parse or fill in, which stops the bundle for all clusters."""


def truth(value: Any) -> bool:
    """What Go's `if` takes for true."""
    return bool(value)


def show(value: Any) -> str:
    """A value as Go prints it."""
    if value is None:
        return "<no value>"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:.0f}" if value.is_integer() and abs(value) < 1e21 else repr(value)
    if isinstance(value, dict):
        return "map[" + " ".join(f"{key}:{show(one)}" for key, one in sorted(value.items())) + "]"
    if isinstance(value, list):
        return "[" + " ".join(map(show, value)) + "]"
    return str(value)


def _text(value: Any) -> str:
    """A value as sprig's `toString` has it."""
    return "<nil>" if value is None else show(value)


def _string(value: Any) -> str:
    if not isinstance(value, str):
        raise TemplateFails(f"text was wanted, got {show(value)}")
    return value


def _index(value: Any, *keys: Any) -> Any:
    for key in keys:
        if isinstance(value, dict):
            value = value.get(_string(key))
        elif isinstance(value, list):
            if not isinstance(key, int) or not 0 <= key < len(value):
                raise TemplateFails(f"index {show(key)} out of range")
            value = value[key]
        elif value is None:
            raise TemplateFails("index of nothing")
        else:
            raise TemplateFails(f"cannot index {show(value)!r}")
    return value


def _equal(first: Any, *others: Any) -> bool:
    for other in others:
        kinds = {_kind(one) for one in (first, other)}
        if None not in (first, other) and len(kinds) > 1:
            raise TemplateFails("incompatible types for comparison")
    return any(first == other for other in others)


def _kind(value: Any) -> str:
    names = {bool: "bool", int: "int", float: "float64", str: "string", dict: "map", list: "slice"}
    return names.get(type(value), "invalid")


def _compare(test: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    def compare(one: Any, other: Any) -> bool:
        if _kind(one) != _kind(other) or isinstance(one, (bool, dict, list)) or one is None:
            raise TemplateFails("incompatible types for comparison")
        return test(one, other)

    return compare


def _dig(*arguments: Any) -> Any:
    *path, default, value = arguments
    for key in path:
        if not isinstance(value, dict) or key not in value:
            return default
        value = value[key]
    return value


def _dict(*pairs: Any) -> dict[str, Any]:
    padded = [*pairs, ""] if len(pairs) % 2 else list(pairs)
    return {_text(key): value for key, value in zip(padded[::2], padded[1::2], strict=True)}


def _number(value: Any) -> int:
    """sprig's `int64`: what is no number is 0."""
    if isinstance(value, (bool, int, float)):
        return int(value)
    try:
        return int(str(value), 0)
    except ValueError:
        return 0


def _float(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return 0.0


def _divide(one: Any, other: Any) -> int:
    number, by = _number(one), _number(other)
    whole = abs(number) // abs(by)
    return whole if (number < 0) == (by < 0) else -whole


def _trunc(length: int, text: str) -> str:
    return text[length:] if length < 0 else text[:length]


def _substr(start: int, end: int, text: str) -> str:
    return text[max(start, 0) :] if end < 0 or end > len(text) else text[max(start, 0) : end]


def _fail(message: str) -> str:
    raise TemplateFails(message)


def _json(value: Any) -> str:
    text = json.dumps(value, separators=(",", ":"), sort_keys=True, ensure_ascii=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _quote(*values: Any) -> str:
    return " ".join(json.dumps(_text(one), ensure_ascii=False) for one in values if one is not None)


def _split(separator: str, text: str) -> dict[str, str]:
    return {f"_{at}": part for at, part in enumerate(text.split(separator))}


def _join(separator: str, values: Any) -> str:
    return separator.join(map(_text, values if isinstance(values, list) else [values]))


def _printf(form: str, *values: Any) -> str:
    if set(re.findall(r"%[^%]", form)) - {"%s", "%d", "%v", "%q", "%t"}:
        raise TemplateFails(f"printf {form!r}: only %s, %d, %v, %q and %t are known here")
    rest = list(values)

    def fill(match: re.Match[str]) -> str:
        if match[0] == "%%":
            return "%"
        if not rest:
            return f"%!{match[0][1]}(MISSING)"
        value = rest.pop(0)
        return _quote(value) if match[0] == "%q" else show(value)

    return re.sub(r"%.", fill, form)


FUNCTIONS: dict[str, Callable[..., Any]] = {
    # Go's own
    "not": lambda value: not truth(value),
    "eq": _equal,
    "ne": lambda one, other: not _equal(one, other),
    "lt": _compare(lambda one, other: one < other),
    "le": _compare(lambda one, other: one <= other),
    "gt": _compare(lambda one, other: one > other),
    "ge": _compare(lambda one, other: one >= other),
    "len": len,
    "index": _index,
    "print": lambda *values: "".join(map(show, values)),
    "printf": _printf,
    # values that may be missing
    "default": lambda default, value=None: value if truth(value) else default,
    "empty": lambda value: not truth(value),
    "coalesce": lambda *values: next((one for one in values if truth(one)), None),
    "ternary": lambda yes, no, which: yes if which else no,
    "fail": _fail,
    # maps and lists
    "get": lambda value, key: value.get(key, ""),
    "hasKey": lambda value, key: key in value,
    "dig": _dig,
    "dict": _dict,
    "list": lambda *values: list(values),
    "first": lambda value: value[0] if value else None,
    "last": lambda value: value[-1] if value else None,
    "has": lambda one, values: one in (values or []),
    "join": _join,
    "split": _split,
    "splitList": lambda separator, text: text.split(separator),
    "toJson": _json,
    "fromJson": json.loads,
    # texts
    "toString": _text,
    "quote": _quote,
    "squote": lambda *values: " ".join(f"'{_text(one)}'" for one in values if one is not None),
    "upper": lambda text: _string(text).upper(),
    "lower": lambda text: _string(text).lower(),
    "trim": lambda text: _string(text).strip(),
    "trimPrefix": lambda prefix, text: _string(text).removeprefix(prefix),
    "trimSuffix": lambda suffix, text: _string(text).removesuffix(suffix),
    "trimAll": lambda chars, text: _string(text).strip(chars),
    "replace": lambda old, new, text: _string(text).replace(old, new),
    "contains": lambda part, text: _string(part) in _string(text),
    "hasPrefix": lambda prefix, text: _string(text).startswith(prefix),
    "hasSuffix": lambda suffix, text: _string(text).endswith(suffix),
    "trunc": lambda length, text: _trunc(length, _string(text)),
    "substr": _substr,
    "repeat": lambda count, text: _string(text) * min(max(count, 0), 10_000),
    "nospace": lambda text: re.sub(r"\s", "", _string(text)),
    "cat": lambda *values: " ".join(_text(one) for one in values if one is not None),
    "b64enc": lambda text: base64.b64encode(_string(text).encode()).decode(),
    "b64dec": lambda text: base64.b64decode(_string(text)).decode(),
    "sha256sum": lambda text: hashlib.sha256(_string(text).encode()).hexdigest(),
    # numbers
    "int": _number,
    "int64": _number,
    "float64": _float,
    "atoi": _number,
    "add": lambda *values: sum(map(_number, values)),
    "add1": lambda value: _number(value) + 1,
    "sub": lambda one, other: _number(one) - _number(other),
    "mul": lambda one, *others: _product([one, *others]),
    "div": _divide,
    "mod": lambda one, other: _number(one) - _divide(one, other) * _number(other),
    "max": lambda *values: max(map(_number, values)),
    "min": lambda *values: min(map(_number, values)),
    "kindOf": _kind,
    "kindIs": lambda kind, value: _kind(value) == kind,
}


def _product(values: list[Any]) -> int:
    product = 1
    for one in values:
        product *= _number(one)
    return product
