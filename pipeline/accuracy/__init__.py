"""How accurate detections are, against labels and against FP32.

coco          COCO's mAP
bootstrap     how sure a drop of it is
confidence    how far confidences moved
worth         what figures of a small set are worth
"""
