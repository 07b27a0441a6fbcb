"""Walks what a repository has published over two years, as python-tuf's client does with
the clock of each time: from the first root, and from the last one that was seen.

usage: twoyears.py DIR
"""

import datetime
import pathlib
import sys

from tuf.api.exceptions import ExpiredMetadataError
from tuf.ngclient._internal.trusted_metadata_set import TrustedMetadataSet
from tuf.ngclient.config import EnvelopeType


def follow(point: pathlib.Path, root: bytes, now: datetime.datetime) -> TrustedMetadataSet:
    trusted = TrustedMetadataSet(root, EnvelopeType.METADATA)
    trusted.reference_time = now
    while (path := point / f"{trusted.root.version + 1}.root.json").exists():
        trusted.update_root(path.read_bytes())
    timestamp = trusted.update_timestamp((point / "timestamp.json").read_bytes())
    version = timestamp.snapshot_meta.version
    snapshot = trusted.update_snapshot((point / f"{version}.snapshot.json").read_bytes())
    version = snapshot.meta["targets.json"].version
    trusted.update_targets((point / f"{version}.targets.json").read_bytes())
    return trusted


points = sorted(p for p in pathlib.Path(sys.argv[1]).iterdir() if (p / "when").exists())
first = (points[0] / "1.root.json").read_bytes()
last = first
seen = (0, 0, 0, 0)
for point in points:
    now = datetime.datetime.fromisoformat((point / "when").read_text().replace("Z", "+00:00"))
    follow(point, first, now)
    trusted = follow(point, last, now)
    last = (point / f"{trusted.root.version}.root.json").read_bytes()
    versions = (trusted.root.version, trusted.timestamp.version, trusted.snapshot.version, trusted.targets.version)
    if any(new < old for new, old in zip(versions, seen)):
        sys.exit(f"{point.name}: versions {versions} after {seen}")
    seen = versions
    try:
        follow(point, last, now + datetime.timedelta(days=365))
        sys.exit(f"{point.name}: a year later it is still good")
    except ExpiredMetadataError:
        pass
print(len(points), *seen)
