"""Trees as plain arrays: what scikit-learn has grown, kept without pickle and walked by a kernel.

An npz of numbers cannot run code when it is read; a pickle can. ``score`` needs no scikit-learn.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from detectors.kit.strokes import FloatArray

Int32Array = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Forest:
    """Trees laid end to end: a node goes left where ``x[feature] <= threshold``; leaves have left −1."""

    root: Int32Array
    feature: Int32Array
    threshold: FloatArray
    left: Int32Array
    right: Int32Array
    value: FloatArray
    base: float

    def score(self, rows: FloatArray) -> FloatArray:
        """Sum of leaf values plus ``base`` for each row (n, features)."""
        out = np.full(len(rows), self.base)
        if len(rows):
            _walk(rows, self.root, self.feature, self.threshold, self.left, self.right,
                  self.value, out)  # fmt: skip
        return out

    def arrays(self, prefix: str) -> dict[str, npt.NDArray[Any]]:
        """Name the arrays for an npz."""
        return {
            f"{prefix}.root": self.root, f"{prefix}.feature": self.feature,
            f"{prefix}.threshold": self.threshold, f"{prefix}.left": self.left,
            f"{prefix}.right": self.right, f"{prefix}.value": self.value,
            f"{prefix}.base": np.asarray([self.base]),
        }  # fmt: skip


def read(stored: Any, prefix: str) -> Forest:
    """Read what ``arrays`` named. Raises ``ValueError`` where nodes point out of the table."""
    got = {k: np.asarray(stored[f"{prefix}.{k}"]) for k in
           ("root", "feature", "threshold", "left", "right", "value", "base")}  # fmt: skip
    nodes = len(got["feature"])
    inside = all(
        len(got[k]) == nodes and (nodes == 0 or int(got[k].max()) < nodes)
        for k in ("left", "right")
    )
    if not inside or len(got["value"]) != nodes or len(got["threshold"]) != nodes:
        raise ValueError(f"{prefix}: a tree points out of its table")
    return Forest(
        root=got["root"].astype(np.int32), feature=got["feature"].astype(np.int32),
        threshold=got["threshold"].astype(np.float64), left=got["left"].astype(np.int32),
        right=got["right"].astype(np.int32), value=got["value"].astype(np.float64),
        base=float(got["base"][0]),
    )  # fmt: skip


@numba.njit(cache=True)
def _walk(rows: FloatArray, root: Int32Array, feature: Int32Array, threshold: FloatArray,
          left: Int32Array, right: Int32Array, value: FloatArray, out: FloatArray) -> None:  # fmt: skip
    for i in range(len(rows)):
        for k in range(len(root)):
            node = root[k]
            while left[node] >= 0:
                less = rows[i, feature[node]] <= threshold[node]
                node = left[node] if less else right[node]
            out[i] += value[node]


def _join(trees: Sequence[tuple[Any, ...]], base: float) -> Forest:
    offsets = np.cumsum([0, *(len(t[0]) for t in trees)])
    left = [np.where(t[2] >= 0, t[2] + o, -1) for t, o in zip(trees, offsets, strict=False)]
    right = [np.where(t[2] >= 0, t[3] + o, -1) for t, o in zip(trees, offsets, strict=False)]
    return Forest(
        root=offsets[:-1].astype(np.int32),
        feature=np.concatenate([t[0] for t in trees]).astype(np.int32),
        threshold=np.concatenate([t[1] for t in trees]).astype(np.float64),
        left=np.concatenate(left).astype(np.int32),
        right=np.concatenate(right).astype(np.int32),
        value=np.concatenate([t[4] for t in trees]).astype(np.float64),
        base=base,
    )


def of_boosting(model: Any) -> Forest:
    """Take the trees out of a fitted binary ``HistGradientBoostingClassifier`` (log-odds)."""
    trees = []
    for (predictor,) in model._predictors:
        nodes = predictor.nodes
        leaf = nodes["is_leaf"].astype(bool)
        left = np.where(leaf, -1, nodes["left"].astype(np.int64))
        right = np.where(leaf, -1, nodes["right"].astype(np.int64))
        trees.append((nodes["feature_idx"], nodes["num_threshold"], left, right, nodes["value"]))
    return _join(trees, float(np.ravel(model._baseline_prediction)[0]))


def of_isolation(model: Any) -> Forest:
    """Take the trees out of a fitted ``IsolationForest``: minus the mean path length, in units of
    the expected one (Liu et al. 2008), so that greater is stranger."""
    expected = _path(np.asarray([model.max_samples_]))[0]
    share = 1.0 / (len(model.estimators_) * expected)
    trees = []
    for grown, columns in zip(model.estimators_, model.estimators_features_, strict=True):
        tree = grown.tree_
        depth = np.zeros(tree.node_count)
        for node in range(tree.node_count):
            if tree.children_left[node] >= 0:
                depth[tree.children_left[node]] = depth[node] + 1
                depth[tree.children_right[node]] = depth[node] + 1
        value = -(depth + _path(tree.n_node_samples)) * share
        feature = np.where(tree.feature >= 0, columns[np.maximum(tree.feature, 0)], 0)
        trees.append((feature, tree.threshold, tree.children_left, tree.children_right, value))
    return _join(trees, 0.0)


def _path(samples: npt.NDArray[Any]) -> FloatArray:
    """Expected depth of an unsuccessful search among so many."""
    n = np.maximum(samples.astype(np.float64), 1.0)
    more = 2.0 * (np.log(np.maximum(n - 1.0, 1.0)) + 0.5772156649015329) - 2.0 * (n - 1.0) / n
    return np.where(n <= 1.0, 0.0, np.where(n <= 2.0, 1.0, more))
