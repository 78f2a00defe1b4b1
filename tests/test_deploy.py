"""The files of `deploy/`: a cluster takes them, they agree with zaidash, and they run as they say.

The schemas are Kubernetes' own (the package kubernetes-validate carries them) and those of the
Compose specification (the package compose-spec). Neither is a cluster: whether parts that name one
another fit together, and whether zaidash runs on what they give it, is tested here.
"""

from __future__ import annotations

import json
import re
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from copy import deepcopy
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from fake_proxy import FakeProxy
from needs import give_up, needed_module
from support import COVERAGE_VARIABLES, ROOT, eventually, free_port, get, run_zaidash

from zaidash import FIELDS, ROUTES, SETTINGS, Config, Store, load_config

yaml = needed_module("yaml")
kubernetes_validate = needed_module("kubernetes_validate")
compose_spec = needed_module("compose_spec")

Object = dict[str, Any]

DEPLOY = ROOT / "deploy"
README = (ROOT / "README.md").read_text(encoding="utf-8")

#: The oldest whose fields are all used, and the newest that the package knows.
KUBERNETES_VERSIONS = ["1.25", kubernetes_validate.latest_version()]

#: What fits in a ConfigMap, counted as the API server does: decoded values, without their keys.
#: https://kubernetes.io/docs/concepts/configuration/configmap/#motivation
CONFIG_MAP_MAX_BYTES = 1_048_576

#: What a request to etcd may take, all in all: etcd's --max-request-bytes.
ETCD_MAX_BYTES = 1_572_864

MEBIBYTE = 2**20


def load(name: str) -> list[Object]:
    text = (DEPLOY / name).read_text(encoding="utf-8")
    return [document for document in yaml.safe_load_all(text) if document]


def only(documents: list[Object], kind: str) -> Object:
    (found,) = (document for document in documents if document["kind"] == kind)
    return found


class Pod(NamedTuple):
    """A file's Deployment, and its container that is zaidash."""

    file: str
    documents: list[Object]
    deployment: Object
    spec: Object
    container: Object

    @property
    def env(self) -> dict[str, str]:
        """The variables with a value; those from a Secret may have none."""
        return {v["name"]: v["value"] for v in self.container["env"] if "value" in v}

    @property
    def ports(self) -> dict[str, int]:
        return {port["name"]: port["containerPort"] for port in self.container["ports"]}

    @property
    def volumes(self) -> dict[str, Object]:
        return {volume["name"]: volume for volume in self.spec["volumes"]}

    @property
    def mounts(self) -> dict[str, Object]:
        return {mount["mountPath"]: mount for mount in self.container["volumeMounts"]}


def read_pod(file: str) -> Pod:
    documents = load(file)
    deployment = only(documents, "Deployment")
    spec = deployment["spec"]["template"]["spec"]
    (container,) = (one for one in spec["containers"] if one["name"] == "zaidash")
    return Pod(file, documents, deployment, spec, container)


PODS = [read_pod("kubernetes.yaml"), read_pod("sidecar.yaml")]
WHOLE, SIDECAR = PODS
COMPOSE_TEXT = (DEPLOY / "docker-compose.yaml").read_text(encoding="utf-8")
COMPOSE = yaml.safe_load(COMPOSE_TEXT)
SERVICE = COMPOSE["services"]["zaidash"]

each_pod = pytest.mark.parametrize("pod", PODS, ids=lambda pod: pod.file)


def config_of(env: dict[str, str], tmp_path: Path) -> Config:
    """Return what zaidash makes of an environment; /data is another directory here."""
    unknown = env.keys() - {setting.name for setting in SETTINGS}
    assert not unknown, f"not settings of zaidash: {sorted(unknown)}"
    (tmp_path / "data").mkdir()
    moved = {**env, "DB_PATH": env["DB_PATH"].replace("/data/", f"{tmp_path}/data/")}
    assert moved["DB_PATH"] != env["DB_PATH"]
    return load_config([], moved)[0]


# --------------------------------------------------------------------------------------
# Schemas
# --------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", KUBERNETES_VERSIONS)
@each_pod
def test_cluster_takes_every_object(pod: Pod, version: str) -> None:
    for document in pod.documents:
        kubernetes_validate.validate(document, version, strict=True)


MISTAKES = [
    pytest.param("replicas", "one", id="a text for a number"),
    pytest.param("replica", 1, id="a misspelt name"),
]


@pytest.mark.parametrize(("name", "value"), MISTAKES)
def test_schema_finds_mistakes(name: str, value: object) -> None:
    deployment = deepcopy(WHOLE.deployment)
    deployment["spec"][name] = value
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(deployment, KUBERNETES_VERSIONS[0], strict=True)


def test_compose_takes_its_file() -> None:
    # compose-spec knows only addresses there; `host-gateway` is Docker's word for this machine's.
    text = COMPOSE_TEXT.replace(
        "host.docker.internal:host-gateway", "host.docker.internal:10.0.0.1"
    )
    assert text != COMPOSE_TEXT
    compose_spec.PyCompose.from_yaml(text).validate()
    with pytest.raises(ValueError, match="readonly"):
        compose_spec.PyCompose.from_yaml(text.replace("read_only", "readonly"))


def test_variant_without_a_claim_is_valid_as_well() -> None:
    text = (DEPLOY / "kubernetes.yaml").read_text(encoding="utf-8")
    (lines,) = re.findall(r"^ +#   (emptyDir:\n +#     sizeLimit: \w+)\n", text, re.MULTILINE)
    volume = yaml.safe_load(re.sub(r"^ +# ", "", lines, flags=re.MULTILINE))
    deployment = deepcopy(WHOLE.deployment)
    (data,) = deployment["spec"]["template"]["spec"]["volumes"]
    del data["persistentVolumeClaim"]
    data.update(volume)
    assert data["emptyDir"]["sizeLimit"] == "512Mi"
    for version in KUBERNETES_VERSIONS:
        kubernetes_validate.validate(deployment, version, strict=True)


# --------------------------------------------------------------------------------------
# Settings
# --------------------------------------------------------------------------------------


@each_pod
def test_pod_sets_only_what_zaidash_reads_and_takes(pod: Pod, tmp_path: Path) -> None:
    config = config_of(pod.env, tmp_path)
    assert [config.listen.port] == list(pod.ports.values())
    secrets = {v["name"] for v in pod.container["env"]} - pod.env.keys()
    assert secrets == {"AUTH_TOKEN"}, "and that is optional:"
    (secret,) = (v["valueFrom"] for v in pod.container["env"] if "valueFrom" in v)
    assert secret["secretKeyRef"]["optional"] is True


def test_command_that_makes_the_secret_makes_the_one_looked_for() -> None:
    text = (DEPLOY / "kubernetes.yaml").read_text(encoding="utf-8")
    (made,) = re.findall(r"create secret generic (\S+) --from-literal=([\w-]+)=", text)
    for pod in PODS:
        (secret,) = (v["valueFrom"] for v in pod.container["env"] if "valueFrom" in v)
        assert (secret["secretKeyRef"]["name"], secret["secretKeyRef"]["key"]) == made


def test_every_replica_is_found_by_a_headless_service(tmp_path: Path) -> None:
    targets = config_of(WHOLE.env, tmp_path).targets
    assert [(target.variant, target.discover) for target in targets] == [
        ("production", True),
        ("canary", True),
    ]


def test_sidecar_scrapes_the_proxy_beside_it_and_leaves_it_its_port(tmp_path: Path) -> None:
    config = config_of(SIDECAR.env, tmp_path)
    (proxy,) = (one for one in SIDECAR.spec["containers"] if one["name"] == "zai-proxy")
    (port,) = (port["containerPort"] for port in proxy["ports"])
    assert [target.url for target in config.targets] == [f"http://localhost:{port}/metrics"]
    assert config.listen.port != port


def test_compose_sets_only_what_zaidash_reads_and_takes(tmp_path: Path) -> None:
    env = {name: str(value) for name, value in SERVICE["environment"].items() if value is not None}
    # As Compose does where the shell has no such variable.
    env = {name: re.sub(r"^\$\{\w+:-(.*)\}$", r"\1", value) for name, value in env.items()}
    config = config_of(env, tmp_path)
    assert config.targets[0].discover
    assert "AUTH_TOKEN" in SERVICE["environment"], "taken from the shell"
    assert SERVICE["ports"] == [f"127.0.0.1:8080:{config.listen.port}"]


# --------------------------------------------------------------------------------------
# Parts that name one another
# --------------------------------------------------------------------------------------


@each_pod
def test_deployment_selects_its_own_pods(pod: Pod) -> None:
    labels = pod.deployment["spec"]["template"]["metadata"]["labels"]
    assert pod.deployment["spec"]["selector"]["matchLabels"].items() <= labels.items()


def test_service_leads_to_the_port_that_zaidash_listens_on() -> None:
    service = only(WHOLE.documents, "Service")["spec"]
    labels = WHOLE.deployment["spec"]["template"]["metadata"]["labels"]
    assert service["selector"].items() <= labels.items()
    assert [port["targetPort"] for port in service["ports"]] == list(WHOLE.ports)


#: A kubectl command about an object: its kind and name, and the port that it leads to.
COMMAND = re.compile(r"kubectl (?:port-forward|rollout \w+) (\w+)/([\w-]+)(?: \d+:(\d+))?")


@pytest.mark.parametrize("file", ["README.md", "deploy/kubernetes.yaml", "deploy/sidecar.yaml"])
def test_commands_are_about_what_the_files_make(file: str) -> None:
    commands = COMMAND.findall((ROOT / file).read_text(encoding="utf-8"))
    assert commands
    ports: dict[tuple[str, str], set[int]] = {}
    for pod in PODS:
        for document in pod.documents:
            key = document["kind"].lower(), document["metadata"]["name"]
            is_service = document["kind"] == "Service"
            own = [port["port"] for port in document["spec"]["ports"]] if is_service else []
            ports[key] = set(own or pod.ports.values())
    for kind, name, port in commands:
        assert not port or int(port) in ports[kind, name], f"{kind}/{name} has no port {port}"


@each_pod
def test_volumes_and_mounts_are_the_same(pod: Pod) -> None:
    assert {mount["name"] for mount in pod.mounts.values()} == pod.volumes.keys()
    db_mount = pod.mounts[str(Path(pod.env["DB_PATH"]).parent)]
    assert not db_mount.get("readOnly"), "the history goes there"


def test_history_survives_the_pod_in_the_claim_of_this_file() -> None:
    claim = only(WHOLE.documents, "PersistentVolumeClaim")["metadata"]["name"]
    assert WHOLE.volumes["data"]["persistentVolumeClaim"]["claimName"] == claim


def test_no_second_zaidash_meets_the_lock_of_the_first() -> None:
    assert WHOLE.deployment["spec"]["replicas"] == 1
    assert WHOLE.deployment["spec"]["strategy"] == {"type": "Recreate"}


def test_compose_volume_exists_and_holds_the_history() -> None:
    name, directory = SERVICE["volumes"][0].split(":")
    assert name in COMPOSE["volumes"]
    assert COMPOSE["name"] == "zaidash", "or the volume of any other deploy/ is taken for it"
    assert Path(SERVICE["environment"]["DB_PATH"]).parent == Path(directory)


# --------------------------------------------------------------------------------------
# Probes, resources, security
# --------------------------------------------------------------------------------------


@each_pod
def test_probes_ask_what_is_answered_without_a_token(pod: Pod) -> None:
    probes = {name: p["httpGet"] for name, p in pod.container.items() if name.endswith("Probe")}
    paths = {name: probe["path"] for name, probe in probes.items()}
    assert paths.items() >= {"startupProbe": "/healthz", "livenessProbe": "/healthz"}.items()
    for probe in probes.values():
        assert ROUTES[probe["path"]].is_open
        assert probe["port"] in pod.ports


def test_page_can_be_reached_when_it_has_to_say_what_is_wrong() -> None:
    assert WHOLE.container["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert only(WHOLE.documents, "Service")["spec"]["publishNotReadyAddresses"] is True


def test_a_proxy_is_not_taken_from_its_clients_because_of_its_dashboard() -> None:
    assert "readinessProbe" not in SIDECAR.container


@each_pod
def test_resources_are_those_that_were_measured(pod: Pod) -> None:
    assert pod.container["resources"] == {
        "requests": {"cpu": "100m", "memory": "64Mi"},
        "limits": {"cpu": "500m", "memory": "256Mi"},
    }
    bench = (ROOT / "bench" / "bench_limits.py").read_text(encoding="utf-8")
    assert "CPU_REQUEST, CPU_LIMIT = 0.1, 0.5\n" in bench
    assert "MEMORY_REQUEST_BYTES, MEMORY_LIMIT_BYTES = 64 * 2**20, 256 * 2**20\n" in bench
    assert f"MAX_REQUESTS = {pod.env['MAX_REQUESTS']}\n" in bench


def test_compose_has_the_same_limits() -> None:
    assert (SERVICE["mem_limit"], SERVICE["cpus"]) == ("256m", 0.5)
    assert str(SERVICE["environment"]["MAX_REQUESTS"]) == WHOLE.env["MAX_REQUESTS"]


@each_pod
def test_zaidash_has_the_time_to_write_what_waits(pod: Pod) -> None:
    assert pod.spec.get("terminationGracePeriodSeconds", 30) > 5


#: What the Pod Security Standard "restricted" asks of a container, over the pod's own context.
#: https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted
#: A read-only root file system is not among it; zaidash has one all the same.
RESTRICTED = [
    pytest.param(("allowPrivilegeEscalation",), False, id="no way to more privileges"),
    pytest.param(("capabilities", "drop"), ["ALL"], id="all capabilities dropped"),
    pytest.param(("capabilities", "add"), None, id="and none added"),
    pytest.param(("runAsNonRoot",), True, id="not root"),
    pytest.param(("runAsUser",), 65532, id="the image's user"),
    pytest.param(("seccompProfile", "type"), "RuntimeDefault", id="the runtime's seccomp profile"),
    pytest.param(("privileged",), None, id="not privileged"),
    pytest.param(("procMount",), None, id="the usual /proc"),
    pytest.param(("readOnlyRootFilesystem",), True, id="nothing written but its volume"),
]


@pytest.mark.parametrize(("path", "wanted"), RESTRICTED)
@each_pod
def test_restricted_namespace_admits_the_container(
    pod: Pod, path: tuple[str, ...], wanted: object
) -> None:
    value: Any = {**pod.spec.get("securityContext", {}), **pod.container["securityContext"]}
    for name in path:
        value = (value or {}).get(name)
    assert value == wanted


@each_pod
def test_restricted_namespace_admits_the_pod(pod: Pod) -> None:
    assert not pod.spec.keys() & {"hostNetwork", "hostPID", "hostIPC"}
    kinds = {kind for volume in pod.volumes.values() for kind in volume if kind != "name"}
    assert kinds <= {"configMap", "emptyDir", "persistentVolumeClaim", "projected", "secret"}
    assert not any("hostPort" in port for port in pod.container["ports"])


def test_pod_has_no_key_to_the_cluster() -> None:
    assert WHOLE.spec["automountServiceAccountToken"] is False
    assert WHOLE.spec["securityContext"]["fsGroup"] == 65532, "the volume is writable for it"


def test_compose_container_has_no_more_rights_than_the_pod() -> None:
    assert SERVICE["read_only"] is True
    assert SERVICE["cap_drop"] == ["ALL"] and "cap_add" not in SERVICE
    assert SERVICE["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in SERVICE and "user" not in SERVICE, "the image's user is 65532"
    assert "healthcheck" not in SERVICE, "the image has its own, which needs no shell"


# --------------------------------------------------------------------------------------
# It runs
# --------------------------------------------------------------------------------------


def test_page_is_there_while_the_proxies_are_not(tmp_path: Path) -> None:
    """The Deployment's own settings; none of its names resolves here."""
    env = {
        **WHOLE.env,
        "DB_PATH": str(tmp_path / "dashboard.db"),
        "LISTEN_ADDR": f"127.0.0.1:{free_port()}",
    }
    env["SCRAPE_TARGETS"] = env["SCRAPE_TARGETS"].replace(".svc.cluster.local", ".invalid")
    with run_zaidash(env=env) as zaidash:
        assert zaidash.get("/readyz").status == 503
        assert zaidash.get("/").status == 200
        assert zaidash.terminate() == 0
        first = json.loads(zaidash.stderr().splitlines()[0])
    assert first, "one JSON object a line, as LOG_FORMAT says"


WEEK_MINUTES = 7 * 24 * 60
DAY_TICKS = 24 * 60 * 12


def fill_a_week(path: Path) -> None:
    """Write two variants' minutes of a week and snapshots of a day, as wide as real ones."""
    values = {
        "status_code_rates": """'{"200":19.876543211234,"400":0.123456,"429":0.2,"500":0.1}'""",
        "latency_buckets": """'{"0.1":11,"0.25":23,"0.5":41,"1":52,"2.5":31,"5":9,"+Inf":0}'""",
    }
    names = ", ".join(field.name for field in FIELDS)
    row = ", ".join(values.get(field.name, "n * 1.000123456789") for field in FIELDS)
    config, _ = load_config(["--db-path", str(path)], {})
    store = Store(config)
    store.open()
    store.close()
    with closing(sqlite3.connect(path)) as database, database:
        for table, count, step_ms in (
            ("metrics_1m", WEEK_MINUTES, 60_000),
            ("metrics_5s", DAY_TICKS, 5_000),
        ):
            database.execute(
                f"INSERT INTO {table} (variant, ts, {names})"
                " WITH RECURSIVE counted (n) AS"
                " (SELECT 1 UNION ALL SELECT n + 1 FROM counted WHERE n < ?)"
                " SELECT variant, (unixepoch() * 1000 / ? - n) * ?, "
                f"{row} FROM counted, (SELECT 'production' AS variant UNION SELECT 'canary')",
                (count, step_ms, step_ms),
            )


def peak_bytes(pid: int) -> int:
    (kilobytes,) = re.findall(
        r"^VmHWM:\s*(\d+) kB$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE
    )
    return 1024 * int(kilobytes)


def test_a_crowd_that_asks_for_a_week_does_not_get_it_killed(tmp_path: Path) -> None:
    if not Path("/proc/self/status").exists():
        give_up("there is no /proc here")
    fill_a_week(tmp_path / "week.db")
    env = {
        "DB_PATH": str(tmp_path / "week.db"),
        "SCRAPE_TARGETS": ",".join(
            f"{name}=http://127.0.0.1:{free_port()}/metrics" for name in ("production", "canary")
        ),
        "MAX_REQUESTS": WHOLE.env["MAX_REQUESTS"],
    }
    crowd = int(WHOLE.env["MAX_REQUESTS"]) // 2
    answered: list[str] = []
    with run_zaidash(env=env) as zaidash:

        def ask(path: str) -> None:
            # One that came before the answer before it was quite over is sent away: as a browser
            # would, it tries again.
            eventually(lambda: get(zaidash.url + path, timeout_s=120).status == 200, 120, path)
            answered.append(path)

        for path in ("/api/summary?range=7d", "/api/metrics?range=7d&format=columns"):
            threads = [threading.Thread(target=ask, args=(path,)) for _ in range(crowd)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        peak = peak_bytes(zaidash.pid)
    assert len(answered) == 2 * crowd
    assert peak < 256 * MEBIBYTE, f"{peak / MEBIBYTE:.0f} MiB"


# --------------------------------------------------------------------------------------
# The sidecar's archive
# --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The archive that `make pyz` builds."""
    path = tmp_path_factory.mktemp("dist") / "zaidash.pyz"
    subprocess.run(
        [sys.executable, str(DEPLOY / "pyz.py"), "--output", str(path)],
        check=True,
        timeout=60,
        stdout=subprocess.DEVNULL,
    )
    return path


def test_config_map_that_the_commands_make_is_the_one_mounted() -> None:
    text = (DEPLOY / "sidecar.yaml").read_text(encoding="utf-8")
    made = set(re.findall(r"create configmap (\S+) --from-file=(\S+)", text))
    volume = SIDECAR.volumes[SIDECAR.mounts["/app"]["name"]]
    assert made == {(volume["configMap"]["name"], "dist/zaidash.pyz")}
    assert SIDECAR.container["command"] == ["python", "/app/zaidash.pyz"]


def test_archive_fits_in_a_config_map(archive: Path) -> None:
    size_bytes = archive.stat().st_size
    assert size_bytes <= CONFIG_MAP_MAX_BYTES
    assert -(-size_bytes // 3) * 4 < ETCD_MAX_BYTES, "as base64, which is how kubectl sends it"


@pytest.fixture
def mounted(archive: Path, tmp_path: Path) -> Iterator[Path]:
    """/app as the kubelet lays it out: links to a hidden directory, and nothing is writable."""
    app = tmp_path / "app"
    data = app / "..2026_11_23_10_00_00.1234567890"
    data.mkdir(parents=True)
    (data / "zaidash.pyz").write_bytes(archive.read_bytes())
    (app / "..data").symlink_to(data.name)
    (app / "zaidash.pyz").symlink_to("..data/zaidash.pyz")
    (data / "zaidash.pyz").chmod(0o444)
    for directory in (data, app):
        directory.chmod(0o555)
    yield app
    for directory in (app, data):
        directory.chmod(0o755)


def test_sidecar_runs_from_its_mount_and_shows_the_page(
    mounted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in COVERAGE_VARIABLES:  # it has no way to the source that is in an archive
        monkeypatch.delenv(name, raising=False)
    _, script = SIDECAR.container["command"]
    monkeypatch.setattr("support.SCRIPT", mounted / Path(script).name)
    with FakeProxy() as proxy:
        env = {
            **SIDECAR.env,
            "LISTEN_ADDR": f"127.0.0.1:{free_port()}",
            "SCRAPE_TARGETS": f"production={proxy.url}",
            "DB_PATH": str(tmp_path / "dashboard.db"),
        }
        with run_zaidash(env=env) as zaidash:
            page = zaidash.get("/")
            assert page.status == 200
            assets = re.findall(rb'"\./(assets/[^"]+)"', page.body)
            assert len(assets) >= 2
            for name in assets:
                file = zaidash.get(f"/{name.decode()}")
                assert (file.status, file.body) == (
                    200,
                    (ROOT / "static" / name.decode()).read_bytes(),
                )
            eventually(lambda: zaidash.get("/readyz").status == 200, 30, "a scrape")
            assert zaidash.terminate() == 0
