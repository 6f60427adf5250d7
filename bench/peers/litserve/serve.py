"""LitServe over ONNX Runtime: a model worker and an HTTP process a core.

`fast_queue` is what LitServe's reference recommends for high throughput: ZeroMQ between the processes.
"""

import os

import litserve
import numpy as np
import onnxruntime

DATATYPES = {"int64": "INT64", "float32": "FP32"}


class OnnxAPI(litserve.LitAPI):
    def setup(self, device):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(os.environ["PEER_MODEL"], options)
        self.names = [output.name for output in self.session.get_outputs()]

    def decode_request(self, request):
        return {
            tensor["name"]: np.asarray(tensor["data"], dtype=np.float32).reshape(tensor["shape"])
            for tensor in request["inputs"]
        }

    def predict(self, inputs):
        return self.session.run(None, inputs)

    def encode_response(self, outputs):
        outputs = [
            {
                "name": name,
                "shape": list(values.shape),
                "datatype": DATATYPES[values.dtype.name],
                "data": values.ravel().tolist(),
            }
            for name, values in zip(self.names, outputs)
        ]
        return {"model_name": "digits", "outputs": outputs}


if __name__ == "__main__":
    workers = int(os.environ["PEER_WORKERS"])
    server = litserve.LitServer(
        OnnxAPI(api_path="/v2/models/digits/infer"),
        accelerator="cpu",
        workers_per_device=workers,
        fast_queue=os.environ.get("PEER_QUEUE") == "zmq",
    )
    server.run(
        host="127.0.0.1",
        port=int(os.environ["PEER_PORT"]),
        num_api_servers=workers,
        log_level="warning",
        access_log=False,
        generate_client_file=False,
    )
