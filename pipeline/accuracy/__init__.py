"""How accurate detections are, against labels and against FP32.

basis         what an evaluation rests on: all of the same network and pictures
coco          COCO's mAP
reference     what float32 finds in the evaluation set, bound to its pictures by content
bootstrap     how sure a drop of it is
confidence    how far confidences moved
onnx_shift    how far the built engine is from its own ONNX file
worth         what figures of a small set, or of crowds, are worth
"""
