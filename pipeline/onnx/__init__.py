"""ONNX files, where precision is decided once for all devices.

onnx_file       read, check, describe and write one; `onnx_metadata` reads little of a large one
simplify        onnxsim, in a child process
exported        what export wrote, checked before a later step reads it
head            where the detect head begins: what stays float
ranges          the range of each activation, from histograms
quantizer       model.fp16.onnx and model.int8.onnx
session         ONNX Runtime, the reference; `inference` runs a data set through it
"""
