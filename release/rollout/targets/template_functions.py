"""Functions of templates: Go's own and those of sprig that values of a chart use.

https://masterminds.github.io/sprig, of which Fleet takes away env, expandenv and getHostByName.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any


class TemplateFails(Exception):
    """A template that Fleet cannot parse or fill in, which stops the bundle for all clusters."""


class CannotTell(Exception):
    """Part of the language, or of its functions, that is not written here."""


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
        return "map[" + " ".join(f"{key}:{_text(one)}" for key, one in sorted(value.items())) + "]"
    if isinstance(value, list):
        return "[" + " ".join(map(_text, value)) + "]"
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
    """sprig's `int64`: a text is read up to its decimal point, and 0 is what is no number."""
    if isinstance(value, (bool, int, float)):
        return int(value)
    text = re.sub(r"^([-+]?)(\d*)\.\d*$", r"\g<1>0\2", str(value))
    octal = re.fullmatch(r"([-+]?)0([0-7]+)", text)
    try:
        number = int(octal[1] + octal[2], 8) if octal else int(text, 0)
    except ValueError:
        return 0
    return number if -(2**63) <= number < 2**63 else 0


def _atoi(text: str) -> int:
    return int(text) if re.fullmatch(r"[-+]?\d+", _string(text), re.ASCII) else 0


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


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise TemplateFails(f"a list was wanted, got {show(value)}")
    return value


def _map(value: Any) -> dict[str, Any]:
    if value is not None and not isinstance(value, dict):
        raise TemplateFails(f"a map was wanted, got {show(value)}")
    return value or {}


def _without_repeats(values: list[Any]) -> list[Any]:
    found: list[Any] = []
    for one in values:
        if one not in found:
            found.append(one)
    return found


def _indented(count: int, text: str) -> str:
    return " " * count + text.replace("\n", "\n" + " " * count)


def _from_json(text: str) -> Any:
    try:
        return json.loads(_string(text))
    except ValueError:
        return None


def _decoded(text: str) -> str:
    """From base64; of what is none, sprig gives the error's text."""
    try:
        return base64.b64decode(re.sub(r"[\r\n]", "", _string(text)), validate=True).decode()
    except ValueError as error:
        raise CannotTell("b64dec of what is no text in base64") from error


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
        raise CannotTell(f"printf {form!r}: only %s, %d, %v, %q and %t are known here")
    rest = list(values)

    def fill(match: re.Match[str]) -> str:
        if match[0] == "%%":
            return "%"
        if not rest:
            return f"%!{match[0][1]}(MISSING)"
        value = rest.pop(0)
        return _quote(value) if match[0] == "%q" else show(value)

    text = re.sub(r"%.", fill, form)
    extra = ", ".join(f"{_kind(one)}={show(one)}" if one is not None else "<nil>" for one in rest)
    return f"{text}%!(EXTRA {extra})" if rest else text


def _spaced(values: Iterable[Any]) -> Iterator[str]:
    """Values as Go's Sprint has them: a space between two of which neither is text."""
    last: Any = ""
    for one in values:
        if not isinstance(last, str) and not isinstance(one, str):
            yield " "
        yield _text(one)
        last = one


FUNCTIONS: dict[str, Callable[..., Any]] = {
    # Go's own
    "not": lambda value: not truth(value),
    "eq": _equal,
    "ne": lambda one, other: not _equal(one, other),
    "lt": _compare(lambda one, other: one < other),
    "le": _compare(lambda one, other: one <= other),
    "gt": _compare(lambda one, other: one > other),
    "ge": _compare(lambda one, other: one >= other),
    "len": lambda value: len(value.encode() if isinstance(value, str) else value),
    "index": _index,
    "print": lambda *values: "".join(_spaced(values)),
    "printf": _printf,
    # values that may be missing
    "default": lambda default, *given: given[0] if truth(given[:1] and given[0]) else default,
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
    "tuple": lambda *values: list(values),
    "rest": lambda values: _list(values)[1:],
    "initial": lambda values: _list(values)[:-1],
    "reverse": lambda values: _list(values)[::-1],
    "uniq": lambda values: _without_repeats(_list(values)),
    "compact": lambda values: [one for one in _list(values) if truth(one)],
    "append": lambda values, one: [*_list(values), one],
    "prepend": lambda values, one: [one, *_list(values)],
    "concat": lambda *lists: [one for values in lists for one in _list(values)],
    "without": lambda values, *others: [one for one in _list(values) if one not in others],
    "sortAlpha": lambda values: sorted(
        map(_text, values if isinstance(values, list) else [values])
    ),
    "all": lambda *values: all(map(truth, values)),
    "any": lambda *values: any(map(truth, values)),
    "pick": lambda value, *keys: {key: _map(value)[key] for key in keys if key in _map(value)},
    "omit": lambda value, *keys: {key: one for key, one in _map(value).items() if key not in keys},
    "until": lambda count: list(range(0, count, 1 if count >= 0 else -1)),
    "toJson": _json,
    "fromJson": _from_json,
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
    "indent": lambda count, text: _indented(count, _string(text)),
    "nindent": lambda count, text: "\n" + _indented(count, _string(text)),
    "b64enc": lambda text: base64.b64encode(_string(text).encode()).decode(),
    "b64dec": _decoded,
    "sha1sum": lambda text: hashlib.sha1(_string(text).encode(), usedforsecurity=False).hexdigest(),
    "sha256sum": lambda text: hashlib.sha256(_string(text).encode()).hexdigest(),
    # numbers
    "int": _number,
    "int64": _number,
    "float64": _float,
    "atoi": _atoi,
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


OTHERS = frozenset(
    re.findall(
        r"\w+",
        """
    abbrev abbrevboth add1f addf adler32sum ago b32dec b32enc base bcrypt biggest
    buildCustomCert call camelcase ceil chunk clean date dateInZone dateModify date_in_zone
    date_modify decryptAES deepCopy deepEqual derivePassword dir divf duration durationRound
    encryptAES ext floor genCA genCAWithKey genPrivateKey genSelfSignedCert
    genSelfSignedCertWithKey genSignedCert genSignedCertWithKey hello html htmlDate
    htmlDateInZone htpasswd initials isAbs js kebabcase keys maxf merge mergeOverwrite minf mulf
    mustAppend mustChunk mustCompact mustDateModify mustDeepCopy mustFirst mustFromJson mustHas
    mustInitial mustLast mustMerge mustMergeOverwrite mustPrepend mustRegexFind mustRegexFindAll
    mustRegexMatch mustRegexReplaceAll mustRegexReplaceAllLiteral mustRegexSplit mustRest
    mustReverse mustSlice mustToDate mustToJson mustToPrettyJson mustToRawJson mustUniq
    mustWithout must_date_modify now osBase osClean osDir osExt osIsAbs pluck plural println
    randAlpha randAlphaNum randAscii randBytes randInt randNumeric regexFind regexFindAll
    regexMatch regexQuoteMeta regexReplaceAll regexReplaceAllLiteral regexSplit round semver
    semverCompare seq set sha512sum shuffle slice snakecase splitn subf swapcase title toDate
    toDecimal toPrettyJson toRawJson toStrings trimall typeIs typeIsLike typeOf unixEpoch unset
    untilStep untitle urlJoin urlParse urlquery uuidv4 values wrap wrapWith
    """,
    )
)
"""Functions that Fleet has and that are not written here."""
