"""The child process: reads a question, looks into the bytes under limits, answers, for ever.

Run as ``python -m pipeline.decode.child LIMITS`` by the pool. It ends when its standard input does, so it
never outlives its parent.
"""

import json
import os
import resource
import sys
import warnings
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, BinaryIO

from pipeline.decode import looking, wire
from pipeline.decode.images import Facts
from pipeline.decode.limits import Limits
from pipeline.decode.sandbox import enter
from pipeline.model.errors import ContentError


def main() -> None:
    """Serve questions on standard input until it closes."""
    limits = Limits(**json.loads(sys.argv[1]))
    questions, answers = _private_pipes()
    warnings.simplefilter("ignore")  # Pillow warns of what the limits already decide
    enter(limits.address_space_extra)
    while True:
        prefix = questions.read(wire.PREFIX.size)
        if len(prefix) < wire.PREFIX.size:
            return
        head_bytes, body_bytes = wire.PREFIX.unpack(prefix)
        question = wire.unpack_head(questions.read(head_bytes))
        data = questions.read(body_bytes)
        head, bodies = _answer(question, data, limits)
        answers.write(wire.pack(head, sum(map(len, bodies))))
        for body in bodies:
            answers.write(body)
        answers.flush()


def _private_pipes() -> tuple[BinaryIO, BinaryIO]:
    """Keep the two pipes to ourselves; whatever a library prints goes nowhere."""
    questions = os.fdopen(os.dup(0), "rb")
    answers = os.fdopen(os.dup(1), "wb", buffering=1 << 20)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(nowhere, number)
    return questions, answers


def _answer(
    question: dict[str, Any], data: bytes, limits: Limits
) -> tuple[dict[str, Any], Sequence[bytes]]:
    allow_cpu(limits.document_cpu_s if question["ask"] == "document" else limits.picture_cpu_s)
    try:
        match question["ask"]:
            case "probe":
                found = looking.probe(data, question["claim"], limits)
                facts = asdict(found) if isinstance(found, Facts) else {"media_type": found}
                return {"facts": facts}, ()
            case "pictures":
                shown = looking.pictures(
                    data,
                    limits,
                    side_max=question["side_max"],
                    frames_max=question["frames_max"],
                    grey=question["grey"],
                )
                sizes = [[f.width, f.height, f.scale, f.frame_index] for f in shown]
                return {"frames": sizes}, [f.pixels for f in shown]
            case _:
                read = looking.document(data, limits)
                pages = [page.encode() for page in read.pages]
                lengths = {"pages": [*map(len, pages)], "pictures": [*map(len, read.pictures)]}
                return lengths, [*pages, *read.pictures]
    except ContentError as error:
        return {"error": [error.code, error.message[:500]]}, ()
    except MemoryError:
        return {"error": ["blob.too_large", "needs more memory than is allowed"], "spent": True}, ()
    except RecursionError:
        return {"error": ["blob.unreadable", "nested too deeply"]}, ()


def allow_cpu(seconds: int) -> None:
    """Grant so many more CPU seconds, after which the system ends this process (SIGXCPU)."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    spent = int(used.ru_utime + used.ru_stime) + 1
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (spent + seconds, hard))


if __name__ == "__main__":
    main()
