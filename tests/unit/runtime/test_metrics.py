"""/metrics: the article's names, and nothing that this machine does not know."""

from __future__ import annotations

from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from runtime.memory import read_memory_percent
from runtime.metrics import Metrics


def tree(root: Path, files: dict[str, object]) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{content}\n")
    return root


def samples(metrics: Metrics) -> dict[str, float]:
    """Name, with its labels where it has some, to value."""
    families = text_string_to_metric_families(metrics.text().decode())
    return {
        " ".join(
            [one.name, *(one.labels[key] for key in sorted(one.labels, reverse=True))]
        ): one.value
        for family in families
        for one in family.samples
    }


def make(root: Path, **changes: object) -> Metrics:
    about = {"version": "1.0", "release": "v1.0-t-fp16-0a", "expected_version": "2.0", "gpu": False}
    return Metrics(**(about | {"root": root} | changes))  # type: ignore[arg-type]


MACHINE = {"proc/meminfo": "MemTotal: 8000 kB\nMemAvailable: 6000 kB"}


def test_without_a_gpu(tmp_path: Path) -> None:
    warm = {"sys/class/thermal/thermal_zone0/temp": 51250}
    found = samples(make(tree(tmp_path, MACHINE | warm)))
    assert found["model_version 1.0 v1.0-t-fp16-0a"] == 1
    assert found["model_version_expected 2.0"] == 1
    assert found["memory_usage_percent"] == 25
    assert 0 < found["disk_usage_percent"] < 100
    assert found["uptime_seconds"] >= 0
    errors = {name: value for name, value in found.items() if "errors_total" in name}
    assert errors == {
        f"inference_errors_total {cause}": 0 for cause in ("failed", "late", "other boxes")
    }
    assert not [name for name in found if name.startswith("gpu_")]
    assert "inference_latency_p99_ms" not in found, "nobody knows it yet"


def test_latency(tmp_path: Path) -> None:
    metrics = make(tmp_path)
    for ms in range(1, 101):
        metrics.observe(ms / 1e3)
    found = samples(metrics)
    assert found["inference_latency_p99_ms"] == pytest.approx(99.01)
    assert found["inference_latency_seconds_count"] == 100
    assert found["inference_latency_seconds_bucket 0.03"] == 30
    for _ in range(1000):
        metrics.observe(0.001)
    assert samples(metrics)["inference_latency_p99_ms"] == pytest.approx(1), "of the latest"


def test_uptime_is_of_this_process(tmp_path: Path) -> None:
    times = iter([100.0, 107.5])
    assert samples(make(tmp_path, clock=lambda: next(times)))["uptime_seconds"] == 7.5


def test_a_jetson(tmp_path: Path) -> None:
    jetson = {
        "proc/device-tree/compatible": "nvidia,p3768-0000+p3767-0000\0nvidia,tegra234",
        "proc/device-tree/model": "NVIDIA Jetson Orin NX",
        "etc/nv_tegra_release": "# R36 (release), REVISION: 4.3",
        "sys/class/devfreq/17000000.gpu/cur_freq": 918000000,
        "sys/class/devfreq/17000000.gpu/device/load": 653,
        "sys/class/thermal/thermal_zone0/temp": 51250,
        "sys/class/thermal/thermal_zone1/temp": 49000,
    }
    found = samples(make(tree(tmp_path, MACHINE | jetson), gpu=True))
    assert found["gpu_utilization_percent"] == 65.3
    assert found["gpu_temperature_celsius"] == 51.25
    assert found["gpu_memory_used_mb"] == pytest.approx(2000 * 1024 / 1e6)


# --- memory --------------------------------------------------------------------------------------

V2 = "sys/fs/cgroup/memory"
V1 = "sys/fs/cgroup/memory/memory"


@pytest.mark.parametrize(
    ("files", "percent"),
    [
        ({f"{V2}.current": 3 << 20, f"{V2}.max": 4 << 20}, 75),
        (
            {
                **{f"{V2}.current": 3 << 20, f"{V2}.max": 4 << 20},
                f"{V2}.stat": f"anon 1\ninactive_file {1 << 20}",
            },
            50,
        ),
        ({f"{V2}.current": 3 << 20, f"{V2}.max": "max"}, 25),
        ({f"{V1}.usage_in_bytes": 1 << 20, f"{V1}.limit_in_bytes": 4 << 20}, 25),
        ({f"{V1}.usage_in_bytes": 1 << 20, f"{V1}.limit_in_bytes": 9223372036854771712}, 25),
        ({}, 25),
    ],
    ids=["limit", "files that can go", "no limit", "version 1", "no limit in 1", "no group"],
)
def test_memory_is_of_the_container_s_limit(
    tmp_path: Path, files: dict[str, object], percent: float
) -> None:
    assert read_memory_percent(tree(tmp_path, MACHINE | files)) == percent


def test_memory_of_a_machine_that_does_not_say(tmp_path: Path) -> None:
    assert read_memory_percent(tmp_path) is None
