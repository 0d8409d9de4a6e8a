"""curl as a client: raw credentials in Basic, and form-encoded ones in the body. It verifies nothing."""

import json
import subprocess
import sys

given = json.load(sys.stdin)
for number, credential in enumerate(given["credentials"]):
    ways = {
        "curl, Basic": ["-u", f"{credential['id']}:{credential['secret']}"],
        "curl, post": [
            "--data-urlencode", f"client_id={credential['id']}",
            "--data-urlencode", f"client_secret={credential['secret']}",
        ],
    }
    for library, way in ways.items():
        command = ["curl", "-sS", "--noproxy", "*", "--cacert", given["ca"], "-d", "grant_type=client_credentials"]
        answer = subprocess.run([*command, *way, given["tokenUrl"]], capture_output=True, text=True)
        line = {"library": library, "credential": number}
        try:
            line["token"] = json.loads(answer.stdout)["access_token"]
        except (ValueError, KeyError):
            line["error"] = answer.stdout or answer.stderr
        print(json.dumps(line), flush=True)
