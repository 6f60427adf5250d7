"""A BentoML service over ONNX Runtime: a worker process a core, as its guide to workers has it; no log of accesses."""

import os

import bentoml
import numpy as np
import onnxruntime

DATATYPES = {"int64": "INT64", "float32": "FP32"}


@bentoml.service(workers=int(os.environ["PEER_WORKERS"]), logging={"access": {"enabled": False}})
class Digits:
    def __init__(self):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(os.environ["PEER_MODEL"], options)
        self.names = [output.name for output in self.session.get_outputs()]

    @bentoml.api(route="/v2/models/digits/infer")
    async def infer(self, inputs: list[dict]) -> dict:
        arrays = {
            tensor["name"]: np.asarray(tensor["data"], dtype=np.float32).reshape(tensor["shape"]) for tensor in inputs
        }
        outputs = [
            {
                "name": name,
                "shape": list(values.shape),
                "datatype": DATATYPES[values.dtype.name],
                "data": values.ravel().tolist(),
            }
            for name, values in zip(self.names, self.session.run(None, arrays))
        ]
        return {"model_name": "digits", "outputs": outputs}
