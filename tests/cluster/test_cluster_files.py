"""cluster.yaml and its sister pass Ray's own validation; the container copies what is there."""

import re
from pathlib import Path

import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

from pipeline.base.provenance import REPOSITORY

FILES = (REPOSITORY / "cluster.yaml", REPOSITORY / "conf" / "cluster" / "local.yaml")

every_file = pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)


@every_file
def test_ray_accepts_the_file(path: Path) -> None:
    validate_config(prepare_config(yaml.safe_load(path.read_text(encoding="utf-8"))))


def test_ray_would_refuse_a_wrong_one() -> None:
    config = yaml.safe_load(FILES[0].read_text(encoding="utf-8"))
    config["head_node_typ"] = config.pop("head_node_type")
    with pytest.raises(Exception, match="head_node_typ"):
        validate_config(prepare_config(config))


@every_file
def test_every_machine_asks_for_the_token_and_knows_the_shared_folder(path: Path) -> None:
    config = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert "~/.ray/auth_token" in config["file_mounts"]
    for commands in (config["head_start_ray_commands"], config["worker_start_ray_commands"]):
        (start,) = (command for command in commands if "ray start" in command)
        assert "RAY_AUTH_MODE=token" in start
        assert "HGG_ROOT=/mnt/hgg" in start
    for source in config["file_mounts"].values():
        assert source.startswith("~") or (REPOSITORY / source).is_file()


def test_the_container_copies_what_is_there_and_runs_as_a_user() -> None:
    text = (REPOSITORY / "conf" / "cluster" / "Containerfile").read_text(encoding="utf-8")
    copied = [word for line in re.findall(r"^COPY (.*)$", text, re.MULTILINE) for word in line.split()[:-1]]
    for name in copied:
        assert name.startswith("--") or (REPOSITORY / name).exists()
    users = re.findall(r"^USER (.*)$", text, re.MULTILINE)
    assert users == ["hgg"]


# Fields of a RayJob, its cluster and its groups: the reference of the ray.io/v1 API, of KubeRay 1.6.
RAY_JOB = {
    *("activeDeadlineSeconds", "backoffLimit", "rayClusterSpec", "submitterPodTemplate", "metadata"),
    *("clusterSelector", "submitterConfig", "managedBy", "deletionStrategy", "entrypoint", "runtimeEnvYAML"),
    *("jobId", "submissionMode", "entrypointResources", "entrypointNumCpus", "entrypointNumGpus"),
    *("ttlSecondsAfterFinished", "shutdownAfterJobFinishes", "suspend"),
}
RAY_CLUSTER = {
    *("suspend", "managedBy", "autoscalerOptions", "headServiceAnnotations", "enableInTreeAutoscaling"),
    "authOptions",
    *("gcsFaultToleranceOptions", "headGroupSpec", "rayVersion", "workerGroupSpecs"),
}
HEAD = {"template", "headService", "enableIngress", "rayStartParams", "serviceType"}
WORKERS = {
    *("suspend", "groupName", "replicas", "minReplicas", "maxReplicas", "idleTimeoutSeconds"),
    *("rayStartParams", "template", "scaleStrategy", "numOfHosts"),
}


def test_the_manifest_for_kuberay_has_its_fields_and_our_versions() -> None:
    job = yaml.safe_load((REPOSITORY / "conf" / "cluster" / "rayjob.yaml").read_text(encoding="utf-8"))
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    spec, cluster = job["spec"], job["spec"]["rayClusterSpec"]
    (workers,) = cluster["workerGroupSpecs"]
    for found, known in (
        (spec, RAY_JOB),
        (cluster, RAY_CLUSTER),
        (cluster["headGroupSpec"], HEAD),
        (workers, WORKERS),
    ):
        assert found.keys() <= known
    pins = (REPOSITORY / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert f"ray=={cluster['rayVersion']}" in pins
    command = spec["entrypoint"].split()
    assert (REPOSITORY / command[1]).is_file()
    assert (REPOSITORY / command[command.index("--config") + 1]).is_file()
    for group in (cluster["headGroupSpec"], workers):
        assert all(
            isinstance(value, str) for value in group["rayStartParams"].values()
        )  # as the API has them
        pod = group["template"]["spec"]
        (container,) = pod["containers"]
        assert {mount["name"] for mount in container["volumeMounts"]} == {
            each["name"] for each in pod["volumes"]
        }
        assert {"name": "HGG_ROOT", "value": "/mnt/hgg"} in container["env"]
        assert container["resources"]["limits"] == container["resources"]["requests"]
    assert f"train.num_workers={workers['replicas']}" in command
    assert cluster["authOptions"] == {"mode": "token"}
