"""Two ICE agents that may only use a relay exchange messages over it.

Environment: TURN_PORT, TURN_TRANSPORT (udp or tcp), TURN_TLS (0 or 1), TURN_USERNAME,
TURN_PASSWORD; SSL_CERT_FILE names the certificate to trust.
"""

import asyncio
import os

import aioice
from aioice.ice import TransportPolicy

MESSAGES = 100
PATIENCE_S = 60


def agent(controlling):
    return aioice.Connection(
        ice_controlling=controlling,
        turn_server=("127.0.0.1", int(os.environ["TURN_PORT"])),
        turn_username=os.environ["TURN_USERNAME"],
        turn_password=os.environ["TURN_PASSWORD"],
        turn_ssl=os.environ["TURN_TLS"] == "1",
        turn_transport=os.environ["TURN_TRANSPORT"],
        transport_policy=TransportPolicy.RELAY,
        use_ipv6=False,
    )


async def main():
    one, two = agent(True), agent(False)
    await asyncio.gather(one.gather_candidates(), two.gather_candidates())
    for connection in (one, two):
        kinds = [candidate.type for candidate in connection.local_candidates]
        assert kinds and set(kinds) == {"relay"}, kinds
    for here, there in ((one, two), (two, one)):
        for candidate in there.local_candidates:
            await here.add_remote_candidate(candidate)
        await here.add_remote_candidate(None)
        here.remote_username = there.local_username
        here.remote_password = there.local_password
    await asyncio.gather(one.connect(), two.connect())
    for number in range(MESSAGES):
        message = bytes([number]) * (1 + number * 10)
        await one.send(message)
        assert await two.recv() == message
        await two.send(message)
        assert await one.recv() == message
    await asyncio.gather(one.close(), two.close())
    print("exchanged", MESSAGES)


asyncio.run(asyncio.wait_for(main(), PATIENCE_S))
