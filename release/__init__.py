"""The command `release`: from engines that pass to the image tags that Fleet rolls out.

cli          parses, calls one step, maps errors to exit codes
terminal     what people see
steps/       one module a command; steps never import each other
registry/    MLflow: what it is told, policy
signing/     keys, the signed statement, and its check
image/       one layer on a base, an OCI layout, a push to a registry
rollout/     release.yaml of each ring; what Fleet makes of all files, and of a sync
gitops/      the branch that Fleet reads: fetched, built upon, pushed without force
smoke/       an image, run on this machine as a cluster would run it
airgap/      all that a site without a network runs, in one file
sites/       a folder a site: its ConfigMap, and the cluster that it goes to
reports/     what clusters run by Fleet's word, and by their pods' own
moves/       promotions and rollbacks: one commit each
tags         the grammar of image tags
attested     what a signed statement tells: whether pods trust it, and what was measured where
compared     what the candidates are chosen from
contents     what an image holds: the engine's files that are signed and packed
lineage      hashes by which DVC knows files and data sets
packed       release/records/<release>/image.json: which image a release is
records      release/records/: what was published, and each model's candidate
lock         one command at a time
say          how a step tells what it does meanwhile

Data, no code: rings.yaml, templates/ (what a new folder of fleet/ begins as), trust/ (keys that may
sign), fleet/ and records/.
"""
