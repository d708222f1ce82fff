"""A run on the cluster: what a person does to it, what is seen of it, and how it ends."""

import json
import os
import re
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent


class Failed(Exception):
    """A row failed, and why."""


class Skipped(Exception):
    """A row cannot run here, and why."""


def until(what, look, within_s=120):
    """Waits for the first answer of `look` that is something, and returns it with the seconds that it took."""
    begin = time.monotonic()
    while True:
        if found := look():
            return found, time.monotonic() - begin
        if time.monotonic() - begin > within_s:
            raise Failed(f"not within {within_s} s: {what}")
        time.sleep(0.5)


def kubectl(*arguments, check=True, text=None):
    done = subprocess.run(["kubectl", *arguments], input=text, capture_output=True, text=True, check=False)
    if check and done.returncode:
        raise Failed(f"kubectl {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout


class Run:
    """A run in a namespace of its own."""

    def __init__(self, name, options):
        self.namespace, self.options = f"lsgan-e2e-{name}", options
        self.dir = Path(tempfile.mkdtemp(prefix="lsgan-e2e-"))
        self.fields, self.components, self.notes, self.ends = {}, [], [], []
        # What took longer than is promised. The row goes on: whether its weights are right is to be seen all the same.
        self.late = []

    # ---- what a person does ----

    def k(self, *arguments, **more):
        return kubectl("--namespace", self.namespace, *arguments, **more)

    def apply(self, **fields):
        """`kubectl apply --kustomize`, with these fields of run.yaml changed from now on (`__` for a dot)."""
        self.fields |= {name.replace("__", "."): value for name, value in fields.items()}
        (self.dir / "run.yaml").write_text(self.options.run_file(self.fields))
        relative = os.path.relpath(HERE, self.dir)
        image, _, tag = self.options.image.rpartition(":")
        kustomization = {
            "resources": [relative],
            "components": [f"{relative}/components/{name}" for name in self.components],
            "configMapGenerator": [{"name": "lsgan-run", "behavior": "replace", "files": ["run.yaml"]}],
            "generatorOptions": {"disableNameSuffixHash": True},
            "images": [{"name": "lsgan", "newName": image, "newTag": tag}],
            # Several runs share the nodes of a test.
            "patches": [{"target": {"kind": "Job"}, "patch": json.dumps([{
                "op": "replace", "path": "/spec/template/spec/containers/0/resources",
                "value": {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": "2Gi"}}}])}],
        }
        (self.dir / "kustomization.yaml").write_text(json.dumps(kustomization))
        self.k("apply", "--kustomize", str(self.dir))

    def start(self, workers=2, **fields):
        self.make_namespace()
        self.begin(workers, **fields)

    def make_namespace(self):
        """One that takes pods of the Pod Security standard `restricted` alone. What an earlier attempt has left goes first."""
        kubectl("delete", "namespace", self.namespace, "--ignore-not-found", "--timeout=180s")
        labels = {"pod-security.kubernetes.io/enforce": "restricted"}
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace, "labels": labels}}
        kubectl("create", "--filename", "-", text=json.dumps(namespace))

    def begin(self, workers, **fields):
        """In a namespace that is there."""
        self.options.hook("volume", self.namespace)
        self.k("apply", "--filename", str(HERE / "volume.yaml"))
        self.apply(**fields)
        self.scale(workers)

    def scale(self, workers):
        self.k("patch", "job", "lsgan-worker", "--patch", json.dumps({"spec": {"parallelism": workers}}))

    def change(self, **fields):
        """The same while a coordinator runs. The kubelet looks at a pod's ConfigMaps once a minute, and when the pod changes."""
        self.apply(**fields)
        pod = self.one("coordinator")
        self.k("annotate", "--overwrite", "pod", pod["metadata"]["name"], f"reload={time.time()}")

    def wind_up(self):
        """Lets a run end that was begun with more steps than it can do: a minute from now, at the rate that it has. The file must
        be there before that, which takes seconds, since a run that has gone further than its file says is refused."""
        if not self.options.lsgan:
            return
        first, _ = until("the run trains", self.trains, 180)
        begin = time.monotonic()
        def later():
            status = self.trains()
            return time.monotonic() - begin >= 5 and status and status["step"] > first["step"] and status
        last, took = until("the run trains on", later, 120)
        rate = (last["step"] - first["step"]) / took
        self.change(steps=last["step"] + max(100, int(60 * rate)))
        self.notes.append(f"{rate:.0f} steps/s, {self.fields['steps']} steps")

    # ---- what is seen ----

    def pods(self, component, living=True):
        pods = json.loads(self.k("get", "pods", "--selector", f"app.kubernetes.io/component={component}", "--output", "json"))
        alive = [pod for pod in pods["items"] if pod["status"].get("phase") == "Running" and not pod["metadata"].get("deletionTimestamp")]
        return alive if living else pods["items"]

    def one(self, component):
        return until(f"a {component} runs", lambda: self.pods(component))[0][0]

    def status(self):
        """`lsgan status` in the coordinator's pod; none where it does not answer."""
        for pod in self.pods("coordinator"):
            said = self.k("exec", pod["metadata"]["name"], "--container", "coordinator", "--", "lsgan", "status",
                          "--coordinator", "http://localhost:7070", "--json", check=False)
            if said.startswith("{"):
                return json.loads(said)
        return None

    def trains(self):
        """The status of a run that makes steps."""
        status = self.status()
        return status if status and status["phase"] == "stepping" else None

    def is_there(self, folder):
        """Whether this folder has something in it, as the coordinator's pod sees it."""
        return any(self.k("exec", pod["metadata"]["name"], "--container", "coordinator", "--", "ls", folder, check=False).strip()
                   for pod in self.pods("coordinator"))

    def step(self, part, within_s=180):
        """Waits until this part of the steps is done."""
        wanted = int(part * self.options.steps)
        def reached():
            status = self.status()
            if status["outcome"] if status else self.is_complete("lsgan-worker"):
                raise Failed("the run has ended before it could be disturbed: give more --steps")
            return status and status["step"] >= wanted and status
        return until(f"step {wanted}", reached, within_s)[0]

    def members(self, count, within_s=90):
        def are():
            status = self.status()
            return status and sum(worker["role"] == "member" for worker in status["workers"]) == count
        return until(f"{count} members", are, within_s)[1]

    def replaced_after(self, component, lose, most_s):
        """Loses pods and waits for a running one that was not there before; the row fails if it takes longer than is promised."""
        before, begin = {uid(pod) for pod in self.pods(component)}, time.monotonic()
        lose()
        until(f"another {component}", lambda: [pod for pod in self.pods(component) if uid(pod) not in before], 3 * most_s)
        took = time.monotonic() - begin
        self.notes.append(f"{component} back in {took:.0f} s")
        if took > most_s:
            self.late.append(f"another {component} took {took:.0f} s; {most_s} s are promised")

    def log(self, component):
        """What all pods of this kind have logged, but those on a node that does not answer."""
        return self.k("logs", "--selector", f"app.kubernetes.io/component={component}", "--tail=-1", "--ignore-errors",
                      "--request-timeout=5s", check=False)

    def is_complete(self, job):
        conditions = json.loads(self.k("get", "job", job, "--output", "json"))["status"].get("conditions", [])
        kinds = {condition["type"] for condition in conditions if condition["status"] == "True"}
        if "Failed" in kinds:
            raise Failed(f"{job} failed: {conditions}")
        return "Complete" in kinds

    def complete(self, job, within_s):
        """Waits until this Job is complete."""
        until(f"{job} is complete", lambda: self.is_complete(job), within_s)

    def finish(self, within_s=300):
        """Waits until the workers' Job is complete, and returns the hashes of the weights. The coordinator stays for another minute
        to tell late workers; that its Job is complete then is for the row `undisturbed` to see."""
        self.complete("lsgan-worker", within_s)
        until("the coordinator says what was written", lambda: '"outcome":"complete"' in self.log("coordinator").replace(" ", ""), 60)
        return hashes(self.log("coordinator"))

    def delete(self, pod, *more):
        self.k("delete", "pod", pod["metadata"]["name"], "--wait=false", *more)

    def evict(self, pod):
        name = pod["metadata"]["name"]
        eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": self.namespace}}
        kubectl("create", "--raw", f"/api/v1/namespaces/{self.namespace}/pods/{name}/eviction", "--filename", "-",
                text=json.dumps(eviction))

    def drain(self, pod):
        node = pod["spec"]["nodeName"]
        self.ends.append(lambda: kubectl("uncordon", node))
        kubectl("drain", node, "--pod-selector", "app.kubernetes.io/name=lsgan", "--delete-emptydir-data", "--force",
                "--ignore-daemonsets", "--timeout=90s")

    def end(self, failed):
        for end in reversed(self.ends):
            end()
        if failed and self.options.out:
            out = self.options.out / self.namespace
            out.mkdir(parents=True, exist_ok=True)
            for name, said in {"pods": self.k("describe", "jobs,pods", check=False), "coordinator": self.log("coordinator"),
                               "worker": self.log("worker")}.items():
                (out / name).write_text(said)
        shutil.rmtree(self.dir)
        if not (failed and self.options.keep):
            kubectl("delete", "namespace", self.namespace, "--wait=false", check=False)


def uid(pod):
    return pod["metadata"]["uid"]


def hashes(log):
    """The hashes in the last lines of a coordinator, by name."""
    found = dict(re.findall(r"([a-z_]+)\.safetensors  BLAKE3 ([0-9a-f]{64})", log))
    for line in log.splitlines():
        if line.startswith("{") and '"outcome":"complete"' in line.replace(" ", ""):
            found |= {Path(file["url"]).stem: file["blake3"] for file in json.loads(line).get("files", [])}
    if not found:
        raise Failed(f"the coordinator names no final weights: {log[-500:]}")
    return found
