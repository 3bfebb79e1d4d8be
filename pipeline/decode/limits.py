"""How much a file from a stranger may cost: sizes, counts and seconds, in one frozen place."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds on one file. Beyond them a file is refused, never half read.

    ``pixels_max`` counts one frame, ``pixels_total_max`` all frames decoded in one call. CPU seconds
    are the child's own and do not depend on how busy the machine is; ``wall_s`` is only the
    backstop for a child that sleeps. The archive limits hold for the office formats, which are
    ZIP archives (ASVS 5.0 §5.2).
    """

    bytes_max: int = 20_000_000
    pixels_max: int = 40_000_000
    pixels_total_max: int = 160_000_000
    side_max: int = 16_384
    frames_max: int = 60
    picture_cpu_s: int = 5
    document_cpu_s: int = 20
    wall_s: float = 60.0
    address_space_extra: int = 2**30
    pages_max: int = 300
    pictures_max: int = 64
    picture_bytes_max: int = 40_000_000
    text_chars_max: int = 20_000_000
    archive_entries_max: int = 1_000
    archive_ratio_max: int = 100
    archive_bytes_max: int = 100_000_000
    archive_bytes_free: int = 1_000_000


DEFAULT = Limits()
