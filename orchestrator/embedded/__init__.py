"""A real Kafka and a real PostgreSQL as child processes under a data folder, for the default run and the tests.

    with embedded.start(Path(".data"), progress=print) as servers:
        servers.bootstrap   # "127.0.0.1:17942"
        servers.dsn         # "postgresql://orchestrator:…@127.0.0.1:21877/orchestrator"

`start` has the folder to itself; `shared` joins whoever runs it already, and the last one out stops the servers. Both
are durable over restarts: PostgreSQL against power loss too, Kafka against the death of processes only.
"""

from orchestrator.embedded.errors import EmbeddedError
from orchestrator.embedded.kafka_security import KafkaSecurity, SecureListeners
from orchestrator.embedded.servers import ServerControl, Servers, shared, start

__all__ = ("EmbeddedError", "KafkaSecurity", "SecureListeners", "ServerControl", "Servers", "shared", "start")
