"""What is written down: the JSON files that travel between the steps, one frozen model a file.

record        the base of all of them: read strictly, written atomically
explain       what is wrong with one, in words of the file
fingerprint   device.json: which machine this is
thresholds    what of an engine's raw output is a detection
manifest      manifest.json: what an engine is, and what it was made from
reason        why a measurement cannot be trusted, and which reason follows from which
benchmark     benchmark.json: how fast it is on its device
evaluation    evaluation.json: how accurate it is
verdict       verdict.json: the gate's word
attestation   attestation.json: a key's word on the files of a release, and its check
trusted_key   whose word counts, and from when until when
signed_folder /models held against its attestation
folder        EngineFolder: the files of one engine by name, and whether they belong together

Units stand in the names. A file with an unknown key, or without a needed one, is refused with its
path and the key.
"""
