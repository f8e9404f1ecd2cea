"""The client for asyncio, and a pool of them for the tasks of one loop."""
