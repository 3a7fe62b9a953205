"""What a machine says of itself while it measures: one module for each kind of sensor.

`reading.py` holds the protocol and what all of them say; `processors.py` reads /proc and /sys of
any Linux machine, `jetson.py` those of a Jetson, and `engines.nvml` asks the driver of a card.
Everything that is a file is read below a root that tests replace with a tree of their own; what
cannot be read is None, and `engines.validity` says where that is reason to distrust a measurement.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from engines.sensors.jetson import JetsonSensor, is_jetson
from engines.sensors.processors import ProcessorSensor
from engines.sensors.reading import Sensor


def open_sensors(root: Path, cpus: Iterable[int], *, gpu: bool) -> Sequence[Sensor]:
    """The sensors of this machine, to be closed; those of its GPU only where `gpu` says so."""
    processors = ProcessorSensor(root, cpus)
    if not gpu:
        return (processors,)
    # NVML answers nearly nothing on a Jetson Orin and only for the GPU on a Thor, where the rails
    # of the whole module can be read: one machine must not mix the two.
    if is_jetson(root):
        return (processors, JetsonSensor(root))
    from engines.nvml import open_card

    card = open_card()
    return (processors,) if card is None else (processors, card)
