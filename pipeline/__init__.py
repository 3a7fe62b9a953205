"""The command `pipeline`: from a checkpoint to a verdict on each engine of a target.

cli/          parses, calls one step, maps errors to exit codes
terminal/     what people see when a step is done: tables of 80 columns
steps/        one module a command; steps never import each other and meet through files
intake/       what people bring: checkpoints, data.yaml, pictures and labels
onnx/         export, float16 and INT8: where precision is decided
accuracy/     mAP, how sure its drop is, and the shift of confidences
latency/      times through pytest-benchmark, a soak, NVIDIA's own tool, and when to trust them
report/       the figures of an engine that people choose by
device/       whether this machine is a target's device, and what it lacks
repository/   git, DVC, and edits of files that people keep
progress      bars while a step works
config        params.yaml of the model side
records       verify.json and quantize.json, which no other package reads
"""
