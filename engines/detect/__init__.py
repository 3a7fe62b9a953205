"""A camera frame in, boxes out: what benchmark, evaluate, MLflow and the pod all run.

letterbox    a frame into the network's input
decode       raw head output into boxes
detections   boxes of one picture, and how far boxes overlap
arrays       boxes of many pictures as arrays of a file
detector     an engine with its pre- and post-processing
pictures     pictures in files: bounded, and decoded to the same pixels everywhere
golden       golden.npz: frames and the boxes that an engine found on its own device
pyfunc       a released engine as MLflow calls it
"""
