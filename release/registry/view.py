"""The table of runs that the address of a publication opens: the figures that matter, first.

Without it MLflow's table shows when a run was made and by what, and no figure until somebody
chooses its columns; run names, which tell the engines apart, are cut in the middle. MLflow keeps
such a view in a tag of the experiment, under a key that an address may name, and since 3.17 lists
those that have a name in its menu of views. Read by 2.14 and 3.17.
"""

from __future__ import annotations

import json

_KEY = "jetrail"
TAG = f"mlflow.sharedViewState.{_KEY}"

# Not the drops: a table that cuts -1.03e-05 after some digits shows a loss of a whole.
_COLUMNS = (
    *("metrics.`frame_p50_ms`", "metrics.`frame_p99_ms`", "metrics.`map50_95`"),
    *("params.`precision`", "params.`target`"),
)
# All that a page has a state of: servers before 3.17 fill nothing in.
_STATE = {
    **{"selectedColumns": _COLUMNS, "viewMaximized": False, "runListHidden": False},
    **{"runsExpanded": {}, "runsPinned": [], "runsHidden": [], "runsVisibilityMap": {}},
    **{"runsHiddenMode": "FIRST_10_RUNS", "isAccordionReordered": False, "hideEmptyCharts": True},
    **{"useGroupedValuesInCharts": True, "groupBy": None, "groupsExpanded": {}},
    **{"autoRefreshEnabled": True, "searchFilter": "", "orderByAsc": False, "startTime": "ALL"},
    **{"orderByKey": "attributes.start_time", "lifecycleFilter": "Active"},
    **{"datasetsFilter": [], "modelVersionFilter": "All Runs"},
}
# The menu reads `state`, an address the rest; the times, in ms, only put views in order.
_NAMED = {"name": "Figures", "createdAt": 0, "updatedAt": 0, "state": json.dumps(_STATE)}
VALUE = json.dumps({**_STATE, **_NAMED})


def query(tags: dict[str, str]) -> str:
    """What an address of the runs of an experiment with these tags ends with.

    The kind of experiment is said there once more: MLflow's pages of now go by the address and by
    what a browser saw last, which is GenAI at first, and not by the experiment's tag.
    """
    return "?workflowType=machine_learning" + (f"&viewStateShareKey={_KEY}" if TAG in tags else "")
