"""Go's text/template with the delimiters `${` and `}`, as far as values of a chart need it.

Fields, variables, pipelines, parentheses, `if`, `with`, `range`, and the functions of
`template_functions`. What is not here is said (`CannotTell`), never guessed. A key that is missing
is an error (`missingkey=error`), but not for `index`, `get` and `hasKey`.
https://pkg.go.dev/text/template
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from release.rollout.targets.template_functions import (
    FUNCTIONS,
    OTHERS,
    CannotTell,
    TemplateFails,
    show,
    truth,
)

MAX_OUTPUT = 4 << 20


Scope = dict[str, Any]


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str


_TOKEN = re.compile(
    r"""(?P<space>\s+)
    |(?P<text>"(?:\\.|[^"\\\n])*"|`[^`]*`)
    |(?P<letter>'(?:\\.|[^'\\\n])')
    |(?P<number>[+-]?(?:0[xX][0-9a-fA-F_]+|\d[\d_]*\.?\d*(?:[eE][+-]?\d+)?|\.\d+))
    |(?P<variable>\$\w*)
    |(?P<field>\.\w+)
    |(?P<dot>\.)
    |(?P<word>[A-Za-z_]\w*)
    |(?P<mark>:=|=|\||\(|\)|,)""",
    re.VERBOSE,
)


@dataclass
class Node:
    """A piece of text, or an action with what is inside it."""

    kind: str
    text: str = ""
    pipeline: list[list[Any]] = field(default_factory=list)
    variables: tuple[str, ...] = ()
    declares: bool = True
    body: list[Node] = field(default_factory=list)
    other: list[Node] = field(default_factory=list)


@dataclass(frozen=True)
class Template:
    """A parsed template."""

    nodes: tuple[Node, ...]
    constant: bool
    """Whether it is text and nothing else."""

    def render(self, context: dict[str, Any]) -> str:
        """The text for one cluster. Raises TemplateFails, and CannotTell."""
        out: list[str] = []
        for piece in _run(list(self.nodes), context, {"$": context}):
            out.append(piece)
        return "".join(out)


def parse_template(text: str) -> Template:
    """A template. Raises TemplateFails where Go would not parse it, and CannotTell."""
    pieces = list(_pieces(text))
    nodes, rest = _block(pieces, 0, top=True)
    if rest != len(pieces):
        raise TemplateFails("`end` or `else` without an `if`")
    return Template(tuple(nodes), constant="${" not in text)


def _pieces(text: str) -> Iterator[tuple[str, str]]:
    """Text and actions in turn, with the spaces trimmed that `${-` and `-}` trim."""
    at, trim = 0, False
    while (start := text.find("${", at)) >= 0:
        before = text[at:start]
        end = _end(text, start + 2)
        action = text[start + 2 : end]
        before = before.lstrip() if trim else before
        if re.match(r"-\s", action):
            before, action = before.rstrip(), action[1:]
        trim = re.search(r"\s-$", action) is not None
        action = action[:-1] if trim else action
        yield "text", before
        if not action.strip().startswith("/*"):
            yield "action", action.strip()
        at = end + 1
    yield "text", text[at:].lstrip() if trim else text[at:]


def _end(text: str, at: int) -> int:
    """Where the action that began before `at` ends; a `}` in quotes does not end it."""
    pattern = re.compile(r'"(?:\\.|[^"\\\n])*"|`[^`]*`|\}')
    for match in pattern.finditer(text, at):
        if match[0] == "}":
            return match.start()
    raise TemplateFails("`${` without `}`")


def _block(pieces: list[tuple[str, str]], at: int, top: bool = False) -> tuple[list[Node], int]:
    """The nodes up to an `end` or `else`, and where that stands."""
    nodes: list[Node] = []
    while at < len(pieces):
        kind, text = pieces[at]
        word = text.split(None, 1)[0] if kind == "action" and text.split() else ""
        if kind == "text":
            if text:
                nodes.append(Node("text", text))
        elif word in ("end", "else"):
            if top:
                raise TemplateFails(f"`{word}` without an `if`")
            return nodes, at
        elif word in ("if", "with", "range"):
            node, at = _branch(pieces, at, word, text)
            nodes.append(node)
        elif word in ("define", "template", "block", "break", "continue"):
            raise CannotTell(f"`{word}` in a template")
        else:
            nodes.append(_action("print", text))
        at += 1
    if not top:
        raise TemplateFails("an `if`, `with` or `range` without `end`")
    return nodes, at


def _branch(pieces: list[tuple[str, str]], at: int, word: str, text: str) -> tuple[Node, int]:
    """An `if`, `with` or `range` with its `else`, and where its `end` stands."""
    node = _action(word, text[len(word) :])
    node.body, at = _block(pieces, at + 1)
    rest = pieces[at][1].split(None, 1)
    if rest[0] == "else" and len(rest) > 1:
        inner = rest[1].split(None, 1)[0]
        if inner not in ("if", "with"):
            raise TemplateFails(f"`else {inner}`")
        child, at = _branch(pieces, at, inner, rest[1])
        node.other = [child]
    elif rest[0] == "else":
        node.other, at = _block(pieces, at + 1)
    return node, at


def _action(kind: str, text: str) -> Node:
    tokens, at = [], 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise TemplateFails(f"{text[at]!r} in an action")
        tokens.append(_Token(match.lastgroup or "", match[0]))
        at = match.end()
    names, declares = [], True
    bare = [one for one in tokens if one.kind != "space"]
    marks = [one.text for one in bare]
    sign = next((one for one in (":=", "=") if one in marks), None)
    if sign:
        names = [one.text for one in bare[: marks.index(sign)] if one.kind == "variable"]
        declares = sign == ":="
        tokens = tokens[tokens.index(_Token("mark", sign)) + 1 :]
    parser = _Parser(tokens)
    pipeline = parser.pipeline()
    if parser.tokens or not pipeline:
        raise TemplateFails(f"cannot read {text.strip()!r}")
    return Node(kind, pipeline=pipeline, variables=tuple(names), declares=declares)


class _Parser:
    """Tokens of one action to a pipeline: a list of commands, each a list of operands."""

    def __init__(self, tokens: list[_Token]) -> None:
        self.tokens = tokens

    def pipeline(self) -> list[list[Any]]:
        commands: list[list[Any]] = [[]]
        while self.tokens:
            token = self.tokens[0]
            if token.text == ")":
                break
            self.tokens.pop(0)
            if token.kind == "space":
                continue
            if token.text == "|":
                commands.append([])
            else:
                commands[-1].append(self._operand(token))
        if any(not one for one in commands):
            raise TemplateFails("an empty action, or nothing beside `|`")
        return commands

    def _operand(self, token: _Token) -> Any:
        """(kind, what, fields behind it without a space)."""
        if token.text == "(":
            what: Any = self.pipeline()
            if not self.tokens:
                raise TemplateFails("`(` without `)`")
            self.tokens.pop(0)
            operand = ["pipe", what, []]
        elif token.kind in ("text", "letter", "number", "variable", "word", "dot"):
            operand = [token.kind, token.text, []]
        elif token.kind == "field":
            operand = ["dot", ".", [token.text[1:]]]
        else:
            raise TemplateFails(f"{token.text!r} in an action")
        while self.tokens and self.tokens[0].kind == "field":
            operand[2].append(self.tokens.pop(0).text[1:])
        return tuple(operand)


def _run(nodes: list[Node], dot: Any, scope: Scope) -> Iterator[str]:
    for node in nodes:
        if node.kind == "text":
            yield node.text
        elif node.kind == "range":
            yield from _range(node, dot, scope)
        else:
            value = _pipeline(node.pipeline, dot, scope)
            inner = scope if node.kind == "print" else dict(scope)
            for name in node.variables[:1]:
                _assign(name, value, inner, node.declares)
            if node.kind == "print":
                if not node.variables:
                    yield show(value)
                continue
            good = truth(value)
            new_dot = value if node.kind == "with" and good else dot
            yield from _run(node.body if good else node.other, new_dot, inner)


def _assign(name: str, value: Any, scope: Scope, declares: bool) -> None:
    if not declares and name not in scope:
        raise TemplateFails(f"the variable {name} is not declared")
    scope[name] = value


def _range(node: Node, dot: Any, scope: Scope) -> Iterator[str]:
    value = _pipeline(node.pipeline, dot, scope)
    if isinstance(value, dict):
        pairs: list[tuple[Any, Any]] = sorted(value.items())
    elif isinstance(value, list):
        pairs = list(enumerate(value))
    elif isinstance(value, int) and not isinstance(value, bool):
        pairs = [(at, at) for at in range(min(value, MAX_OUTPUT))]
    elif value is None:
        pairs = []
    else:
        raise TemplateFails(f"range over {show(value)}")
    if not pairs:
        yield from _run(node.other, dot, dict(scope))
    for key, one in pairs:
        inner = dict(scope)
        inner.update(
            zip(node.variables, (key, one) if len(node.variables) > 1 else (one,), strict=False)
        )
        yield from _run(node.body, one, inner)


def _pipeline(commands: list[list[Any]], dot: Any, scope: Scope) -> Any:
    value: Any = None
    for at, command in enumerate(commands):
        value = _command(command, dot, scope, (value,) if at else ())
    return value


def _command(command: list[Any], dot: Any, scope: Scope, piped: tuple[Any, ...]) -> Any:
    kind, what, fields = command[0]
    if kind == "word" and what not in ("true", "false", "nil"):
        if fields:
            raise TemplateFails(f"a field of the function {what}")
        return _call(what, [*command[1:]], dot, scope, piped)
    if what == "nil":
        raise TemplateFails("nil is no command")
    if len(command) > 1 or piped:
        raise TemplateFails(f"cannot give arguments to {what!r}")
    return _value(command[0], dot, scope)


def _call(name: str, arguments: list[Any], dot: Any, scope: Scope, piped: tuple[Any, ...]) -> Any:
    if name in ("and", "or"):
        return _lazy(name == "or", arguments, dot, scope, piped)
    function: Callable[..., Any] | None = FUNCTIONS.get(name)
    if function is None and name in OTHERS:
        raise CannotTell(f"the function `{name}` in a template")
    if function is None:
        raise TemplateFails(f"Fleet has no function `{name}`")
    values = [_value(one, dot, scope) for one in arguments]
    try:
        return function(*values, *piped)
    except (TemplateFails, CannotTell):
        raise
    except (
        TypeError,
        ValueError,
        IndexError,
        KeyError,
        ZeroDivisionError,
        AttributeError,
    ) as error:
        raise TemplateFails(f"{name}: {error}") from error


def _lazy(
    wanted: bool, arguments: list[Any], dot: Any, scope: Scope, piped: tuple[Any, ...]
) -> Any:
    """`and` and `or` look no further than the first that decides."""
    value: Any = None
    for one in arguments:
        value = _value(one, dot, scope)
        if truth(value) == wanted:
            return value
    return piped[0] if piped else value


def _value(operand: Any, dot: Any, scope: Scope) -> Any:
    kind, what, fields = operand
    if kind == "pipe":
        value = _pipeline(what, dot, scope)
    elif kind == "text":
        value = what[1:-1] if what[0] == "`" else ast.literal_eval(what)
    elif kind == "letter":
        value = ord(ast.literal_eval(what))
    elif kind == "number":
        value = (
            float(what) if re.search(r"[.eE]", what) and "x" not in what.lower() else int(what, 0)
        )
    elif kind == "variable":
        if what not in scope:
            raise TemplateFails(f"the variable {what} is not declared")
        value = scope[what]
    elif kind == "word" and what in ("true", "false", "nil"):
        value = {"true": True, "false": False, "nil": None}[what]
    elif kind == "word":
        return _call(what, [], dot, scope, ())
    else:
        value = dot
    for name in fields:
        value = _field(value, name)
    return value


def _field(value: Any, name: str) -> Any:
    if not isinstance(value, dict):
        raise TemplateFails(f"cannot look for .{name} in {show(value)!r}")
    if name not in value:
        raise TemplateFails(f"there is no {name!r}")
    return value[name]
