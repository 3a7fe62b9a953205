"""CUDA's driver API, as far as running an engine needs it.

driver    the bindings, how a call fails, and the GPU with its primary context
stream    streams, graphs and events
memory    pinned host memory, memory on the GPU, and the two as one buffer
"""
