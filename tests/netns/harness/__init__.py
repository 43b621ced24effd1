# SPDX-License-Identifier: BSD-2-Clause
"""What the integration tests are made of.

A test makes its own network namespaces (topology), runs the built broker in
one of them (broker), talks to it as an unprivileged client that shares no
code with libsaferaw (proto), builds and reads packets by itself (packets),
and lets tcpdump on the far side of the wire be the judge (witness). The whole program lives in a cage.
"""

# Seconds to wait for what must happen: more than the busiest machine takes, for only a test that fails waits so long.
PATIENCE = 60.0
