"""The chat of examples/chat in a terminal: `chat_terminal.py NAME [http://127.0.0.1:8000]`.

It gets its tokens from the same backend, shows the last 50 messages, who comes and goes, and
sends the lines that it reads. Nothing here waits for a token or a connection: the client does.
"""

import asyncio
import sys
from collections.abc import AsyncIterator
from typing import Any

import httpx2

from tokenmq.client import Client, Message, PresenceJoin, PresenceLeave, PresenceSnapshot
from tokenmq.errors import TokenmqError

ROOM = "chat/room1"


async def ask_backend(url: str, name: str) -> Any:
    """Return the token that the chat's own server makes for a name."""
    async with httpx2.AsyncClient() as http:
        answer = await http.post(f"{url}/token", params={"name": name})
        return answer.raise_for_status().json()


def say(text: str) -> None:
    """Print a line; what others wrote may hold anything, and a terminal obeys control characters."""
    print("".join(letter if letter.isprintable() else "�" for letter in text), flush=True)


def show(message: Message) -> None:
    """Print a message, with what the broker says of who wrote it and when."""
    if message.history_gap:
        say("* some messages are not there any more")
    when = message.published_at.astimezone().strftime("%H:%M") if message.published_at else "--:--"
    say(f"{when} {message.published_by}: {message.text}")


async def watch(client: Client) -> None:
    """Print who is there, who comes and who goes."""
    async for event in client.presence_events(ROOM):
        match event:
            case PresenceSnapshot():
                say(f"* here now: {', '.join(event.user_ids)}")
            case PresenceJoin():
                say(f"* {event.member.user_id} has come")
            case PresenceLeave():
                say(f"* {event.member.user_id} has gone ({event.reason})")


async def lines() -> AsyncIterator[str]:
    """Yield the lines of the input, without standing in anybody's way."""
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    async for line in reader:
        yield line.decode(errors="replace").strip()


async def main(name: str, backend: str = "http://127.0.0.1:8000") -> None:
    """Chat until the input ends."""
    broker = (await ask_backend(backend, name))["broker"]
    async with Client() as client, asyncio.TaskGroup() as tasks:
        await client.connect_with_token(broker, get_token=lambda: ask_backend(backend, name))
        await client.subscribe(ROOM, history=50, callback=show)
        watching = tasks.create_task(watch(client))
        async for line in lines():
            if line:
                await client.publish(ROOM, line)
        watching.cancel()


def run() -> int:
    """Chat, and return the exit code: 1 if something was refused."""
    refused = 0
    try:
        asyncio.run(main(*sys.argv[1:]))
    except* (TokenmqError, httpx2.HTTPError) as errors:
        error = errors.exceptions[0]
        said = error.response.text if isinstance(error, httpx2.HTTPStatusError) else error
        say(f"* refused: {said}")
        refused = 1
    return refused


if __name__ == "__main__":
    sys.exit(run())
