"""How accurate detections are, against labels and against FP32.

coco          COCO's mAP
bootstrap     how sure a drop of it is
confidence    how far confidences moved
onnx_shift    how far the built engine is from its own ONNX file
worth         what figures of a small set are worth
"""
