"""Tenable's own tool under the same measurements. Runs in the peer's environment: standard library and
`tenable_aws_sechub` only.

python peer_side.py transform CHUNKS_DIR      one line of JSON per line read from stdin
python peer_side.py job CONFIG_FILE           one line of JSON, then the end
"""

import json
import logging
import os
import resource
import sys
import time


def transform(folder):
    """Its own parse, merge, generate and dumps, on raw chunks. Its asset table is prebuilt, as ours is."""
    from restfly.utils import dict_flatten, dict_merge
    from tenable_aws_sechub.finding import Finding

    names = sorted(os.listdir(folder))
    chunks = [open(os.path.join(folder, name), "rb").read() for name in names if name.startswith("vulnerabilities")]
    trims = (
        "network.ipv4s",
        "network.ipv6s",
        *(
            f"cloud.aws.{n}"
            for n in ("region", "ec2_instance_id", "owner_id", "ec2_instance_type", "ec2_instance_ami_id")
        ),
    )
    assets = {}
    for name in names:
        if name.startswith("assets"):
            for asset in json.loads(open(os.path.join(folder, name), "rb").read()):
                flat = dict_flatten(asset)
                if flat.get("cloud.aws.owner_id"):
                    assets[flat["id"]] = {key: value for key, value in flat.items() if key in trims}
    log = logging.getLogger("peer")
    finding = Finding(region="us-east-1")
    for _ in sys.stdin:
        began, findings, size = time.process_time(), 0, 0
        for chunk in chunks:
            # pyTenable's iterator: requests' json() of the complete chunk, then record by record.
            for vuln in json.loads(chunk):
                asset = assets.get(vuln["asset"]["uuid"])
                if not asset:
                    continue
                vuln["asset"] = dict_merge(vuln["asset"], asset)
                try:
                    size += len(json.dumps(finding.generate(vuln)))
                    findings += 1
                except Exception as error:
                    log.debug("failed: %s", error)
        print(json.dumps({"cpu": time.process_time() - began, "findings": findings, "bytes": size}), flush=True)


def job(config_file):
    """The complete job, as `tvm2aws` runs it."""
    from tenable_aws_sechub.transform import Processor

    # It warns about each vulnerability that it leaves out; at its default verbosity these go to the terminal, here
    # nowhere.
    logging.disable(logging.CRITICAL)
    # pyTenable waits 30 s between two polls of an export that is not ready; the exports here are ready at once.
    with open(config_file) as file:
        config = json.load(file)
    began = time.monotonic()
    cpu = time.process_time()
    processor = Processor(config)
    processor.ingest()
    usage = resource.getrusage(resource.RUSAGE_SELF)
    result = {
        "wall": time.monotonic() - began,
        "cpu": time.process_time() - cpu,
        "findings": sum(cache.count for cache in processor.caches.values()),
        "peak_mb": usage.ru_maxrss / 1024,
    }
    print(json.dumps(result), flush=True)


if __name__ == "__main__":
    {"transform": transform, "job": job}[sys.argv[1]](sys.argv[2])
