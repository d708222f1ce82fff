"""The coordinator's host is lost with its disk, and another one goes on with what the bucket has."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path

from cluster import Cluster, Journal
from measure import SCRATCH, WEED, BenchError
from report import OURS

BUCKET = "bench"
HOST = "127.0.0.1"
# Steps that the run has done when its host is lost: the journal's copy has some pieces.
STEPS = (200, 600)


class Bucket:
    """SeaweedFS with one empty bucket, open to all on this machine."""

    def __enter__(self):
        SCRATCH.mkdir(parents=True, exist_ok=True)
        self.folder = tempfile.TemporaryDirectory(prefix="bucket-", dir=SCRATCH)
        ports = free_ports(8)
        command = [WEED, "server", f"-dir={self.folder.name}", f"-ip={HOST}", f"-ip.bind={HOST}", "-s3"]
        for part, (http, grpc) in zip(["master", "volume", "filer", "s3"], zip(ports[::2], ports[1::2])):
            command += [f"-{part}.port={http}", f"-{part}.port.grpc={grpc}"]
        command += [f"-{part}.localSocket={self.folder.name}/{part}.sock" for part in ("filer", "s3")]
        command += ["-master.telemetry=false", "-s3.port.iceberg=0", "-s3.port.lance=0", "-volume.max=100"]
        self.log = Path(self.folder.name) / "log"
        with open(self.log, "w") as log:
            self.process = subprocess.Popen([*map(str, command)], stdout=log, stderr=log)
        self.endpoint = f"http://{HOST}:{ports[6]}"
        self.make_bucket()
        return self

    def make_bucket(self):
        until = time.monotonic() + 30
        while True:
            try:
                request = urllib.request.Request(f"{self.endpoint}/{BUCKET}", method="PUT")
                return urllib.request.urlopen(request, timeout=5).close()
            except OSError as error:
                if time.monotonic() > until or self.process.poll() is not None:
                    self.__exit__()
                    raise BenchError(f"the S3 server makes no bucket: {error}") from error
                time.sleep(0.1)

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.folder.cleanup()

    def environment(self):
        keys = {"AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any", "AWS_REGION": "us-east-1"}
        return os.environ | keys | {"AWS_ENDPOINT_URL": self.endpoint}


def free_ports(count):
    sockets = [socket.create_server((HOST, 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


class InBucket(Cluster):
    def __init__(self, bucket):
        super().__init__("recovery")
        self.bucket = bucket
        self.sets = (f"checkpoint.to=s3://{BUCKET}/run", "checkpoint.every=100")

    def environment(self, name):
        return self.bucket.environment()

    def lose_host(self):
        """Kills the coordinator and deletes all that its host had."""
        self.kill_coordinator()
        self.journal.connection.close()
        shutil.rmtree(self.run_dir)

    def start_elsewhere(self):
        """Seconds until a coordinator with an empty directory leads the run, at the old address."""
        begin = time.monotonic()
        self.start_coordinator()
        took_s = time.monotonic() - begin
        self.journal = Journal(self.run_dir / "journal.sqlite")
        return took_s


def failover(random):
    """failover.lead: from the start of a coordinator on another host, with nothing but the run's file, until it leads.

    failover.lost: steps that have no row of metrics, and generations that were formed after it. The two workers go on
    meanwhile.
    """
    with Bucket() as bucket, InBucket(bucket) as run:
        run.wait_for_steps(random.randint(*STEPS))
        generations = len(run.journal.generations())
        run.lose_host()
        lead_s = run.start_elsewhere()
        done = run.journal.steps_done()
        run.wait("steps after it", lambda: run.journal.steps_done() > done + 50)
        steps = [row[0] for row in run.journal.metrics()]
        lost = len(set(range(steps[0], steps[-1] + 1)) - set(steps)) if steps else 1
        formed = len(run.journal.generations()) - generations
    return {("failover", OURS): lead_s, ("failover", "lost"): lost + formed}
