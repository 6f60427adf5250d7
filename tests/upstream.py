"""Servers of the Open Inference Protocol with one model, `m`, that doubles its input, and faults on request."""

import concurrent.futures
import json
import socket
import struct
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import grpc
import numpy as np
from tritonclient.grpc import service_pb2, service_pb2_grpc

INPUT = {"name": "x", "datatype": "FP32", "shape": [-1, 2]}
OUTPUT = {"name": "y", "datatype": "FP32", "shape": [-1, 2]}
# More than may be passed on, and letters that would change a terminal.
LONG_REASON = "\x1b[31mx is wrong\n" + "z" * 5000


class RestUpstream:
    """A REST server. `behaviour` says what it does with requests for the model; `asked` has their headers."""

    def __init__(self, port=0):
        self.behaviour = "answer"
        self.ready = True
        self.output = dict(OUTPUT)
        self.asked = []
        self.released = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def do_GET(self):
                path = self.path.removeprefix("/v2").strip("/")
                if path.endswith("ready"):
                    return self.send(200 if outer.ready else 503, {})
                known = {"": {"name": "fake", "extensions": []}}
                known["models/m"] = {"name": "m", "inputs": [INPUT], "outputs": [outer.output]}
                found = known.get(path)
                return self.send(200 if found else 404, found or {"error": f"nothing at {path}"})

            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                outer.asked.append({name.lower(): value for name, value in self.headers.items()})
                getattr(self, outer.behaviour)(json.loads(body))

            def send(self, status, body):
                self.send_bytes(status, json.dumps(body).encode())

            def send_bytes(self, status, body, length=None):
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(length or len(body)))
                self.end_headers()
                self.wfile.write(body)

            def outputs(self, request, **changes):
                tensor = request["inputs"][0]
                doubled = [2 * value for value in tensor["data"]]
                output = {"name": "y", "datatype": "FP32", "shape": tensor["shape"], "data": doubled}
                return {"model_name": "m", "outputs": [{**output, **changes}]}

            def answer(self, request):
                self.send(200, self.outputs(request))

            def hang(self, _):
                outer.released.wait()
                self.close_connection = True

            def reset(self, _):
                # Without lingering the kernel sends RST, not FIN.
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.close_connection = True

            def reset_within_answer(self, request):
                body = json.dumps(self.outputs(request)).encode()
                self.send_bytes(200, body[: len(body) // 2], length=len(body))
                self.close_connection = True

            def no_http(self, _):
                self.wfile.write(b"\x00\xff this is no HTTP\r\n\r\n")
                self.close_connection = True

            def no_json(self, _):
                self.send_bytes(200, b'{"outputs": [')

            def no_outputs(self, _):
                self.send(200, {"model_name": "m", "outputs": []})

            def other_shape(self, request):
                self.send(200, self.outputs(request, shape=[2, 1]))

            def other_type(self, request):
                self.send(200, self.outputs(request, datatype="FP64"))

            def other_name(self, request):
                self.send(200, self.outputs(request, name="z"))

            def too_few(self, request):
                self.send(200, self.outputs(request, data=[1.0]))

            def redirect(self, _):
                self.send_response(307)
                self.send_header("Location", "http://127.0.0.1:9/")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def fail(self, _):
                self.send(500, {"error": "it failed"})

            def unready(self, _):
                self.send(503, {"error": "not now"})

            def reject(self, _):
                self.send(400, {"error": LONG_REASON})

            def crowded(self, _):
                self.send(429, {"error": "too many"})

            def deny(self, _):
                self.send(401, {"error": "who are you"})

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            # Bursts of connections wait instead of being refused.
            request_queue_size = 256

            def handle_error(self, *_):
                pass

        self.server = Server(("127.0.0.1", port), Handler)
        self.port = self.server.server_port
        self.url = f"http://127.0.0.1:{self.port}"
        self.connections = []
        accept = self.server.get_request

        def remember():
            connection, address = accept()
            self.connections.append(connection)
            return connection, address

        self.server.get_request = remember
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self):
        """From now on connections are refused, and those that exist are closed."""
        self.released.set()
        self.server.shutdown()
        self.server.server_close()
        for connection in self.connections:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


class GrpcUpstream(service_pb2_grpc.GRPCInferenceServiceServicer):
    """A gRPC server. `behaviour` says what it does; `asked` has the metadata of requests for the model."""

    def __init__(self):
        self.behaviour = "answer"
        self.asked = []
        self.released = threading.Event()
        self.server = grpc.server(concurrent.futures.ThreadPoolExecutor(8))
        service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(self, self.server)
        self.url = f"grpc://127.0.0.1:{self.server.add_insecure_port('127.0.0.1:0')}"
        self.server.start()

    def stop(self):
        self.released.set()
        self.server.stop(0)

    def ServerReady(self, *_):
        return service_pb2.ServerReadyResponse(ready=True)

    def ModelReady(self, *_):
        return service_pb2.ModelReadyResponse(ready=True)

    def ModelMetadata(self, *_):
        answer = service_pb2.ModelMetadataResponse(name="m")
        answer.inputs.add(**INPUT)
        answer.outputs.add(**OUTPUT)
        return answer

    def ModelInfer(self, request, context):
        self.asked.append(dict(context.invocation_metadata()))
        answer = service_pb2.ModelInferResponse(model_name="m")
        output = answer.outputs.add(name="y", datatype="FP32", shape=request.inputs[0].shape)
        doubled = 2 * np.frombuffer(request.raw_input_contents[0], np.float32)
        match self.behaviour:
            case "answer":
                answer.raw_output_contents.append(doubled.tobytes())
            case "typed":
                output.contents.fp32_contents.extend(doubled)
            case "other_type":
                output.datatype = "INT32"
                answer.raw_output_contents.append(doubled.tobytes())
            case "too_few":
                answer.raw_output_contents.append(b"\0\0\0\0")
            case "hang":
                self.released.wait()
            case code:
                context.abort(grpc.StatusCode[code], LONG_REASON)
        return answer
