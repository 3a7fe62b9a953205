"""What the backend `tensorrt` is made of.

options    what a row may ask of this TensorRT and this device
parse      an ONNX file, with `uint8_input` in front, to a network
build      a network to a plan, in a process of its own; `timing_cache`, `layers`, `memory`
engine     a plan, loaded, and its contexts
session    frames through it: `cuda` memory and `stream`, a graph a batch
sdk        TensorRT or TensorRT-RTX, whichever was chosen
"""
