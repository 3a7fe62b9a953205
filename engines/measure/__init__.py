"""Times, and what the machine did while they were taken.

windows      single calls in short windows, without those in which others had the processors
neighbours   what other programs did to the processors in a window
gpu          what they did to the GPU, and whether its clock stood still
latency      the distribution of single calls, the interval of its p99, its drift
sampler      clocks, temperatures, power and other programs, watched while a block runs
memory       the most memory that a process took
"""
