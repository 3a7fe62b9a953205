"""`engines/targets/<target>/params.yaml`: one kind of device as a row of data."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import (
    Field,
    SerializeAsAny,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    field_validator,
    model_validator,
)
from typing_extensions import Self

from engines.backends import BuilderOptions, options_type
from engines.config.names import Name, meant
from engines.config.workspace import Workspace
from engines.config.yaml import load_named
from engines.errors import InputError
from engines.files import listed
from engines.packages import PACKAGES, Package
from engines.records.explain import explain
from engines.records.manifest import Batch
from engines.records.record import Part, Precision
from engines.records.thresholds import Share, Thresholds

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Pixels = Annotated[int, Field(gt=0, le=16384)]


Policy = Literal["fastest", "most-accurate", "smallest"]
"""Which of a model's passing engines is the candidate."""


Shift = TypeVar("Shift")


class _Limits(Part, Generic[Shift]):
    """The limits that are one number for all engines of a target; whole-frame figures are at batch
    1."""

    frame_p99_ms: Positive
    frame_p50_ms: Positive
    throughput_fps: Positive
    """At least so many whole frames a second with several in flight."""
    map50_95_drop: NotNegative
    confidence_shift: NotNegative
    onnx_shift: Shift
    """Mean change of the scores against the engine's own ONNX file."""
    memory_peak_mib: Positive
    engine_size_mib: Positive
    hot_frame_p99_ms: Positive | None = None
    """The whole frame's p99 at the end of a soak; needs `benchmark.soak_minutes`."""


class Budgets(_Limits[NotNegative]):
    """Limits that an engine must keep."""

    def limits(self) -> dict[str, float]:
        """The limits that there are, by name."""
        return self.model_dump(exclude_none=True)


class ByPrecision(Part):
    """A limit for each precision."""

    fp32: NotNegative
    fp16: NotNegative
    int8: NotNegative


_ONE_SHIFT: TypeAdapter[float] = TypeAdapter(NotNegative)


class TargetBudgets(_Limits[NotNegative | ByPrecision]):
    """`budgets:` of a row. `onnx_shift` is one for all, or one for each precision: what rightly
    built engines come to differs by a factor of fifty (docs/quantization.md)."""

    @field_validator("onnx_shift", mode="wrap")
    @classmethod
    def _by_its_form(
        cls, value: Any, check: ValidatorFunctionWrapHandler
    ) -> NotNegative | ByPrecision:
        """Of a union pydantic tells first why it is not the other kind: of a precision that was
        mistyped, that it is no number."""
        if isinstance(value, dict):
            return ByPrecision.model_validate(value)
        return _ONE_SHIFT.validate_python(value)

    def of(self, precision: Precision) -> dict[str, float]:
        """The limits that there are for an engine of that precision, by name."""
        shift = self.onnx_shift
        one = getattr(shift, precision) if isinstance(shift, ByPrecision) else shift
        return self.model_dump(exclude_none=True) | {"onnx_shift": one}


BudgetSource = Literal["derived", "article", "required", "measured"]
"""Where budgets are from: figures of other devices, the article's table, what cameras need
whatever the device can do, or the device itself (`pipeline budgets`)."""


class EngineRow(Part):
    """One engine of a target; `budgets` replaces single limits of the target's for this engine."""

    model: Name
    precision: Precision
    budgets_from: BudgetSource | None = None
    """As the target's where it is None."""
    budgets: dict[str, float] = Field(default_factory=dict)


class BenchmarkRow(Part):
    """How long to measure, and when to trust it."""

    frame_size: tuple[Pixels, Pixels]
    """Height and width of the camera frame, in pixels."""
    warmup_seconds: Positive
    seconds: Positive
    """Quiet time for each figure at least; more while its times drift, or while the p99 of the
    frame by itself, which has a budget, is not stable yet."""
    max_seconds: Positive
    """Time for each figure at most, quiet or not; or six times what 300 calls take, if that is
    more."""
    p99_interval_share: NotNegative
    """The p99 is stable when its 95 % confidence interval is no wider than this part of it (which
    on a busy machine can be several times itself, so that 1 is no natural bound)."""
    max_attempts: int = Field(ge=1, le=10)
    """Measurements of all figures at most: another one where the machine was hot, throttled or the
    like, which passes."""
    max_steal_share: Share
    max_others_share: Share
    max_run_queue_wait_share: Share
    """Threads of one process wait for each other too, so this is no fine measure of others."""
    max_drift_share: NotNegative
    max_temperature_c: Positive
    max_clock_drift_share: Share | None = None
    """How far the GPU's clock may move while the latencies are taken, as a part of its highest."""
    power_mode: str | None = None
    """The Jetson's power mode that the budgets are for, as `nvpmodel -q` names it."""
    soak_minutes: NotNegative = 0
    """How long to measure hot after the rest; 0: not at all."""

    @model_validator(mode="after")
    def _longer(self) -> Self:
        if self.max_seconds < self.seconds:
            raise ValueError(
                f"expected max_seconds of at least {self.seconds:g} seconds, got "
                f"{self.max_seconds:g}"
            )
        return self


class TargetConfig(Part):
    """`params.yaml` of a target: its row of data."""

    schema_: Literal[1] = Field(alias="schema")
    target: Name
    backend: str
    engine_file: str
    """Named here too because the stages of dvc.yaml, which only see this row, need it."""
    runner_tag: str | None
    """Tag of the GitLab runners on such devices; None: any runner will do."""
    fleet_label: Name
    """Value of the label `device` of the clusters that run this target's engines."""
    device: dict[str, str]
    """What the fingerprint must say, for example `{kind: jetson, family: orin-nx}`."""
    builder: SerializeAsAny[BuilderOptions]
    """The options of the backend, as its own folder defines them."""
    batch: Batch
    benchmark: BenchmarkRow
    evaluate: Thresholds
    budgets_from: BudgetSource = "derived"
    budgets: TargetBudgets
    policy: Policy
    """Which passing engine of a model goes to the canary ring."""
    policy_margin: Share = 0.02
    """Part of a time by which runs of one engine differ: another precision has to be faster by more
    to replace the candidate."""
    engines: dict[str, EngineRow]

    @field_validator("backend")
    @classmethod
    def _known(cls, value: str) -> str:
        options_type(value)
        return value

    @field_validator("builder", mode="wrap")
    @classmethod
    def _of_the_backend(
        cls, value: Any, check: ValidatorFunctionWrapHandler, info: ValidationInfo
    ) -> Any:
        """A union told apart by the row's `backend`; one that is not known is refused there."""
        backend = info.data.get("backend")
        if backend is None:
            return BuilderOptions.model_construct()
        return options_type(backend).model_validate(value)

    @model_validator(mode="after")
    def _file_of_the_package(self) -> Self:
        if self.engine_file != self.package.engine_file:
            raise ValueError(
                f"expected `engine_file: {self.package.engine_file}`, since the engines of "
                f"{self.package.name} are called so; got {self.engine_file}"
            )
        return self

    @field_validator("batch")
    @classmethod
    def _ordered(cls, value: Batch) -> Batch:
        if not value.min <= value.opt <= value.max:
            raise ValueError(
                f"expected min <= opt <= max, got {value.min}, {value.opt}, {value.max}"
            )
        return value

    @model_validator(mode="after")
    def _engines_named_by_content(self) -> Self:
        for key, row in self.engines.items():
            if key != f"{row.model}-{row.precision}":
                raise ValueError(
                    f"engine {key!r}: expected the key `{row.model}-{row.precision}`, "
                    "since an engine is named <model>-<precision>"
                )
            if self.budgets_of(key).hot_frame_p99_ms and not self.benchmark.soak_minutes:
                raise ValueError(
                    f"engine {key!r}: expected benchmark.soak_minutes above 0, since "
                    "budgets.hot_frame_p99_ms is measured by a soak; got 0"
                )
        return self

    @property
    def package(self) -> Package:
        """The package that the target's backend runs on."""
        return PACKAGES[self.builder.package]

    @property
    def build_device(self) -> dict[str, str]:
        """What the machine that builds must be."""
        return self.device if self.builder.device is None else self.builder.device

    @property
    def is_jetson(self) -> bool:
        """Whether the target's devices are Jetsons, which tell more of themselves."""
        return self.device.get("kind") == "jetson"

    def budgets_of(self, engine: str) -> Budgets:
        """The budgets of one engine: the target's, with the engine's own over them."""
        row = self.engines[engine]
        merged = self.budgets.of(row.precision) | row.budgets
        try:
            return Budgets.model_validate(merged)
        except ValidationError as error:
            raise ValueError(f"engine {engine!r}: budgets.{explain(error, of=Budgets)}") from error

    def engine(self, key: str) -> EngineRow:
        """The row of one engine. Raises InputError when the target has none of that name."""
        if key not in self.engines:
            raise InputError(
                f"Expected one of the engines of target {self.target}: "
                f"{', '.join(self.engines) or 'none yet'}; got {key!r}{meant(key, self.engines)}. "
                "Take one of these, or add it under `engines:` in the target's params.yaml."
            )
        return self.engines[key]


def load_target(workspace: Workspace, name: str) -> TargetConfig:
    """Read `engines/targets/<name>/params.yaml`. Raises InputError."""
    return load_named(
        TargetConfig,
        workspace.targets,
        name,
        file="params.yaml",
        key="target",
        bring="Make a new one with `pipeline add-target NAME --from TARGET`.",
    )


def label_of(workspace: Workspace, target: str) -> str | None:
    """The `fleet_label` of a target, as its row says now; None where no row can be read."""
    with suppress(InputError):
        return load_target(workspace, target).fleet_label
    return None


def target_names(workspace: Workspace) -> list[str]:
    """The folders under engines/targets that hold a row, by name."""
    return [path.parent.name for path in listed(workspace.targets, "*/params.yaml")]


def readable_targets(workspace: Workspace) -> Iterator[TargetConfig]:
    """The rows under engines/targets, without those that do not parse."""
    for name in target_names(workspace):
        with suppress(InputError):
            yield load_target(workspace, name)
