"""A chat backend with every layer and without a line of turntrace: HTTP, Socket.IO, AI, SQL."""

from typing import Any

import socketio
from fastapi import FastAPI
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from langgraph.graph import END, START, MessagesState, StateGraph
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

engine = create_async_engine("sqlite+aiosqlite://")
api = FastAPI()
server = socketio.AsyncServer(async_mode="asgi")


async def answer(state: MessagesState) -> dict[str, Any]:
    model = GenericFakeChatModel(messages=iter([AIMessage(content="two walls")]))
    return {"messages": [await model.ainvoke(state["messages"])]}


nodes = StateGraph(MessagesState).add_node("answer", answer)
graph = nodes.add_edge(START, "answer").add_edge("answer", END).compile()


@api.get("/ask")
async def ask() -> str:
    async with engine.connect() as connection:
        await connection.execute(text("SELECT 1 AS one"))
    await graph.ainvoke({"messages": [("user", "how many walls?")]})
    return "asked"


@server.event
async def say(_sid: str, _said: str) -> str:
    return await ask()


app = socketio.ASGIApp(server, api)
