"""What the backend `tensorrt` is made of.

options    what a row may ask for; `supported`: what of it this TensorRT and this device can do
parse      an ONNX file, with `uint8_input` in front, to a network
build      a network to a plan, in a process of its own; `timing_cache`, `layers`, `out_of_memory`
backend    starts that process, and loads what it built
engine     a plan, loaded, and its contexts
session    frames through it: `cuda` memory and `stream`, a graph a batch
sdk        TensorRT or TensorRT-RTX, whichever was chosen
"""
