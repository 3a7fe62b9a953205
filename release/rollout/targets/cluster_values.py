"""The chart's values of one cluster: labels and templates filled in.

`global.fleet.clusterLabels.X` becomes the label X, or nothing where the cluster has none. `${ }` is
a Go template over the whole values as YAML text, read in again afterwards, so a label `7` becomes a
number. An error for one cluster stops the bundle for all (`builder.go:preprocessHelmValues`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from release.rollout.clusters.inventory import NAMESPACE, Cluster
from release.rollout.reading.text import NotYaml, parse_document, resolve
from release.rollout.reading.values import Options
from release.rollout.targets.go_template import Template, parse_template
from release.rollout.targets.template_functions import TemplateFails

LABEL_PREFIX = "global.fleet.clusterLabels."
"""A value that begins so is a cluster's label."""
MAX_DEPTH = 50


class ClusterValues:
    """Fills in the values of clusters that have the same options; equal results are made once."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.helm: Options = options.get("helm") or {}
        self._values: dict[str, Any] = self.helm.get("values") or {}
        self._labels = sorted(set(_label_values(self._values)))
        self._templates: dict[str, str] = self.helm.get("templateValues") or {}
        self._plain: dict[tuple[str, ...], tuple[Options, Template | None]] = {}
        self._read: dict[str, Any] = {}
        self._made: dict[int, Options] = {}
        """By the identity of their values, which they keep alive."""

    def options_of(self, cluster: Cluster) -> Options:
        """The options of a cluster, filled in. Raises TemplateFails and CannotTell."""
        labels = clean(cluster.labels, keep_own=True)
        if not labels:
            return self.options
        if "helm" not in self.options:
            return {**self.options, "helm": {}}
        values = self._values
        if "templateValues" in self.helm or self._values:
            values = self._filled(cluster, labels)
        if id(values) not in self._made:
            self._made[id(values)] = {**self.options, "helm": {**self.helm, "values": values}}
        return self._made[id(values)]

    def lacking(self, cluster: Cluster) -> list[str]:
        """Labels that values name and the cluster does not have."""
        names = [one.removeprefix(LABEL_PREFIX) for one in self._labels]
        known = clean(cluster.labels, keep_own=True) if names else {}
        return [one for one in names if one not in known]

    def _filled(self, cluster: Cluster, labels: dict[str, str]) -> dict[str, Any]:
        values, template = self._with_labels(labels)
        if template is None:
            return values
        context = {
            "ClusterNamespace": cluster.namespace or NAMESPACE,
            "ClusterName": cluster.name,
            "ClusterLabels": labels,
            "ClusterAnnotations": clean(cluster.annotations),
            "ClusterValues": _floats(cluster.template_values),
        }
        filled = values if template.constant else self._parse(template.render(context), True)
        rendered = {
            name: self._parse(parse_template(text).render(context))
            for name, text in sorted(self._templates.items())
        }
        return {**filled, **rendered} if rendered else filled

    def _with_labels(self, labels: dict[str, str]) -> tuple[Options, Template | None]:
        """Values with labels in place, and the template that they are; None where switched off."""
        found = tuple(labels.get(one.removeprefix(LABEL_PREFIX), "") for one in self._labels)
        if found not in self._plain:
            filled = _fill_labels(self._values, dict(zip(self._labels, found, strict=True)))
            template = None
            if not self.helm.get("disablePreProcess"):
                text = write_yaml(filled)
                template = parse_template(text)
                filled = self._parse(text, True) if template.constant else filled
            self._plain[found] = filled, template
        return self._plain[found]

    def _parse(self, text: str, want_map: bool = False) -> Any:
        if text not in self._read:
            try:
                self._read[text] = parse_document(text).value
            except NotYaml as error:
                raise TemplateFails(f"what was filled in is no YAML: {error}") from error
        value = self._read[text]
        if want_map and not isinstance(value, (dict, type(None))):
            raise TemplateFails("what was filled in is no map of values")
        return {} if want_map and value is None else value


def filled_in(value: object) -> bool:
    """Whether Fleet puts something else in the place of a value, of each cluster's own."""
    return "${" in str(value) or str(value).startswith(LABEL_PREFIX)


def clean(words: Any, keep_own: bool = False) -> dict[str, str]:
    """Labels or annotations without Kubernetes' and Rancher's own; with `keep_own` Fleet's stay."""
    own = ("fleet.cattle.io/", "management.cattle.io/") if keep_own else ()
    return {
        key: value
        for key, value in words.items()
        if (own and key.startswith(own))
        or not (key.startswith("kubectl.kubernetes.io/") or "cattle.io/" in key)
    }


def _label_values(values: Any, depth: int = 0) -> Iterator[str]:
    """Values that are a label; those directly in a list are not looked at."""
    if depth > MAX_DEPTH:
        raise TemplateFails(f"values nested more than {MAX_DEPTH} deep")
    for value in values.values():
        if isinstance(value, str) and value.startswith(LABEL_PREFIX):
            yield value
        elif isinstance(value, dict):
            yield from _label_values(value, depth + 1)
        elif isinstance(value, list):
            for one in value:
                if isinstance(one, dict):
                    yield from _label_values(one, depth + 1)


def _fill_labels(values: dict[str, Any], labels: dict[str, str]) -> dict[str, Any]:
    if not labels:
        return values
    filled: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, str) and value.startswith(LABEL_PREFIX):
            filled[key] = labels[value]
        elif isinstance(value, dict):
            filled[key] = _fill_labels(value, labels)
        elif isinstance(value, list):
            filled[key] = [
                _fill_labels(one, labels) if isinstance(one, dict) else one for one in value
            ]
        else:
            filled[key] = value
    return filled


class _Dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc]
    """Writes as goyaml does: text that would be read as something else is quoted."""


def _represent(dumper: Any, text: str) -> Any:
    style = "|" if "\n" in text else None
    try:
        plain = resolve(text)
    except NotYaml:
        plain = None
    if plain != text:
        style = '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _represent)
_Dumper.ignore_aliases = lambda self, data: True


def write_yaml(values: Any) -> str:
    """Values as YAML text, keys sorted."""
    text: str = yaml.dump(
        values, Dumper=_Dumper, default_flow_style=False, allow_unicode=True, width=1 << 20
    )
    return text


def _floats(values: Any) -> Any:
    """Numbers as Go reads them from JSON: `eq .ClusterValues.n 7` fails there."""
    if isinstance(values, Mapping):
        return {key: _floats(one) for key, one in values.items()}
    if isinstance(values, list):
        return [_floats(one) for one in values]
    return float(values) if isinstance(values, int) and not isinstance(values, bool) else values
