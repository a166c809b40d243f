"""A federation to try things with: two countries, their endpoints with keys and certificates, topics and rights.

What the demo, `agencybus dev up` and the integration tests stand on. Everything in it is real but the agreements: real
keys, a real directory, real access rules. The authorities' keys are made here and forgotten unless they are
handed in, so it can't be changed later; make a new one.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from agencybus.directory.authoring import Authority, Lifetimes, author
from agencybus.directory.keys import DAY_US
from agencybus.directory.spec import EndpointKeys, FederationSpec, sample_spec
from agencybus.grants import grants_topic
from agencybus.kafka import admin, topics
from agencybus.kafka.local import LocalCluster
from agencybus.keyring import Keyring, Passphrase
from agencybus.subscribing.places import LANES

LIFETIMES: Final = Lifetimes(timestamp=timedelta(days=35))  # as long as the endpoints' encapsulation keys live

_PROFILE: Final = """
[profile]
label = "{label}"
legal-basis = "US-Mexico Mutual Legal Assistance Treaty of 1987, art. 1 (an example)"
"""
_LABELS: Final = {"us": "UNCLASSIFIED//REL TO USA, MEX", "mx": "PUBLICA//REL TO MEX, USA"}

_ENDPOINT: Final = """\
endpoint = "{endpoint}"
state = "{state}"
{more}
[keyring]
file = "keys.json"
passphrase-file = "passphrase"

[directory]
root = "{home}/federation/root.json"
url = "{url}"
cache = "directory"
refresh-seconds = 5

[kafka]
bootstrap = "{bootstrap}"
ca = "{ca}"
cert = "{cert}"
key = "{key}"
"""


@dataclass(frozen=True)
class Sandbox:
    """The folder of a federation.

    Attributes:
        home: what is in it: `federation/`, `endpoints/`.
        endpoints: names of all endpoints.
    """

    home: Path
    endpoints: tuple[str, ...]

    def folder(self, endpoint: str) -> Path:
        """Where the files of an endpoint are."""
        return self.home / "endpoints" / endpoint.replace("/", ".")

    def publisher(self, endpoint: str) -> Path:
        """The endpoint's `publisher.toml`."""
        return self.folder(endpoint) / "publisher.toml"

    def subscriber(self, endpoint: str) -> Path:
        """The endpoint's `subscriber.toml`."""
        return self.folder(endpoint) / "subscriber.toml"


def find(home: Path) -> Sandbox | None:
    """The federation in a folder, None if there is none."""
    spec = sample_spec()
    sandbox = Sandbox(home.absolute(), spec.endpoints)
    return sandbox if (sandbox.home / "federation" / "root.json").exists() else None


def make(
    home: Path,
    cluster: LocalCluster,
    *,
    spec: FederationSpec | None = None,
    authorities: Mapping[str, Authority] | None = None,
    url: str | None = None,
    copies: int = 1,
    log2_n: int = 17,
) -> Sandbox:
    """Make a federation on a running cluster.

    Args:
        home: a folder without one.
        cluster: where topics and rights are made.
        spec: what was agreed; the packaged sample if left out.
        authorities: country code → its signing keys; made here and forgotten if left out.
        url: where clients find the directory; the folder itself if left out.
        copies: replicas of each topic.
        log2_n: cost of the key files' passphrases.

    Returns:
        The folder's map.

    Raises:
        BusError: the broker or the disk refuses.
    """
    spec = spec or sample_spec()
    sandbox = Sandbox(home.absolute(), spec.endpoints)
    rings = {name: Keyring.generate(name) for name in spec.endpoints}
    for name, ring in rings.items():
        _keep(sandbox.folder(name), ring, log2_n)
    asyncio.run(topics.create_missing(cluster.settings(), channels(spec), copies=copies))
    for name in spec.endpoints:
        admin.admit(cluster.settings(), name)
    configure(sandbox, cluster, url=url)
    authorities = authorities or {country.code: Authority.generate(country.code) for country in spec.countries}
    sign(sandbox, spec, rings, authorities)
    return sandbox


def sign(
    sandbox: Sandbox, spec: FederationSpec, rings: Mapping[str, Keyring], authorities: Mapping[str, Authority]
) -> None:
    """Sign the directory of a sandbox, for the first time or anew."""
    began = time.time_ns() // 1000 - DAY_US
    keys = {
        name: EndpointKeys.of(ring.signer.public, ring.kem.public, not_before=began) for name, ring in rings.items()
    }
    folder = sandbox.home / "federation"
    root = author(spec, keys, authorities, folder, datetime.now(UTC), lifetimes=LIFETIMES)
    (folder / "root.json").write_bytes(root)


def channels(spec: FederationSpec) -> dict[str, int]:
    """Every topic that a federation needs, with its partitions."""
    found = {}
    for country in spec.national.values():
        for agency in country.agencies:
            found[grants_topic(agency.name)] = 1
            writes = {programme for endpoint in agency.endpoints for programme in endpoint.publishes}
            for programme in spec.programmes:
                if programme.name in writes and agency.name in programme.parties:
                    for lane in LANES:
                        found[f"{agency.name}.{programme.name}.{lane}"] = programme.partitions
    return found


def configure(sandbox: Sandbox, cluster: LocalCluster, *, url: str | None = None) -> None:
    """Write `publisher.toml` and `subscriber.toml` of every endpoint, as the cluster is reached now."""
    for name in sandbox.endpoints:
        ca, cert, key = cluster.client_files(name)
        values = {
            "endpoint": name,
            "home": sandbox.home,
            "url": url or (sandbox.home / "federation").as_uri(),
            "bootstrap": cluster.bootstrap,
            "ca": ca,
            "cert": cert,
            "key": key,
        }
        profile = _PROFILE.format(label=_LABELS.get(name[:2], ""))
        begin = 'start = "earliest"\n'
        sandbox.publisher(name).write_text(_ENDPOINT.format(**values, state="publisher-state", more="") + profile)
        sandbox.subscriber(name).write_text(_ENDPOINT.format(**values, state="subscriber-state", more=begin))


def _keep(folder: Path, ring: Keyring, log2_n: int) -> None:
    """Write an endpoint's keys and their passphrase."""
    folder.mkdir(parents=True, mode=0o700, exist_ok=True)
    passphrase = folder / "passphrase"
    passphrase.touch(mode=0o600)
    passphrase.write_text(secrets.token_urlsafe(24) + "\n")
    ring.save(folder / "keys.json", Passphrase.from_file(passphrase), log2_n=log2_n)
