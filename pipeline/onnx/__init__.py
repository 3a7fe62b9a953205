"""ONNX files, where precision is decided once for all devices.

reading         read one: its content only, and what lies in its own folder
onnx_file       check, describe and write one
simplify        onnxsim, in a child process
checkpoint_outputs  what the checkpoint itself makes of a few pictures, by which verify judges
exported        what export wrote, checked before a later step reads it
head            where the detect head begins: what stays float
ranges          signed histograms of activations, and the ranges that they offer
overflow        activations that float16 cannot hold
range_search    where INT8's ranges are chosen, by the error of the output
quantizer       model.fp16.onnx and model.int8.onnx
golden          golden.npz, by which an engine is compared with its ONNX file wherever it is
session         ONNX Runtime, the reference; `inference` runs a data set through it
"""

import os

# Before any room imports ONNX Runtime, which from 1.29 on writes an identity into the home folder
# and sends names and hashes of models to a server. Who wants that sets it to 0.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
