"""OpenVINO on CPUs.

options    `builder:` of a row, which asks for nothing
backend    build a blob and load it
graph      the ONNX file as a graph for one frame
isa        the instructions that OpenVINO may use here
fold       Q/DQ as OpenVINO computes it rightly with them
settings   streams, and the type to compute in
executed   what really runs
session    frames through a loaded blob
messages   OpenVINO's errors in our words

The engine takes uint8 NHWC BGR: colour order, scaling and layout are part of the graph.

It is compiled for exactly one image, and a batch of n is n requests spread over the processors.
Measured with a YOLOv8n at 320 x 320 in bf16 on 2 cores, OpenVINO 2026.4: a batch axis that is free
costs a tenth of the latency at batch 1 (6.3 against 5.7 ms), and a graph compiled for batch 4 takes
4.4 ms an image against 3.9 ms for four requests on two streams.
"""

import sys

# The package writes a client id into the home folder and sends what was called to a server, from a
# process of its own, which would run beside a measurement. OpenVINO does without where it is not
# installed, and that is what it is told here, before any room imports OpenVINO.
sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
