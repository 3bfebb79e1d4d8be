"""Who makes pictures: the names that generators, editors and cameras leave in metadata.

Names are matched whole-word and caseless against fields that name a program, never against free
text. What only views, turns or sends pictures (galleries, messengers, scanners) is not an editor.
"""

import re
from collections.abc import Mapping
from typing import Final

GENERATORS: Final = re.compile(
    r"(?<![a-z])(midjourney|stable[ _-]?diffusion|sdxl|comfyui|automatic1111|invokeai|novelai|"
    r"dall[-·. ]?e|gpt[- ]?image|chatgpt|openai|firefly|imagen|gemini|made with google ai|nano banana|"
    r"flux(?:\.?1)?(?:[-_ ](?:dev|schnell|pro))?|black forest labs|ideogram|leonardo[. ]?ai|"
    r"playground[. ]?ai|dreamstudio|bing image creator|microsoft designer|grok|xai|seedream|"
    r"doubao|豆包|jimeng|即梦|dreamina|kling|可灵|wanx|通义万相|wenxin|文心一格|ernie|hunyuan|混元|"
    r"cogview|qwen-image|liblib|tensor[. ]?art|civitai|fooocus|draw ?things|recraft|krea)(?![a-z])",
    re.IGNORECASE,
)
EDITORS: Final = re.compile(
    r"(?<![a-z])((?:adobe )?photoshop(?! lightroom)|gimp|affinity photo|pixelmator|paint\.net|"
    r"corel ?paint|paintshop|photopea|canva|picsart|snapseed|facetune|facetuner|meitu|美图|"
    r"xingtu|醒图|b612|faceu|beautyplus|wuta|轻颜|airbrush|remini|photoroom|inpaint|touchretouch|"
    r"fotor|befunky|polarr|pixlr|krita|capcut|剪映|jianying|photodirector|luminar|photoscape|"
    r"magic eraser|cleanup\.pictures|lensa|illustrator|procreate|clip studio|figma|sketchbook)(?![a-z])",
    re.IGNORECASE,
)
"""Programs whose purpose is to change what a picture shows."""

STEPS: Final = re.compile(r"\bSteps: \d+\b.*\b(Sampler|Seed|CFG scale|Model hash): ", re.DOTALL)
"""The settings line that diffusion front ends write."""

GENERATOR_KEYS: Final[Mapping[str, str]] = {
    "sd-metadata": "InvokeAI",
    "invokeai_metadata": "InvokeAI",
    "invokeai_graph": "InvokeAI",
    "dream": "InvokeAI",
    "fooocus_scheme": "Fooocus",
    "generation_data": "Tensor.Art",
    "sui_image_params": "SwarmUI",
    "c2pa.ai": "C2PA",
}
"""Text keys that only a generator writes."""

SOURCE_GENERATED: Final = frozenset({"trainedalgorithmicmedia"})
SOURCE_COMPOSITE: Final = frozenset(
    {"compositewithtrainedalgorithmicmedia", "compositesynthetic", "algorithmicallyenhanced"}
)
"""Codes of the IPTC digital source type vocabulary."""

MAKER_NOTES: Final[tuple[tuple[bytes, str], ...]] = (
    (b"Apple iOS\x00", "apple"),
    (b"Nikon\x00", "nikon"),
    (b"OLYMP\x00", "olympus"),
    (b"OLYMPUS\x00", "olympus"),
    (b"OM SYSTEM\x00", "om digital"),
    (b"FUJIFILM", "fujifilm"),
    (b"Panasonic\x00", "panasonic"),
    (b"SONY DSC", "sony"),
    (b"SONY CAM", "sony"),
    (b"PENTAX \x00", "pentax"),
    (b"SIGMA\x00", "sigma"),
    (b"HUAWEI", "huawei"),
)
"""How a maker's private block begins, and the word that its ``Make`` then holds."""

MAKER_KIN: Final[Mapping[str, frozenset[str]]] = {
    "olympus": frozenset({"olympus", "om digital", "epson", "konica", "minolta", "agfa", "sanyo"}),
    "om digital": frozenset({"om digital", "olympus"}),
    "huawei": frozenset({"huawei", "honor", "leica"}),
    "panasonic": frozenset({"panasonic", "leica"}),
    "sony": frozenset({"sony", "hasselblad"}),
    "fujifilm": frozenset({"fuji", "leica", "general", "sharp", "minolta"}),
    "nikon": frozenset({"nikon", "general"}),
    "pentax": frozenset({"pentax", "ricoh", "asahi", "samsung"}),
    "sigma": frozenset({"sigma", "foveon"}),
    "apple": frozenset({"apple"}),
}
"""Makers that build each other's cameras."""


def maker_of(note: bytes) -> str | None:
    """Name the maker whose private block begins like this; None where it is not known."""
    return next((maker for head, maker in MAKER_NOTES if note.startswith(head)), None)


def foreign_note(note: bytes, make: str) -> str | None:
    """Name the maker of a private block that ``make`` contradicts; None where they agree."""
    maker = maker_of(note)
    if maker is None or not make.strip():
        return None
    kin = MAKER_KIN.get(maker, frozenset({maker}))
    return None if any(word in make.casefold() for word in kin) else maker
