"""The local Gemini as a process of the backend's own: started on a free port, ended with it."""

import asyncio
import sys
from contextlib import suppress
from typing import Self

START_SECONDS = 30.0
"""How long the process may take to announce its address."""

STOP_SECONDS = 5.0
"""How long it may take to end before it is killed."""


class LocalGemini:
    """A running local Gemini; it also ends by itself when the process that started it is gone."""

    def __init__(self, process: asyncio.subprocess.Process, base_url: str) -> None:
        self._process = process
        self.base_url = base_url
        """What a client is given as `base_url`."""

    @classmethod
    async def start(cls, *, chunk_seconds: float) -> Self:
        """Start the process and wait until it listens.

        Raises:
            RuntimeError: it ended, or said nothing for `START_SECONDS`.
        """
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "renovation.gemini_local",
            "--chunk-seconds",
            str(chunk_seconds),
            "--until-stdin-closes",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            # A terminal's Ctrl-C is not for it: the turns that are finishing need it.
            start_new_session=True,
        )
        local = cls(process, "")
        try:
            local.base_url = await local._read_address()
        except BaseException:
            await local.stop()
            raise
        return local

    async def stop(self) -> None:
        """End the process; safe to call more than once."""
        with suppress(ProcessLookupError):
            self._process.terminate()
        try:
            # communicate() also closes the pipes, which wait() leaves open.
            await asyncio.wait_for(self._process.communicate(), STOP_SECONDS)
        except TimeoutError:
            self._process.kill()
            await self._process.communicate()

    async def _read_address(self) -> str:
        output = self._process.stdout
        assert output is not None  # noqa: S101 - it is a pipe, see start()
        try:
            line = await asyncio.wait_for(output.readline(), START_SECONDS)
        except TimeoutError:
            raise RuntimeError(f"The local Gemini said nothing for {START_SECONDS:.0f} s") from None
        if not line:
            raise RuntimeError("The local Gemini ended at once; its standard error says why")
        return line.decode().strip()
