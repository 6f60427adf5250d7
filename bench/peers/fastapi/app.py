"""An inference service as one writes it by hand: FastAPI, pydantic and ONNX Runtime.

The handler is `async`, for the model takes less time than handing it to FastAPI's thread pool would.
"""

import os

import numpy as np
import onnxruntime
from fastapi import FastAPI
from pydantic import BaseModel


class Input(BaseModel):
    name: str
    shape: list[int]
    datatype: str
    data: list[float]


class Request(BaseModel):
    inputs: list[Input]


class Output(BaseModel):
    name: str
    shape: list[int]
    datatype: str
    data: list[int] | list[float]


class Response(BaseModel):
    model_name: str
    outputs: list[Output]


DATATYPES = {"int64": "INT64", "float32": "FP32"}

options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
options.inter_op_num_threads = 1
session = onnxruntime.InferenceSession(os.environ["PEER_MODEL"], options)
names = [output.name for output in session.get_outputs()]
app = FastAPI()


@app.post("/v2/models/digits/infer")
async def infer(request: Request) -> Response:
    inputs = {
        tensor.name: np.asarray(tensor.data, dtype=np.float32).reshape(tensor.shape) for tensor in request.inputs
    }
    outputs = [
        Output(name=name, shape=values.shape, datatype=DATATYPES[values.dtype.name], data=values.ravel().tolist())
        for name, values in zip(names, session.run(None, inputs))
    ]
    return Response(model_name="digits", outputs=outputs)
