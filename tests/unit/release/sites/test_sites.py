"""Sites: laid out once, checked, imported by the thousand; no credentials in git."""

from __future__ import annotations

import csv
import json
import time
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from pydantic import ValidationError
from typer.testing import CliRunner, Result

from engines.config.site import Camera, Site
from engines.config.workspace import Workspace
from engines.config.yaml import load_yaml
from engines.errors import InputError
from release.cli import commands
from release.rollout.release_yaml import models_of
from release.sites.folder import read_site, texts, write_site
from release.sites.inventory import camera_of, make_site, read_table

TARGET = "x86-openvino"
FOLDER = "release/fleet/sites"
GOLDEN = """\
# Site dock-7, whose cluster has the label `site: dock-7`. Yours to edit: `release add-site` and
# `release sites import` wrote it once.
apiVersion: v1
kind: ConfigMap
metadata:
  name: jetrail-site
  namespace: inference
data:
  site.yaml: |
    schema: 1
    site: dock-7
    target: x86-openvino
    ring: canary
    location: Rotterdam, dock 7
    cameras:
      - name: gate
        url: rtsp://10.0.7.10/1
        secret: gate-login
      - name: camera-2
        url: rtsp://10.0.7.11/1?channel=2
    alerts:
      confidenceThreshold: 0.4
"""
FLEET = """\
# Site dock-7, whose cluster has the label `site: dock-7`. Yours to edit: `release add-site` and
# `release sites import` wrote it once.
defaultNamespace: inference
helm:
  releaseName: site-dock-7
overrideTargets:
  - name: site
    clusterSelector:
      matchLabels:
        site: dock-7
"""


@pytest.fixture(autouse=True)
def _here(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workspace.root)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(commands, list(arguments))


def add(name: str = "dock-7", *more: str) -> Result:
    return run("add-site", name, "--target", TARGET, "--ring", "canary", *more)


def test_a_new_site(workspace: Workspace) -> None:
    result = add(
        "dock-7",
        *("--camera", "gate=rtsp://10.0.7.10/1@@gate-login"),
        *("--camera", "rtsp://10.0.7.11/1?channel=2"),
        *("--location", "Rotterdam, dock 7", "--confidence", "0.4"),
    )
    assert result.exit_code == 0, result.output
    folder = workspace.root / FOLDER / "dock-7"
    assert (folder / "configmap.yaml").read_text() == GOLDEN
    assert (folder / "fleet.yaml").read_text() == FLEET
    labels = f"CLUSTER device={TARGET} ring=canary site=dock-7"
    assert f"label clusters.fleet.cattle.io {labels}" in result.stdout
    assert "kubectl -n inference create secret generic gate-login" in result.stdout
    assert read_site(workspace, "dock-7").cameras[0].secret == "gate-login"
    result = run("sites")
    assert result.stdout == "dock-7: x86-openvino, canary, 2 cameras, Rotterdam, dock 7\n"


def test_without_a_site_it_says_how_to_get_one(workspace: Workspace) -> None:
    result = run("sites")
    assert result.exit_code == 0
    assert "There is no site yet. `release add-site NAME" in result.stdout


def test_people_s_edits_stay(workspace: Workspace) -> None:
    add()
    path = workspace.root / FOLDER / "dock-7" / "configmap.yaml"
    path.write_text(path.read_text() + "# mine\n")
    result = add()
    assert result.exit_code == 2
    assert "Expected a new site, got 'dock-7'" in result.stderr
    assert path.read_text().endswith("# mine\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("../dock",), "site: "),
        (("Dock",), "site: "),
        (("x" * 41,), "site: "),
        (("dock", "--camera", "rtsp://admin:hunter2@10.0.0.1/1"), "name a Secret"),
        (("dock", "--camera", "rtsp://admin@10.0.0.1/1"), "name a Secret"),
        (("dock", "--camera", "rtsp://10.0.0.1/1?user=a&password=hunter2"), "expected no password"),
        (("dock", "--camera", "rtsp://10.0.0.1/1?%70wd=hunter2"), "expected no pwd"),
        (("dock", "--camera", "rtsp://10.0.0.1/user=a_password=hunter2_channel=1.sdp"), "password"),
        (("dock", "--camera", "https://10.0.0.1/live?access_token=hunter2"), "no access_token"),
        (("dock", "--camera", "RTSP://a:hunter2@10.0.0.1/1"), "name a Secret"),
        (("dock", "--camera", "rtsp://a:hunter2@ss/w@10.0.0.1/1"), "name a Secret"),
        (("dock", "--camera", "a:hunter2@10.0.0.1=rtsp://10.0.0.1/1"), "cameras.0.name"),
        (("dock", "--camera", "rtsp://[::1/hunter2"), "expected an address"),
        (("",), "word 2 of"),
        ((" ",), "site: "),
        (("zürich",), "site: "),
        (("a/b",), "site: "),
        (("a\nb",), "site: "),
        (("dock", "--camera", "ftp://10.0.0.1/1"), "begins with one of rtsp"),
        (("dock", "--camera", "rtsp:///1"), "begins with one of rtsp"),
        (("dock", "--camera", "rtsp://10.0.0.1:99999/1"), "expected an address"),
        (("dock", "--camera", "a=rtsp://h/1", "--camera", "a=rtsp://h/2"), "camera 1 is 'a' again"),
        (("dock", "--camera", "a=rtsp://h/1@@Not_A_Secret"), "cameras.0.secret"),
        (("dock", "--confidence", "1.5"), "confidenceThreshold"),
        (("dock", "--ring", "staging"), "one of the rings"),
        (("dock", "--target", "toaster"), "got 'toaster'"),
    ],
)
def test_bad_input(workspace: Workspace, arguments: tuple[str, ...], said: str) -> None:
    result = add(*arguments)
    assert result.exit_code == 2, result.output
    assert said in result.stderr
    assert "hunter2" not in result.output
    assert not (workspace.root / FOLDER).exists()


def test_a_site_called_as_a_target_is_no_model(workspace: Workspace) -> None:
    add(TARGET)
    assert models_of(workspace, TARGET) == ["meter"]


@pytest.mark.parametrize(
    ("file", "old", "new", "said"),
    [
        ("configmap.yaml", "site: dock-7", "site: dock-8", "got 'dock-8'"),
        ("configmap.yaml", "name: jetrail-site", "name: other", "Expected a ConfigMap"),
        ("configmap.yaml", "    schema: 1", "    schema: 2", "schema: "),
        ("configmap.yaml", "    ring: canary", "    ring: staging", "got 'staging'"),
        ("configmap.yaml", "x86-openvino", "x86-opnvino", "(did you mean x86-openvino?)"),
        # Lines are those of the file that is named; what is above them is left out here.
        ("configmap.yaml", "    ring: canary", "    rings: canary", "(line 11)"),
        ("configmap.yaml", "    ring: canary", "    ring:\n    - canary", "(line 11)"),
        ("configmap.yaml", "    ring: canary", "    ring: canary\n    ring: pilot", "line 12"),
        ("configmap.yaml", "data:", "data: [", "is not YAML"),
        ("fleet.yaml", "site: dock-7\n", "{}\n", "selects by the label"),
        ("fleet.yaml", "        site: dock-7", "        site: dock-8", "selects by the label"),
        ("fleet.yaml", "overrideTargets", "targetCustomizations", "selects by the label"),
        ("fleet.yaml", "", None, "but it is not there"),
    ],
)
def test_a_broken_folder_is_found_and_hides_no_other(
    workspace: Workspace, file: str, old: str, new: str | None, said: str
) -> None:
    add("dock-6")
    add("dock-7")
    path = workspace.root / FOLDER / "dock-7" / file
    text = path.read_text().partition("wrote it once.\n")[2]
    path.write_text(text.replace(old, new, 1)) if new is not None else path.unlink()
    result = run("sites")
    assert result.exit_code == 2, result.output
    assert said in result.stderr
    assert result.stdout.startswith("dock-6: x86-openvino, canary")


# --- tables --------------------------------------------------------------------------------------


def table(folder: Path, text: str) -> Path:
    path = folder / "inventory.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_import(workspace: Workspace) -> None:
    path = table(
        workspace.root,
        "\ufeffsite,target,ring,location,confidence,cameras\r\n"
        'dock-7,x86-openvino,canary,"Rotterdam, dock 7",0.4,'
        "gate=rtsp://10.0.7.10/1@@gate-login;rtsp://10.0.7.11/1?channel=2\r\n"
        "dock-8,x86-openvino,production,,,\r\n",
    )
    result = run("sites", "import", str(path))
    assert result.exit_code == 0, result.output
    assert result.stdout == "2 of 2 sites are new\n"
    assert (workspace.root / FOLDER / "dock-7" / "configmap.yaml").read_text() == GOLDEN
    edited = workspace.root / FOLDER / "dock-8" / "configmap.yaml"
    edited.write_text(edited.read_text() + "# mine\n")
    result = run("sites", "import", str(path))
    assert result.stdout.splitlines() == [
        "release/fleet/sites/dock-8: left as it is; the table says something else",
        "0 of 2 sites are new",
    ]
    assert edited.read_text().endswith("# mine\n")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "Expected the columns"),
        ("site,target\n", "Expected the columns"),
        ("site,target,ring,colour\n", "Expected the columns"),
        ("site,target,ring\na,x86-openvino\n", "line 2: expected 3 values"),
        ("site,target,ring\na,x86-openvino,canary,more\n", "line 2: expected 3 values"),
        ("site,target,ring\n../a,x86-openvino,canary\n", "line 2: site: "),
        (
            "site,target,ring\na,x86-openvino,canary\na,x86-openvino,pilot\n",
            "line 3: expected another site than 'a', which line 2 has",
        ),
        ("site,target,ring\na,toaster,canary\n", "got 'toaster'"),
        ("site,target,ring\na,x86-openvino,staging\n", "got 'staging'"),
        ("site,target,ring,cameras\na,x86-openvino,canary,rtsp://u:hunter2@h/1\n", "name a Secret"),
        ("a,x86-openvino,canary,g=rtsp://u:hunter2@h/1\n", "got a row of values"),
        ("site,target,ring,ring\na,x86-openvino,canary,pilot\n", "Expected the columns"),
        ('site,target,ring,location\na,x86-openvino,canary,"two\nlines"\n', "location: "),
        ('site,target,ring,location\na,x86-openvino,canary,"open\n', "unexpected end of data"),
        ("site,target,ring,confidence\na,x86-openvino,canary,high\n", "confidenceThreshold"),
    ],
)
def test_a_wrong_table_writes_nothing(workspace: Workspace, text: str, said: str) -> None:
    result = run("sites", "import", str(table(workspace.root, text)))
    assert result.exit_code == 2, result.output
    assert said in result.stderr
    assert "hunter2" not in result.output
    assert not (workspace.root / FOLDER).exists()


def test_tables_of_spreadsheets(workspace: Workspace) -> None:
    """With a mark, CR LF, semicolons or tabs, and letters of all languages."""
    text = (
        "\ufeffSite; Target ;RING;location;confidence;cameras\r\n"
        'dock-7;x86-openvino;canary;Zürich, Größe 東京;0.4;"a=rtsp://h/1;b=rtsp://h/2"\r\n'
    )
    (site,) = read_table(table(workspace.root, text))
    assert (site.location, [one.name for one in site.cameras]) == ("Zürich, Größe 東京", ["a", "b"])
    tabs = "site\ttarget\tring\tcameras\ndock-7\tx86-openvino\tcanary\ta=rtsp://h/1;b=rtsp://h/2\n"
    assert len(read_table(table(workspace.root, tabs))[0].cameras) == 2


@pytest.mark.parametrize("encoding", ["utf-16", "cp1252"])
def test_a_table_in_another_encoding(workspace: Workspace, encoding: str) -> None:
    path = workspace.root / "inventory.csv"
    text = "site,target,ring,location\na,x86-openvino,canary,Zürich\n"
    path.write_bytes(text.encode(encoding))
    result = run("sites", "import", str(path))
    assert result.exit_code == 2
    assert "in UTF-8, got another encoding. Save it as CSV UTF-8." in result.stderr


def test_what_git_has_already_is_not_said_again(workspace: Workspace) -> None:
    """The output of a CI job is read by more people than the repository."""
    add("dock-7", "--camera", "gate=rtsp://10.0.7.10/1")
    path = workspace.root / FOLDER / "dock-7" / "configmap.yaml"
    path.write_text(path.read_text().replace("rtsp://10", "rtsp://admin:hunter2@10"))
    result = run("sites")
    assert result.exit_code == 2
    assert "expected no password in it" in result.stderr
    assert "hunter2" not in result.output


# --- the schema in the chart ---------------------------------------------------------------------

SCHEMA = Path(__file__).parents[4] / "release/charts/inference/site.schema.json"


def test_the_chart_s_schema_is_the_model_s() -> None:
    """For editors and for who writes site.yaml by other means."""
    assert json.loads(SCHEMA.read_text()) == {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **Site.model_json_schema(by_alias=True),
    }


SITE = {"schema": 1, "site": "a", "target": "b", "ring": "c"}


@pytest.mark.parametrize(
    ("change", "good"),
    [
        ({}, True),
        ({"cameras": [{"name": "gate", "url": "rtsp://10.0.0.1:554/1?channel=2"}]}, True),
        ({"cameras": [{"name": "gate", "url": "file:///videos/1.mp4", "secret": "login"}]}, True),
        ({"cameras": [{"name": "gate", "url": "rtsp://a:b@10.0.0.1/1"}]}, False),
        ({"cameras": [{"name": "gate", "url": "rtsp://a@10.0.0.1/1"}]}, False),
        ({"cameras": [{"name": "gate", "url": "ftp://10.0.0.1/1"}]}, False),
        ({"cameras": [{"name": "gate", "url": "rtsp://h/1", "secret": "Not_A_Secret"}]}, False),
        ({"cameras": [{"name": "gate", "url": "rtsp://h/1", "password": "x"}]}, False),
        ({"alerts": {"confidenceThreshold": 1.5}}, False),
        ({"alerts": {"confidenceThreshold": True}}, False),
        ({"alerts": {"confidence_threshold": True}}, False),
        ({"site": "../a"}, False),
        ({"colour": "red"}, False),
    ],
)
def test_schema_and_model_agree(change: dict[str, Any], good: bool) -> None:
    content = SITE | change
    schema = Draft202012Validator(json.loads(SCHEMA.read_text()))
    assert schema.is_valid(content) == good
    with suppress(ValidationError) if not good else nullcontext():
        Site.model_validate(content)
        assert good


def test_no_table(workspace: Workspace) -> None:
    assert run("sites", "import", "gone.csv").exit_code == 2
    assert run("sites", "import").exit_code == 2
    assert run("sites", "export", "x.csv").exit_code == 2


def test_ten_thousand_rows_are_read(tmp_path: Path) -> None:
    path = tmp_path / "inventory.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["site", "target", "ring", "cameras"])
        for number in range(10_000):
            writer.writerow([f"site-{number}", TARGET, "canary", f"rtsp://10.0.{number % 256}.1/1"])
    begin = time.perf_counter()
    assert len(read_table(path)) == 10_000
    print(f"10,000 sites read in {time.perf_counter() - begin:.1f} s")


names = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True)
cameras = st.builds(
    Camera,
    name=names,
    url=st.from_regex(r"rtsp://[a-z0-9]{1,20}(:554)?(/[a-zA-Z0-9:#'\"{}&*!|>%?=-]{0,20})?",
                      fullmatch=True),
    secret=st.none() | names,
)  # fmt: skip
sites = st.builds(
    Site,
    site=names,
    target=names,
    ring=names,
    location=st.text(st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp")), max_size=50),
    cameras=st.lists(cameras, max_size=4, unique_by=lambda one: one.name).map(tuple),
)


@pytest.mark.parametrize("location", ["two\nlines", "a\x85b", "a\u2028b", "a\x00b", "\x1b[31mred"])
def test_a_location_is_one_line(location: str) -> None:
    with pytest.raises(ValidationError, match="one line of text"):
        Site(site="a", target="b", ring="c", location=location)


@given(sites)
def test_what_is_written_is_read_again(
    tmp_path_factory: pytest.TempPathFactory, site: Site
) -> None:
    """Whatever a location or an address looks like in YAML."""
    workspace = Workspace(root=tmp_path_factory.mktemp("sites"))
    write_site(workspace, site)
    assert read_site(workspace, site.site) == site
    content = load_yaml(workspace.root / FOLDER / site.site / "configmap.yaml")
    assert set(content["data"]) == {"site.yaml"}
    assert set(texts(site)) == {"fleet.yaml", "configmap.yaml"}


@given(st.text(), st.text())
def test_any_camera_is_one_or_refused(one: str, other: str) -> None:
    for text in (one, f"{one}={other}", f"rtsp://{one}@@{other}"):
        fields = {"site": "a", "target": "b", "ring": "c", "cameras": [camera_of(text, 1)]}
        with suppress(InputError):
            make_site("here", fields)
