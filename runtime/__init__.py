"""The command `runtime`: the pod that runs an engine at a site.

cli          parses, calls one subject, maps errors to exit codes
pod          the pod's life: checked, serving, ended by SIGTERM
server       three GET routes for the kubelet and for Prometheus, and an end in order
metrics      what Prometheus is told, under the names of docs/runtime.md
health       does the engine still find its golden boxes, and in time?
memory       how much of the memory that the pod may have is taken
worker       the one thread that uses the engine, asked with a deadline
check        what happens before anything runs: trust, device, golden boxes
trust        /models is what a trusted key signed, and what this pod was told to run

Data flows from below: `trust` lets `check` load the engine, `worker` takes it, `health` asks it. Of
`engines` a pod imports records, config, machine, backends, detect, and the app of its commands.
"""
