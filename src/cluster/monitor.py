"""Hands commands to the monitors: one JSON object per line in, one out.

Runs for as long as its standard input is open. Starting `ceph` for each
command instead costs half a second every time.
"""

import json
import sys

import rados

timeout = sys.argv[2]  # seconds

cluster = rados.Rados(conffile=sys.argv[1], name="client.admin")
cluster.conf_set("rados_mon_op_timeout", timeout)
cluster.connect(timeout=int(timeout))
for line in iter(sys.stdin.readline, ""):
    request = json.loads(line)
    code, output, said = cluster.mon_command(json.dumps(request["command"]), b"")
    answer = {
        "id": request["id"],
        "code": code,
        "output": output.decode("utf-8", "replace"),
        "said": said,
    }
    print(json.dumps(answer), flush=True)
