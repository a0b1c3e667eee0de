# bin-to-safetensors.py - pytorch_model*.bin to model*.safetensors, in place
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# python bin-to-safetensors.py FOLDER
# The engine does not read pickled Python objects. One shard is in memory at a
# time; values and types stay as they are, the .bin files too.
import json
import os
import sys

import torch
from safetensors.torch import save_file

BIN, SAFE = "pytorch_model.bin", "model.safetensors"


def convert(folder, source, target):
    """Tensors' names and their bytes. Tensors that share memory are written each."""
    tensors = torch.load(os.path.join(folder, source), map_location="cpu", mmap=True, weights_only=True)
    tensors = {k: v.clone().contiguous() for k, v in tensors.items()}
    save_file(tensors, os.path.join(folder, target), metadata={"format": "pt"})
    return list(tensors), sum(t.nbytes for t in tensors.values())


def main():
    folder = sys.argv[1]
    index = os.path.join(folder, BIN + ".index.json")
    if not os.path.exists(index):
        convert(folder, BIN, SAFE)
        return
    with open(index) as f:
        shards = sorted(set(json.load(f)["weight_map"].values()))
    weights, size = {}, 0
    for shard in shards:
        target = shard.replace("pytorch_model", "model").replace(".bin", ".safetensors")
        names, n = convert(folder, shard, target)
        weights.update(dict.fromkeys(names, target))
        size += n
        print(target, len(names), flush=True)
    with open(os.path.join(folder, SAFE + ".index.json"), "w") as f:
        json.dump({"metadata": {"total_size": size}, "weight_map": weights}, f, indent=1)
        f.write("\n")


if __name__ == "__main__":
    main()
