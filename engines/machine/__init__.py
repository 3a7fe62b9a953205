"""Which machine this is, and what it says of itself while it works.

processor      the processors: names, instruction sets, memory
jetson         which Jetson this is; `jetson_facts` holds what NVIDIA's documents say of them
cuda           what CUDA says of its GPU, for a container that sees nothing else of it
fingerprint    all that engines are tied to, as device.json
sensors/       clocks, temperatures, power, throttling, and who else used the machine
"""

from __future__ import annotations

from pathlib import Path

ROOT = Path("/")
"""Where this machine's own files lie; tests put a file tree in its place."""
