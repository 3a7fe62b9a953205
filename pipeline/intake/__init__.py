"""What people bring: read without running anything in it, and refused by name.

names             the rule for names of models and targets
checkpoint        a YOLOv8 checkpoint; `checkpoint_file` bounds it and
                  `checkpoint_scan` looks through its pickle first; stand_ins: plain values
                  for what it holds besides a network; foreign: what it is where it is none
network           whether the network in it is whole, of YOLOv8's size, and runs
training          what it says of its training
memory            a bound on what reading it may take; written_out: how much its values would be
saved_anew        commands that save one so that it can be taken
weights           whether a checkpoint fits, and a copy of just what was checked
pictures          pictures found, bounded and decoded; labels: their label files
dataset           pictures and labels of a set on the disk; contents: which they are, by content
data_yaml         the data.yaml of a training
split             its splits dealt out into three disjoint sets; sets: each copied and counted
way_back          how weights or data that are gone come back
brought           from data.yaml to the copied sets, for a checkpoint
"""
