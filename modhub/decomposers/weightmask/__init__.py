"""Weight masks that modules share, learned on frozen weights.

Kingetsu, Kobayashi and Suzuki, "Neural Network Module Decomposition and Recomposition", arXiv:2112.13208. A module is
a mask over the weights of its parent: `weightmask` learns one real score per weight and class, the weights with the
highest scores of their layer are kept, and the gradient goes straight through that choice. No weight ever changes.
"""

from __future__ import annotations

from modhub.decomposers.weightmask.system import weightmask

__all__ = ["weightmask"]
