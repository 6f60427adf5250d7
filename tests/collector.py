"""A collector of traces that tests start: it speaks OTLP over gRPC and HTTP."""

import gzip
import threading
from concurrent import futures
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import grpc
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest, ExportTraceServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import (
    TraceServiceServicer,
    add_TraceServiceServicer_to_server,
)


class Collector(TraceServiceServicer):
    """Takes traces over gRPC and HTTP; keeps the spans, the resources and the headers that came with them."""

    def __init__(self):
        self.lock = threading.Lock()
        self.kept, self.resources, self.headers = [], [], []
        self.refuses = False
        self.server = grpc.server(futures.ThreadPoolExecutor(2))
        add_TraceServiceServicer_to_server(self, self.server)
        self.grpc = f"http://127.0.0.1:{self.server.add_insecure_port('127.0.0.1:0')}"
        self.server.start()
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                if self.headers.get("content-encoding") == "gzip":
                    body = gzip.decompress(body)
                collector.take(ExportTraceServiceRequest.FromString(body), [("path", self.path), *self.headers.items()])
                answer = ExportTraceServiceResponse().SerializeToString()
                self.send_response(200)
                self.send_header("content-type", "application/x-protobuf")
                self.send_header("content-length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_):
                pass

        self.web = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http = f"http://127.0.0.1:{self.web.server_port}"
        threading.Thread(target=self.web.serve_forever, daemon=True).start()

    def Export(self, request, context):
        if self.refuses:
            context.abort(grpc.StatusCode.PERMISSION_DENIED, "not today")
        self.take(request, context.invocation_metadata())
        return ExportTraceServiceResponse()

    def take(self, request, headers):
        with self.lock:
            self.headers.append({name.lower(): value for name, value in headers})
            for group in request.resource_spans:
                self.resources.append(attributes(group.resource))
                for scope in group.scope_spans:
                    self.kept.extend(scope.spans)

    def spans(self, **wanted):
        """The spans so far with these names and attributes."""
        with self.lock:
            kept = list(self.kept)
        return [span for span in kept if all(matches(span, name, value) for name, value in wanted.items())]

    def stop(self):
        self.server.stop(0)
        self.web.shutdown()
        self.web.server_close()


def matches(span, name, value):
    own = getattr(span, name) if name in ("name", "kind") else attributes(span).get(name.replace("__", "."))
    return own == value


def attributes(of):
    value = lambda any_value: getattr(any_value, any_value.WhichOneof("value"))  # noqa: E731
    return {pair.key: value(pair.value) for pair in of.attributes}
