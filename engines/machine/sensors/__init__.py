"""What a machine says of itself while it measures: one module for each kind of sensor.

`reading.py` holds the protocol and what all of them say; `processors.py` reads /proc and /sys of
any Linux machine, `quota.py` what a container may use of them, `jetson.py` the files of a Jetson,
and `engines.machine.sensors.nvml` asks the driver of a card. Everything
that is a file is read below a root that tests replace with a tree of their own; what cannot be read
is None, and `pipeline.latency.validity` says where that is reason to distrust a measurement.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from engines.machine.jetson import is_jetson
from engines.machine.sensors.jetson import JetsonSensor
from engines.machine.sensors.processors import ProcessorSensor
from engines.machine.sensors.reading import Counters, Reading, Sensor, read_memory_used_mib


def open_sensors(root: Path, cpus: Iterable[int], *, gpu: bool) -> Sequence[Sensor]:
    """The sensors of this machine, to be closed; those of its GPU only where `gpu` says so."""
    processors = ProcessorSensor(root, cpus)
    if not gpu:
        return (processors,)
    # NVML answers nearly nothing on a Jetson Orin and only for the GPU on a Thor, where the rails
    # of the whole module can be read: one machine must not mix the two.
    if is_jetson(root):
        return (processors, JetsonSensor(root))
    from engines.machine.sensors.nvml import open_card

    card = open_card()
    if card is None:
        return (processors,)
    shared = card.read().gpu_memory_mib is None
    return (processors, card, SharedMemorySensor(root)) if shared else (processors, card)


class SharedMemorySensor:
    """The memory that processors and GPU share, where the driver says nothing of the GPU's."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def read(self) -> Reading:
        """What all programs have taken."""
        return Reading(gpu_memory_mib=read_memory_used_mib(self._root))

    def count(self) -> Counters:
        """Nothing is counted."""
        return Counters()

    def close(self) -> None:
        """Nothing is held."""
