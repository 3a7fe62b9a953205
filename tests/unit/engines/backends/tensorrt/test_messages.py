"""What TensorRT says when memory runs out or a timing cache does not fit, and what is made of it.

The messages are documents (tests/documented/tensorrt): nothing here recorded them.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.backends import BuildRequest
from engines.backends.tensorrt.options import TensorRTOptions
from engines.backends.tensorrt.out_of_memory import about_memory, lack_of_memory, out_of_memory
from engines.backends.tensorrt.sdk import KEPT, Messages, logger_for
from engines.backends.tensorrt.timing_cache import use_of

DOCUMENTS = Path(__file__).parents[4] / "documented" / "tensorrt"
OPTIONS = TensorRTOptions(
    package="tensorrt",
    workspace_mib=512,
    optimization_level=3,
    timing_cache=False,
    version_compatible=False,
    hardware_compatibility="none",
    dla_core=None,
)


def document(name: str) -> Messages:
    """The messages of a document."""
    messages = Messages()
    for line in (DOCUMENTS / name).read_text().splitlines():
        kept = {"[E]": messages.errors, "[W]": messages.warnings}[line[:3]]
        kept.append(line[4:])
    return messages


def lack(messages: Messages) -> str:
    return lack_of_memory(messages.errors, messages.warnings)


# --- memory --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "said", "advice"),
    [
        (
            "memory.10.3.0.refused.txt",
            "Requested amount of GPU memory (15485030400 bytes) could not be allocated.",
            "lower `builder.workspace_mib` (now 512), then `batch.max` (now 4)",
        ),
        (
            "memory.8.5.2.tactics.txt",
            "Skipping tactic 8 due to insuficient memory on requested size of 4364",
            "lower `builder.workspace_mib` (now 512), then `batch.max` (now 4)",
        ),
        (
            "memory.8.6.2.workspace.txt",
            "Try increasing the workspace size",
            "raise `builder.workspace_mib` (now 512) where the device has more memory free; "
            "otherwise lower `batch.max` (now 4) or `builder.optimization_level` (now 3)",
        ),
    ],
)
def test_memory_is_the_matter(
    make_request: Callable[..., BuildRequest], name: str, said: str, advice: str
) -> None:
    reason = lack(document(name))
    assert said in reason
    error = out_of_memory(make_request(Path("model.fp16.onnx"), options=OPTIONS), reason)
    assert advice in str(error)
    assert error.exit_code == 2


def test_memory_is_not_the_matter() -> None:
    """A warning of an algorithm that did not fit, and an error of another kind."""
    messages = document("memory.10.3.0.not-the-matter.txt")
    assert about_memory(messages.warnings)
    assert lack(messages) == ""


@pytest.mark.parametrize(
    ("requested_mib", "verb"), [(600, "raise"), (2048, "raise"), (2049, "lower"), (9000, "lower")]
)
def test_a_request_for_more_than_half_of_the_memory_is_too_much(
    make_request: Callable[..., BuildRequest], requested_mib: int, verb: str
) -> None:
    request = make_request(Path("model.fp16.onnx"), options=OPTIONS)
    device = request.device.model_copy(update={"gpu": "Orin", "gpu_memory_gib": 4})
    request = make_request(Path("model.fp16.onnx"), options=OPTIONS, device=device)
    said = f"Error Code 2: OutOfMemory (Requested size was {requested_mib << 20} bytes.)"
    error = str(out_of_memory(request, lack_of_memory([said], [])))
    assert "to build model.fp16.onnx on Orin, but it ran out" in error
    assert f"params.yaml {verb} `builder.workspace_mib`" in error


@given(st.lists(st.text()), st.lists(st.text()))
def test_any_messages(errors: list[str], warnings: list[str]) -> None:
    reason = lack_of_memory(errors, warnings)
    assert "\n" not in reason
    assert len(reason) <= 803
    if reason:
        assert about_memory([*errors, *warnings])


# --- the timing cache ----------------------------------------------------------------------------


def test_tensorrt_says_when_a_timing_cache_does_not_fit(tmp_path: Path) -> None:
    messages = document("timing-cache.8.6.1.txt")
    path = tmp_path / "timings.cache"
    assert use_of(None, messages) == "off"
    assert use_of(path, messages) == "new"
    path.write_bytes(b"of 8.6.0")
    assert use_of(path, messages) == "ignored"
    messages.clear()
    assert use_of(path, messages) == "used"


# --- reasons -------------------------------------------------------------------------------------


def test_a_reason_is_the_last_errors_or_else_the_last_warnings() -> None:
    messages = Messages()
    assert messages.reason() == "nothing"
    messages.warnings += ["first\n  warning", "second"]
    assert messages.reason() == "first warning | second"
    messages.errors += ["one", "two", "three", "four\nin two lines"]
    assert messages.reason() == "two | three | four in two lines"


class Logger:
    """In the place of TensorRT's ILogger, which wants TensorRT."""

    INTERNAL_ERROR, ERROR, WARNING, INFO = range(4)
    Severity = int


def test_one_logger_for_all_who_listen(monkeypatch: pytest.MonkeyPatch) -> None:
    """TensorRT keeps the first logger of a process (NVIDIA/TensorRT#4134)."""
    monkeypatch.setattr("engines.backends.tensorrt.sdk.trt", SimpleNamespace(ILogger=Logger))
    one, other = Messages(), Messages()
    logger: Any = logger_for(one)
    assert logger_for(other) is logger
    logger.log(Logger.WARNING, "a warning")
    logger.log(Logger.INTERNAL_ERROR, "an error")
    logger.log(Logger.INFO, "chatter")
    for messages in (one, other):
        assert messages.all() == ("a warning", "an error")
    one.clear()
    del other
    for number in range(2 * KEPT):
        logger.log(Logger.ERROR, str(number))
    assert one.errors[0] == str(KEPT)
    assert one.errors[-1] == str(2 * KEPT - 1)
