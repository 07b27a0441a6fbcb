"""sigstore-python as a judge: reads one case a line from standard input and
answers each with one line, {"error": ...}, null when the bundle is verified.

A case is JSON: root, a trusted root as text; bundle and artifact in base64;
subject and issuer.
"""

import base64
import functools
import hashlib
import json
import sys

from sigstore import dsse
from sigstore.errors import VerificationError
from sigstore.hashes import Hashed
from sigstore.models import Bundle, TrustedRoot
from sigstore.verify import Verifier, policy
from sigstore_models.common.v1 import HashAlgorithm
from sigstore_models.trustroot import v1 as trustroot


@functools.cache
def verifier(root: str) -> Verifier:
    return Verifier(trusted_root=TrustedRoot(trustroot.TrustedRoot.from_json(root)))


def judge(case: dict) -> None:
    """Verifies as the command "sigstore verify identity" does."""
    bundle = Bundle.from_json(base64.b64decode(case["bundle"]))
    digest = hashlib.sha256(base64.b64decode(case["artifact"])).digest()
    hashed = Hashed(algorithm=HashAlgorithm.SHA2_256, digest=digest)
    who = policy.Identity(identity=case["subject"], issuer=case["issuer"])
    if bundle._dsse_envelope is None:
        verifier(case["root"]).verify_artifact(hashed, bundle, who)
        return
    kind, payload = verifier(case["root"]).verify_dsse(bundle, who)
    if kind != dsse.Envelope._TYPE:
        raise VerificationError(f"expected JSON payload for DSSE, got {kind}")
    if not dsse.Statement(payload)._matches_digest(hashed):
        raise VerificationError("in-toto statement has no subject for the digest")


for line in sys.stdin:
    error = None
    try:
        judge(json.loads(line))
    except Exception as e:
        error = f"{type(e).__name__}: {e}"
    print(json.dumps({"error": error}), flush=True)
