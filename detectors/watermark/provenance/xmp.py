"""Reading XMP packets: the handful of properties that say who made or changed a picture.

After XMP part 1 (ISO 16684-1) and the IPTC photo metadata standard. Parsed by defusedxml with
entities and DTDs forbidden; a packet that is not well-formed is read as if it were not there.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Final
from xml.etree.ElementTree import Element, ParseError

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import fromstring

PACKET_MAX: Final = 1 << 20
PROPERTIES_MAX: Final = 4096
ITEMS_MAX: Final = 64
_WANTED: Final = frozenset(
    {
        "CreatorTool", "softwareAgent", "DigitalSourceType", "digitalSourceType", "Credit",
        "CreateDate", "ModifyDate", "DateCreated", "AIGC", "description", "AISystemUsed",
        "AIPromptInformation", "AISystemVersionUsed", "DateTimeOriginal", "parameters", "prompt",
        "instanceID", "action", "when", "Make", "Model", "Software", "title", "creator", "source",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Xmp:
    """Pairs of local property name and text, in document order."""

    properties: tuple[tuple[str, str], ...] = ()

    def all(self, name: str) -> tuple[str, ...]:
        """Return every value of that property."""
        return tuple(value for key, value in self.properties if key == name)


def read_xmp(packets: tuple[bytes, ...]) -> Xmp:
    """Read the packets; what cannot be parsed says nothing."""
    found: list[tuple[str, str]] = []
    for packet in packets[:16]:
        root = _parse(packet)
        if root is not None:
            found += islice(_walk(root), PROPERTIES_MAX)
    return Xmp(properties=tuple(found[:PROPERTIES_MAX]))


def _parse(packet: bytes) -> Element | None:
    start, end = packet.find(b"<"), packet.rfind(b">")
    if start < 0 or end < start or end - start > PACKET_MAX:
        return None
    try:
        return fromstring(packet[start : end + 1], forbid_dtd=True)
    except (ParseError, DefusedXmlException, ValueError, LookupError):
        return None


def _walk(root: Element) -> Iterator[tuple[str, str]]:
    """Yield wanted attributes and elements; the text of lists and alternatives is joined in."""
    for element in root.iter():
        for name, value in element.attrib.items():
            local = name.rpartition("}")[2]
            if local in _WANTED:
                yield local, value[:4096]
        local = str(element.tag).rpartition("}")[2]
        if local in _WANTED:
            text = " ".join(islice(_words(element), ITEMS_MAX))
            if text:
                yield local, text[:4096]


def _words(element: Element) -> Iterator[str]:
    """Yield the text of a property: its own, or that of the items of its list two levels down."""
    if element.text and element.text.strip():
        yield element.text.strip()
    for container in islice(element, ITEMS_MAX):
        for item in islice(container, ITEMS_MAX):
            if item.text and item.text.strip():
                yield item.text.strip()
