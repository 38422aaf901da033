"""The chat's own server: it serves the page, and gives whoever says a name a token for the rooms.

A real one asks who its visitor is before it makes a token. It alone has the key; run it with
TOKENMQ_KEY, and see README.md for the rest.
"""

import os
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse
from starlette.routing import Route

from tokenmq.errors import ServiceError, Unreachable
from tokenmq.server_api import AsyncServerApi

HERE = Path(__file__).parent
FILES = {
    "/": HERE / "chat.html",
    "/token-source.mjs": HERE.parents[1] / "clients" / "js" / "token-source.mjs",
    "/mqtt.js": Path(os.environ.get("MQTTJS", HERE / "node_modules" / "mqtt" / "dist" / "mqtt.min.js")),
}
BROKER = os.environ.get("CHAT_BROKER", "ws://127.0.0.1:8083/mqtt")
RIGHTS = ["publish", "subscribe", "presence", "history"]
api = AsyncServerApi(os.environ.get("TOKENMQ_URL", "http://127.0.0.1:8080"), os.environ["TOKENMQ_KEY"])


async def token(request: Request) -> JSONResponse:
    """Make a token that may do everything in the rooms, and nothing anywhere else."""
    name, ttl = request.query_params.get("name", ""), int(os.environ.get("CHAT_TTL", "3600"))
    try:
        made = await api.tokens.create(user_id=name, permissions=RIGHTS, topics=["chat/#"], ttl=ttl)
    except (ServiceError, Unreachable) as error:
        return JSONResponse({"detail": str(error)}, getattr(error, "status", 503))
    return JSONResponse({**made, "broker": BROKER}, headers={"Cache-Control": "no-store"})


async def file(request: Request) -> FileResponse:
    """Serve the page, or one of the two scripts that it needs."""
    return FileResponse(FILES[request.url.path])


app = Starlette(routes=[Route("/token", token, methods=["POST"]), *(Route(path, file) for path in FILES)])
if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(os.environ.get("CHAT_PORT", "8000")))
