"""Write the bill of materials of a release: CycloneDX 1.6, JSON.

    SOURCE_DATE_EPOCH=... python -m tools.ci.sbom FILE... > sbom.json

FILE: wheels, sdist and packages.  Lists them with their digests, the models inside
with theirs and their licences, and what edgestem asks for at run time.
"""

from __future__ import annotations

import datetime
import email
import hashlib
import json
import os
import re
import sys
import uuid
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def bill(files: list[Path], seconds: int) -> dict[str, Any]:
    """Describe a release's files; the same files give the same bill."""
    wheels = [path for path in files if path.suffix == ".whl"]
    if not wheels:
        raise SystemExit("name a wheel, at least: it says what is inside")
    with zipfile.ZipFile(wheels[0]) as wheel:
        about = _metadata(wheel)
        models = list(_models(wheel))
    name, version = about["Name"], about["Version"]
    needs = list(_needs(about.get_all("Requires-Dist") or []))
    main = {
        "type": "application",
        "bom-ref": f"pkg:pypi/{name}@{version}",
        "purl": f"pkg:pypi/{name}@{version}",
        "name": name,
        "version": version,
        "licenses": [{"license": {"id": about["License-Expression"]}}],
    }
    parts = [*models, *needs, *(_file(p.name, p.read_bytes()) for p in files)]
    time = datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc)
    found = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"timestamp": f"{time:%Y-%m-%dT%H:%M:%SZ}", "component": main},
        "components": parts,
        "dependencies": [
            {"ref": main["bom-ref"], "dependsOn": [p["bom-ref"] for p in needs]}
        ],
    }
    digest = uuid.uuid5(uuid.NAMESPACE_URL, json.dumps(found, sort_keys=True))
    return found | {"serialNumber": f"urn:uuid:{digest}"}


def _metadata(wheel: zipfile.ZipFile) -> email.message.Message:
    (name,) = (n for n in wheel.namelist() if n.endswith(".dist-info/METADATA"))
    return email.message_from_bytes(wheel.read(name))


def _file(name: str, content: bytes, **more: Any) -> dict[str, Any]:
    digest = hashlib.sha256(content).hexdigest()
    return {
        "type": "file",
        "bom-ref": f"file:{name}",
        "name": name,
        "hashes": [{"alg": "SHA-256", "content": digest}],
        **more,
    }


def _models(wheel: zipfile.ZipFile) -> Iterator[dict[str, Any]]:
    """Yield the networks; their licence is their sidecar's, or the package's."""
    for name in sorted(wheel.namelist()):
        if name.endswith(".tflite"):
            sidecar = name.replace(".tflite", ".json")
            has_one = sidecar in wheel.namelist()
            about = json.loads(wheel.read(sidecar)) if has_one else {}
            more = {
                "type": "machine-learning-model",
                "licenses": [{"license": {"id": about.get("licence", "MIT")}}],
            }
            if "attribution" in about:
                more["description"] = about["attribution"]
            yield _file(Path(name).name, wheel.read(name), **more)


def _needs(lines: list[str]) -> Iterator[dict[str, Any]]:
    """Yield what the wheel asks for, without extras; versions are bounds."""
    for line in lines:
        if "extra ==" in line:
            continue
        found = re.match(r"[A-Za-z0-9._-]+", line)
        assert found is not None, line
        name = found[0].lower()
        about = {
            "name": name,
            "purl": f"pkg:pypi/{name}",
            "bom-ref": f"pkg:pypi/{name}",
        }
        yield {"type": "library", **about, "description": f"asked for as: {line}"}


if __name__ == "__main__":
    made = bill(
        sorted(Path(word) for word in sys.argv[1:]),
        int(os.environ["SOURCE_DATE_EPOCH"]),
    )
    print(json.dumps(made, indent=1))
