"""The job files: shell scripts that are sound, and JobSets that a cluster would take."""

from __future__ import annotations

import copy
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from absl import flags

from launch.processes import define_process_flags, read_process_flags

ROOT = Path(__file__).resolve().parents[2]
JOBS = ROOT / "launch" / "jobs"
SCRIPTS = ("slurm.sh", "tpu_vm.sh")
JOB_SETS = ("gke_tpu.yaml", "gke_gpu.yaml")
KUBERNETES = "1.31"  # the oldest that has to take them
# What our files use of a JobSet v1alpha2, and nothing else may stand there: a misspelt key would be
# dropped without a word. After its public documentation, https://jobset.sigs.k8s.io/docs/reference.
# The template of a job is Kubernetes' own, and is held against its schemas.
NAME = {"type": "string", "pattern": "^[a-z]([-a-z0-9]*[a-z0-9])?$", "maxLength": 63}
WHOLE = {"type": "integer", "minimum": 0}


def closed(required, **properties):
    return {
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }


JOB_SET = closed(
    ["apiVersion", "kind", "metadata", "spec"],
    apiVersion={"const": "jobset.x-k8s.io/v1alpha2"},
    kind={"const": "JobSet"},
    metadata=closed(
        ["name"],
        name=NAME,
        annotations={
            "type": "object",
            "propertyNames": {"const": "alpha.jobset.sigs.k8s.io/exclusive-topology"},
            "additionalProperties": {"type": "string"},
        },
    ),
    spec=closed(
        ["replicatedJobs"],
        network=closed([], enableDNSHostnames={"type": "boolean"}, subdomain=NAME),
        failurePolicy=closed(["maxRestarts"], maxRestarts=WHOLE),
        replicatedJobs={
            "type": "array",
            "minItems": 1,
            "items": closed(
                ["name", "template"], name=NAME, replicas=WHOLE, template={"type": "object"}
            ),
        },
    ),
)


def load(name):
    return yaml.safe_load((JOBS / name).read_text())


def check_job_set(found):
    """Raises jsonschema.ValidationError for what a cluster would refuse, or would not read."""
    jsonschema = pytest.importorskip("jsonschema", reason="kubernetes-validate is not installed")
    kubernetes = pytest.importorskip("kubernetes_validate")
    jsonschema.Draft202012Validator(JOB_SET).validate(found)
    for job in found["spec"]["replicatedJobs"]:
        whole = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": job["name"]}}
        kubernetes.validate(whole | job["template"], KUBERNETES, strict=True)


@pytest.mark.parametrize("name", JOB_SETS)
def test_a_job_set_is_what_kubernetes_takes(name):
    check_job_set(load(name))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("apiVersion",), "jobset.x-k8s.io/v1"),
        (("spec", "failurePolicies"), {}),
        (("spec", "failurePolicy", "maxRestarts"), "20"),
        (("spec", "replicatedJobs", 0, "name"), "Hosts"),
        (("spec", "replicatedJobs", 0, "template", "spec", "backofLimit"), 0),
        (("spec", "replicatedJobs", 0, "template", "spec", "completions"), "4"),
        (
            ("spec", "replicatedJobs", 0, "template", "spec", "template", "spec", "containers", 0,
             "ports", 0, "containerPort"),
            "http",
        ),
        (
            ("spec", "replicatedJobs", 0, "template", "spec", "template", "spec", "containers", 0,
             "volumeMounts", 0, "mountpath"),
            "/data",
        ),
    ],
    ids=lambda value: str(value[-1]) if isinstance(value, tuple) else "",
)  # fmt: skip
def test_a_mistake_in_a_job_set_is_found(path, value):
    """Else the test above would say nothing."""
    jsonschema = pytest.importorskip("jsonschema", reason="kubernetes-validate is not installed")
    found = copy.deepcopy(load("gke_tpu.yaml"))
    inner = found
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    with pytest.raises(jsonschema.ValidationError):
        check_job_set(found)


@pytest.mark.parametrize("name", JOB_SETS)
def test_job_sets_start_our_command_on_every_host(name):
    found = load(name)
    replicated = found["spec"]["replicatedJobs"][0]
    job = replicated["template"]["spec"]
    assert job["parallelism"] == job["completions"]
    pod = job["template"]["spec"]
    assert {mount["name"] for mount in pod["containers"][0]["volumeMounts"]} == {
        volume["name"] for volume in pod["volumes"]
    }
    container = pod["containers"][0]
    words = [*container["command"], *container["args"]]
    assert words[:3] == ["python", "-m", "launch.main"]
    values = flags.FlagValues()
    define_process_flags(values)
    given = (word.replace("$(JOB_COMPLETION_INDEX)", "1") for word in words[3:])
    values(["main", *given], known_only=True)
    joined = read_process_flags(values)
    if name == "gke_gpu.yaml":
        assert (joined.processes, joined.process) == (job["completions"], 1)
        host, _, port = joined.coordinator.partition(":")
        assert container["ports"][0]["containerPort"] == int(port)
        # SET-JOB-INDEX-POD.SET: the first pod of the first replica, as its DNS name
        of = found["metadata"]["name"]
        assert host == f"{of}-{replicated['name']}-0-0.{of}"
        assert found["spec"]["network"]["enableDNSHostnames"] is True
    else:
        assert joined.cluster


@pytest.mark.parametrize("name", SCRIPTS)
def test_scripts_are_scripts(name):
    assert os.access(JOBS / name, os.X_OK)
    subprocess.run(["bash", "-n", JOBS / name], check=True)


@pytest.mark.parametrize("name", SCRIPTS)
def test_shellcheck_finds_nothing(name):
    beside = Path(sys.executable).parent
    tool = shutil.which("shellcheck", path=f"{beside}{os.pathsep}{os.environ['PATH']}")
    if tool is None:
        pytest.skip("shellcheck is not installed")
    done = subprocess.run([tool, JOBS / name], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_script_for_tpu_hosts_quotes_what_it_passes_on(tmp_path):
    """With a gcloud that prints its arguments."""
    gcloud = tmp_path / "gcloud"
    gcloud.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    gcloud.chmod(0o755)
    words = ["pod", "zone-a", "/opt/my snr", "--config=a.py:no_cf", "--workdir=/mnt/my runs"]
    done = subprocess.run(
        [JOBS / "tpu_vm.sh", *words], capture_output=True, text=True, check=True,
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
    )  # fmt: skip
    assert done.stdout.splitlines()[-1] == (
        "--command=cd /opt/my\\ snr && .venv/bin/python -m launch.main --cluster "
        "--config=a.py:no_cf --workdir=/mnt/my\\ runs"
    )
    assert subprocess.run([JOBS / "tpu_vm.sh"], capture_output=True).returncode == 2
