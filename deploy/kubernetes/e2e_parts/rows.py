"""The rows: each disturbs a run, and ends with the hashes of its weights, which must be those of an undisturbed one."""

import json
import os
import re
import subprocess
import time

from .run import Failed, Skipped, kubectl, uid, until

# What docs/kubernetes.md promises of replacements.
REPLACED_IN_S, NODE_REPLACED_IN_S = 30, 60
ROWS = {}


def row(function):
    ROWS[function.__name__.replace("_", "-")] = function
    return function


@row
def undisturbed(run):
    """Both Jobs are complete in the end."""
    run.start()
    found = run.finish()
    run.complete("lsgan-coordinator", 120)
    return found


@row
def undisturbed_long(run):
    """What the rows are compared with that lose a node, where `lsgan up` of this machine is no reference."""
    if run.options.lsgan:
        raise Skipped("lsgan up of this machine is the reference")
    run.start(steps=run.options.long_steps)
    return run.finish(900)


def goes(run, role):
    """The pod of a role is deleted, then evicted, then its node drained."""
    run.start()
    for part, go in ((0.1, run.delete), (0.3, run.evict), (0.5, run.drain)):
        run.step(part)
        pod = run.one(role)
        run.replaced_after(role, lambda: go(pod), REPLACED_IN_S)
    return run.finish()


@row
def worker_goes(run):
    """A worker is deleted, one is evicted, the node of one is drained."""
    return goes(run, "worker")


@row
def coordinator_goes(run):
    """The coordinator is deleted, evicted, its node drained."""
    return goes(run, "coordinator")


@row
def all_go(run):
    """All pods at once, as when a namespace is moved; then again without any grace."""
    run.start()
    for part, more in ((0.2, ()), (0.5, ("--grace-period=0", "--force"))):
        run.step(part)
        run.replaced_after("coordinator", lambda: run.k("delete", "pods", "--all", "--wait=false", *more), REPLACED_IN_S)
    return run.finish()


@row
def changed_file(run):
    """More steps, a harmless field, a wrong field and its correction, while the run goes on; then scaled, and applied again."""
    steps = run.options.steps
    run.start(steps=steps // 2)
    run.step(0.1)
    run.replaced_after("coordinator", lambda: run.change(steps=steps), REPLACED_IN_S)
    run.step(0.2)
    run.replaced_after("coordinator", lambda: run.change(checkpoint__keep_last=2), REPLACED_IN_S)
    run.step(0.3)
    per_rank = run.options.field("batch.per_rank")
    run.change(batch__per_rank=per_rank + 1)
    until("the log refuses the file", lambda: "has changed and is not taken" in run.log("coordinator"), 60)
    run.scale(3)
    run.apply(batch__per_rank=per_rank)
    parallelism = json.loads(run.k("get", "job", "lsgan-worker", "--output", "json"))["spec"]["parallelism"]
    if parallelism != 3:
        raise Failed(f"apply has set parallelism to {parallelism}")
    return run.finish()


@row
def fewer_steps(run):
    run.start(steps=2 * run.options.steps)
    run.step(0.2)
    run.replaced_after("coordinator", lambda: run.change(steps=run.options.steps), REPLACED_IN_S)
    return run.finish()


@row
def wrong_at_the_start(run):
    """A file that is refused; its correction is taken without any other command."""
    run.start(steps=0)
    def told():
        pods = run.pods("coordinator", living=False)
        return any("steps" in message(pod) for pod in pods)
    until("describe shows why", told, 60)
    run.apply(steps=run.options.steps)
    return run.finish()


@row
def scale(run):
    """2 -> 4 -> 1 -> 3 by the documented command."""
    run.start()
    for part, workers in ((0.1, 4), (0.35, 1), (0.5, 3)):
        run.step(part)
        run.scale(workers)
        run.notes.append(f"{workers} in {run.members(workers):.0f} s")
    return run.finish()


@row
def kill_worker(run):
    """SIGKILL to a worker's pod, five times in a row."""
    return kill(run, "worker")


@row
def kill_coordinator(run):
    """The same for the coordinator."""
    return kill(run, "coordinator")


def kill(run, component):
    run.options.needs_hook()
    run.start(steps=run.options.long_steps)
    run.step(0.05)
    for _ in range(5):
        pod = run.one(component)
        run.replaced_after(component, lambda: run.options.hook("kill", pod["spec"]["nodeName"], uid(pod)), REPLACED_IN_S)
    run.wind_up()
    return run.finish()


@row
def coordinator_hangs(run):
    """SIGSTOP to the coordinator: the probe sees it, and the kubelet kills it."""
    run.options.needs_hook()
    run.start()
    run.step(0.1)
    pod = run.one("coordinator")
    run.replaced_after("coordinator", lambda: run.options.hook("freeze", pod["spec"]["nodeName"], uid(pod)), NODE_REPLACED_IN_S)
    return run.finish()


@row
def node_crash(run):
    """The node of a worker loses its power and comes back after that worker was replaced."""
    return lose_node(run, "crash", "start", "worker")


@row
def node_cut(run):
    """The node of a worker loses its network."""
    return lose_node(run, "cut", "mend", "worker")


@row
def node_crash_coordinator(run):
    """The coordinator's node loses its power; the volume is there on the other one."""
    return lose_node(run, "crash", "start", "coordinator")


@row
def node_cut_coordinator(run):
    """The coordinator's node loses its network: the next coordinator waits until the first one has let go of the run directory."""
    return lose_node(run, "cut", "mend", "coordinator")


@row
def node_crash_volume(run):
    """The coordinator's node loses its power, and its volume with it: the next one goes on from the bucket."""
    return lose_volume(run, "crash", "start")


@row
def node_cut_volume(run):
    """The same with a node that is cut off: its coordinator, which still runs, does not lead any more when it is back."""
    return lose_volume(run, "cut", "mend")


def lose_volume(run, lose, bring_back):
    run.options.needs_hook()
    begin_with_bucket(run, run.options.s3, run.namespace, steps=run.options.long_steps)
    return lose_node(run, lose, bring_back, "coordinator", volume=True)


def lose_node(run, lose, bring_back, component, volume=False):
    run.options.needs_hook()
    if not volume:
        run.start(steps=run.options.long_steps)
    run.members(2)
    run.step(0.1)
    home = run.one("coordinator")["spec"]["nodeName"]
    elsewhere = [pod for pod in run.pods("worker") if pod["spec"]["nodeName"] != home]
    if component == "worker" and not elsewhere:
        raise Failed("no worker is on another node than the coordinator")
    node = home if component == "coordinator" else elsewhere[0]["spec"]["nodeName"]
    run.ends.append(lambda: kubectl("wait", "--for=condition=Ready", "--timeout=90s", f"node/{node}", check=False))
    run.ends.append(lambda: run.options.hook(bring_back, node))
    def lost():
        run.options.hook(lose, node)
        if volume:
            run.options.hook("lose-volume", run.namespace)
    run.replaced_after(component, lost, NODE_REPLACED_IN_S)
    if volume:
        until("the journal is brought back from the bucket", lambda: "the journal is brought back from" in run.log("coordinator"), 60)
    elif component == "coordinator" and lose == "cut":
        # Where the storage breaks the lock of a host that is cut off, it leads.
        until("the next coordinator waits for the run directory", lambda: "which is held by" in run.log("coordinator") or run.trains(), 60)
    if run.is_complete("lsgan-worker"):
        raise Failed("the run has ended before its node was back: give more --steps")
    while run.ends:
        run.ends.pop()()
    run.wind_up()
    return run.finish(900)


def message(pod):
    states = [status["state"] for status in pod["status"].get("containerStatuses", [])]
    return " ".join(state.get("terminated", {}).get("message", "") for state in states)


@row
def failing(run):
    """A run whose numbers are not finite: `kubectl describe` says so. No hash."""
    run.start(optimizer__generator__adam__learning_rate=1, optimizer__discriminator__adam__learning_rate=1)
    def told():
        return re.search(r"Message: .*(gradient.*virtual rank|virtual rank.*gradient)", run.k("describe", "pods"), re.DOTALL)
    run.notes.append("describe: " + until("describe shows why", told, 120)[0].group(1)[:120])
    return None


@row
def s3(run):
    """Snapshots in a bucket, no shared volume, read-only root file systems; all workers are deleted once."""
    return bucket(run, run.options.s3, "plain")


@row
def slow_s3(run):
    """A bucket that answers nothing for longer than a minute: no probe kills the coordinator."""
    def is_patient():
        pods = run.pods("coordinator", living=False)
        if len(pods) != 1 or any(status["restartCount"] for status in pods[0]["status"]["containerStatuses"]):
            raise Failed("the coordinator was killed while it waited for its bucket")
    return bucket(run, run.options.slow_s3, "slow", is_patient)


@row
def tls(run):
    """Component tls, with certificates of `lsgan certs`; a worker is deleted, and the coordinator."""
    if not run.options.lsgan:
        raise Skipped("it needs --lsgan, which makes the certificates")
    run.components = ["tls"]
    run.make_namespace()
    certs = run.dir / "certs"
    subprocess.run([run.options.lsgan, "certs", "init", str(certs)], check=True, stdout=subprocess.DEVNULL)
    for role in ("coordinator", "worker"):
        run.k("create", "secret", "generic", f"lsgan-{role}-tls", f"--from-file={certs / role}")
    run.begin(2)
    # The pods have no operator's certificate, so nobody asks for the status.
    for component in ("worker", "coordinator"):
        until("a snapshot is written", lambda: run.is_there("/var/lib/lsgan/e2e/snapshots"), 180)
        pod = run.one(component)
        run.replaced_after(component, lambda: run.delete(pod), REPLACED_IN_S)
    return run.finish()


def bucket(run, endpoint, name, at_first_step=lambda: None):
    begin_with_bucket(run, endpoint, name)
    run.step(0.2, within_s=240)
    at_first_step()
    run.k("delete", "pods", "--selector", "app.kubernetes.io/component=worker", "--wait=false")
    return run.finish()


def begin_with_bucket(run, endpoint, name, **fields):
    """Begins a run whose snapshots are below this name in the bucket of the tests."""
    if not endpoint:
        raise Skipped("no S3 server is given")
    run.components = ["s3"]
    run.make_namespace()
    keys = {name: os.environ[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
    keys |= {"AWS_ENDPOINT_URL": endpoint, "AWS_REGION": "us-east-1"}
    run.k("create", "secret", "generic", "lsgan-s3", *(f"--from-literal={key}={value}" for key, value in keys.items()))
    port = int(endpoint.rpartition(":")[2])
    policy = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "s3-of-the-test"},
              "spec": {"podSelector": {}, "policyTypes": ["Egress"], "egress": [{"ports": [{"port": port}]}]}}
    run.k("apply", "--filename", "-", text=json.dumps(policy))
    run.begin(2, checkpoint__to=f"s3://lsgan/{name}-{int(time.time())}", **fields)
