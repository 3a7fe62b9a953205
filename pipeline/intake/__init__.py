"""What people bring: read without running anything in it, and refused by name.

names             the rule for names of models and targets
checkpoint        a YOLOv8 checkpoint; `checkpoint_scan` looks through its pickle first
data_yaml         the data.yaml of a training
dataset           pictures and labels on the disk
"""
