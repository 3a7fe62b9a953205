"""OpenVINO's package counts how often it is used and tells a server of others: not here, where the
process that sends would run beside what is measured."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

IMPORTS = """\
import multiprocessing.process as process
import sys
process.BaseProcess.start = lambda *_: sys.exit("a process was started")
from engines.backends.openvino.{module} import *
import openvino
openvino.Core()
openvino.convert_model
from openvino.tools.ovc import telemetry_utils
telemetry_utils.init_ovc_telemetry().send_event("ovc", "any")
"""


def test_nothing_is_sent_and_no_client_id_is_written(tmp_path: Path) -> None:
    # Where CI is set, nothing would be sent anyway.
    environment = {key: value for key, value in os.environ.items() if key not in ("CI", "TF_BUILD")}
    for module in ("backend", "session"):
        done = subprocess.run(
            [sys.executable, "-c", IMPORTS.format(module=module)],
            env=environment | {"HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert list(tmp_path.iterdir()) == []
