"""C2PA manifests: read without network, and mapped to altered, untrusted, sound or absent.

After the C2PA technical specification 2.x, §15. The reader of the ``c2pa`` library is given a
context with remote manifests and OCSP switched off, so that no file can make this process call out.
A failure counts as *altered* only where hashes or a signature differ; an unknown or expired
certificate says nothing of the picture.
"""

import io
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, Literal

import c2pa

State = Literal["absent", "remote", "unreadable", "sound", "untrusted", "altered"]

SIZE_MAX: Final = 64 << 20
MANIFESTS_MAX: Final = 64
_ALTERED: Final = frozenset(
    {
        "assertion.dataHash.mismatch",
        "assertion.bmffHash.mismatch",
        "assertion.boxesHash.mismatch",
        "assertion.hashedURI.mismatch",
        "claimSignature.mismatch",
    }
)
_NOT_ALTERED: Final = ("exclusion", "malformed", "unsupported")
"""Words in an explanation that make a mismatch a matter of the reader's version."""

MEDIA_TYPES: Final = frozenset(
    {
        "image/jpeg", "image/png", "image/webp", "image/tiff", "image/heic", "image/heif",
        "image/avif", "image/gif", "application/pdf", "video/mp4", "audio/wav", "audio/x-wav",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifests:
    """What the manifests of a file say, the active one and every ingredient.

    ``failures`` are (code, explanation) of the active manifest, ``ingredient_failures`` of others;
    ``sources`` the digital source types anywhere, ``agents`` the programs named, ``actions`` what
    the active manifest says was done.
    """

    state: State = "absent"
    issuer: str = ""
    agents: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    actions: tuple[str, ...] = ()
    failures: tuple[tuple[str, str], ...] = ()
    ingredient_failures: tuple[tuple[str, str], ...] = ()
    manifests: int = 0


@cache
def _context(anchors: str) -> Any:
    verify = {"remote_manifest_fetch": False, "ocsp_fetch": False, "verify_trust": True}
    settings: dict[str, Any] = {"verify": verify}
    if anchors:
        settings["trust"] = {"trust_anchors": anchors}
    return c2pa.Context(c2pa.Settings.from_dict(settings))


def read_manifests(data: bytes, media_type: str, anchors: str = "") -> Manifests:
    """Read every manifest of a file that may hold some; ``anchors`` are PEM certificates."""
    if media_type not in MEDIA_TYPES or len(data) > SIZE_MAX:
        return Manifests()
    try:
        with c2pa.Reader(media_type, io.BytesIO(data), context=_context(anchors)) as reader:
            store = json.loads(reader.json())
            state = str(reader.get_validation_state())
    except c2pa.C2paError as error:
        return Manifests(state=_state_of(str(error)))
    except (ValueError, RecursionError):
        return Manifests(state="unreadable")
    return _read(store, state) if isinstance(store, dict) else Manifests(state="unreadable")


def _state_of(message: str) -> State:
    if "emote" in message and "fetch" in message:
        return "remote"
    return "absent" if "ManifestNotFound" in message else "unreadable"


def _read(store: Mapping[str, Any], state: str) -> Manifests:
    manifests = dict(list(_mapping(store.get("manifests")).items())[:MANIFESTS_MAX])
    active = _mapping(manifests.get(str(store.get("active_manifest"))))
    results = _mapping(store.get("validation_results"))
    failures = tuple(_failures(_mapping(results.get("activeManifest"))))
    deltas = [d for d in _list(results.get("ingredientDeltas")) if isinstance(d, dict)]
    nested = tuple(f for d in deltas for f in _failures(_mapping(d.get("validationDeltas"))))
    verdict: State = "untrusted"
    if any(alters(code, why) for code, why in failures):
        verdict = "altered"
    elif state == "Trusted":
        verdict = "sound"
    every = [_mapping(m) for m in manifests.values()]
    return Manifests(
        state=verdict,
        issuer=str(_mapping(active.get("signature_info")).get("issuer") or "")[:200],
        agents=_unique(agent for m in every for agent in _agents(m)),
        sources=_unique(source for m in every for source in _sources(m)),
        actions=_unique(str(a.get("action", "")) for a in _actions(active)),
        failures=failures,
        ingredient_failures=nested,
        manifests=len(every),
    )


def alters(code: str, why: str) -> bool:
    """Say whether that failure means that the picture or its claim was changed after signing."""
    return code in _ALTERED and not any(word in why.casefold() for word in _NOT_ALTERED)


def _failures(result: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for failure in _list(result.get("failure"))[:64]:
        one = _mapping(failure)
        yield str(one.get("code", ""))[:100], str(one.get("explanation", ""))[:300]


def _actions(manifest: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for assertion in _list(manifest.get("assertions"))[:256]:
        if str(_mapping(assertion).get("label", "")).startswith("c2pa.actions"):
            data = _mapping(_mapping(assertion).get("data"))
            yield from (_mapping(a) for a in _list(data.get("actions"))[:256])


def _agents(manifest: Mapping[str, Any]) -> Iterator[str]:
    yield str(manifest.get("claim_generator") or "")
    for info in _list(manifest.get("claim_generator_info")):
        yield str(_mapping(info).get("name") or "")
    for action in _actions(manifest):
        agent = action.get("softwareAgent")
        yield str(agent.get("name") or "") if isinstance(agent, dict) else str(agent or "")


def _sources(manifest: Mapping[str, Any]) -> Iterator[str]:
    for action in _actions(manifest):
        yield str(action.get("digitalSourceType") or "").rpartition("/")[2]
    for assertion in _list(manifest.get("assertions"))[:256]:
        data = _mapping(_mapping(assertion).get("data"))
        yield str(data.get("digitalSourceType") or "").rpartition("/")[2]


def _unique(words: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted({word.strip()[:200] for word in words} - {""}))


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
