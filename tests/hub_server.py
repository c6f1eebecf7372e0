"""A server on this machine that answers as far as weights need it as the Hugging Face hub does."""

import base64
import hashlib
import json
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread


class Hub:
    """Repositories in memory: name -> file name -> bytes."""

    def __init__(self):
        self.repositories, self.requests, self.url = {}, [], None

    def commit(self, name):
        """Hash of the contents of a repository."""
        files = sorted(self.repositories[name].items())
        return hashlib.sha1(repr(files).encode(), usedforsecurity=False).hexdigest()


def etag(name, data):
    """Git's hash; of weights SHA-256."""
    if name.endswith(".safetensors"):
        return hashlib.sha256(data).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    @property
    def hub(self):
        return self.server.hub

    def log_message(self, *_):
        pass

    def send(self, data, status=200, kind="application/json", **headers):
        data = data if isinstance(data, bytes) else json.dumps(data).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        for key, value in headers.items():
            self.send_header(key.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def body(self):
        if self.headers.get("Transfer-Encoding") == "chunked":
            data = b""
            while size := int(self.rfile.readline(), 16):
                data += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return data
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def missing(self):
        self.send({"error": "Repository not found"}, 404, X_Error_Code="RepoNotFound")

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        path = self.path.partition("?")[0]
        self.hub.requests.append((self.command, path))
        parts = path.strip("/").split("/")
        if parts[:2] == ["api", "models"]:
            name = "/".join(parts[2:4])
            if name not in self.hub.repositories:
                return self.missing()
            commit = self.hub.commit(name)
            files = self.hub.repositories[name]
            if "tree" in parts:
                return self.send(
                    [
                        {"type": "file", "path": p, "size": len(d), "oid": etag(p, d)}
                        for p, d in files.items()
                    ]
                )
            siblings = [{"rfilename": p} for p in files]
            return self.send(
                {"id": name, "modelId": name, "sha": commit, "siblings": siblings, "private": True}
            )
        if len(parts) >= 5 and parts[2] == "resolve":
            name, file = "/".join(parts[:2]), "/".join(parts[4:])
            data = self.hub.repositories.get(name, {}).get(file)
            if data is None:
                return self.missing()
            return self.send(
                data,
                kind="application/octet-stream",
                ETag=f'"{etag(file, data)}"',
                X_Repo_Commit=self.hub.commit(name),
                Accept_Ranges="bytes",
            )
        return self.missing()

    def do_POST(self):
        path, body = self.path.partition("?")[0], self.body()
        self.hub.requests.append((self.command, path))
        parts = path.strip("/").split("/")
        if path == "/api/repos/create":
            told = json.loads(body)
            name = f"{told.get('organization') or 'owner'}/{told['name']}"
            if name in self.hub.repositories:
                return self.send({"error": "exists", "url": f"{self.hub.url}/{name}"}, 409)
            self.hub.repositories[name] = {}
            return self.send({"url": f"{self.hub.url}/{name}", "id": name})
        name = "/".join(parts[2:4])
        if name not in self.hub.repositories:
            return self.missing()
        if "preupload" in parts:
            files = [
                {"path": f["path"], "uploadMode": "regular", "shouldIgnore": False}
                for f in json.loads(body)["files"]
            ]
            return self.send({"files": files})
        if "commit" in parts:
            for line in body.decode().splitlines():
                told = json.loads(line)
                if told["key"] == "file":
                    data = base64.b64decode(told["value"]["content"])
                    self.hub.repositories[name][told["value"]["path"]] = data
            commit = self.hub.commit(name)
            return self.send(
                {"commitOid": commit, "commitUrl": f"{self.hub.url}/{name}/commit/{commit}"}
            )
        return self.missing()


@contextmanager
def serve():
    """The hub, on a port of the loopback interface."""
    hub, server = Hub(), ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.hub = hub
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join(timeout=10)
