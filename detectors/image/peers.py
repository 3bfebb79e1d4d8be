"""Peers: the task's other submitters, whose pictures teach what varies in a template."""

from typing import Final

from detectors.image import lookalike
from detectors.image.compare import Comparison
from detectors.image.known import Known
from detectors.image.nominate import Key, Nominee
from detectors.kit.order import Order
from pipeline.ports import Past

PEERS_MAX: Final = 16
"""Submissions of a task, the earliest, that teach what varies among its honest pictures."""


class Peers:
    """Other submitters' pictures of the same tasks, laid over the accused, each pair once."""

    def __init__(self, known: Known, past: Past, order: Order) -> None:
        self._known, self._past, self._order = known, past, order
        self._of_task: dict[str, list[tuple[str, str]]] = {}
        self._laid: dict[tuple[Key, int, Key, int], Comparison | None] = {}

    def of(self, key: Key, nominee: Nominee) -> tuple[list[Comparison], int]:
        """Lay peers of the accused's task and of the source's over it; and count who was asked."""
        accused, source = self._order[key[0]], self._order[nominee.source[0]]
        ours = {accused.worker_id, source.worker_id}
        ids = sorted(
            {
                sid
                for task in (accused.task_id, source.task_id)
                for sid, worker in self._members(task)
                if worker not in ours and sid not in (key[0], nominee.source[0])
            }
        )
        found = []
        made = self._known.prints(ids)
        self._known.load(set(made))
        for peer, print_ in made.items():
            for part in range(len(print_.parts)):
                laid = self._lay(key, nominee.accused_part, peer, part)
                if laid is not None:
                    found.append(laid)
                    break
        return found, len({peer[0] for peer in made})

    def _members(self, task: str) -> list[tuple[str, str]]:
        if task not in self._of_task:
            members = self._past.of_task([task], limit=PEERS_MAX)
            self._of_task[task] = list(members.select("submission_id", "worker_id").iter_rows())
        return self._of_task[task]

    def _lay(self, key: Key, part: int, peer: Key, peer_part: int) -> Comparison | None:
        name = (key, part, peer, peer_part)
        if name not in self._laid:
            ours, theirs = self._known.piece(key, part), self._known.piece(peer, peer_part)
            self._laid[name] = lookalike.lay_peer(ours, theirs)
        return self._laid[name]
