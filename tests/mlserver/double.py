"""A model of MLServer that doubles its input, and one that doubles texts."""

from mlserver import MLModel
from mlserver.codecs import NumpyCodec, StringCodec
from mlserver.types import InferenceResponse


class Double(MLModel):
    async def load(self):
        return True

    async def predict(self, payload):
        tensor = payload.inputs[0]
        if tensor.datatype == "BYTES":
            texts = [text + text for text in StringCodec.decode_input(tensor)]
            output = StringCodec.encode_output("y", texts, use_bytes=False)
        else:
            output = NumpyCodec.encode_output("y", 2 * NumpyCodec.decode_input(tensor))
        return InferenceResponse(model_name=self.name, outputs=[output])
