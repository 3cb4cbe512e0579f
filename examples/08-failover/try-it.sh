#!/bin/sh
# Failover without an account: a laboratory of two regions in which the cheapest zone has nothing left.
#
#   sh examples/08-failover/try-it.sh
set -eu

skyflow local zones east east-a east-b
skyflow local zones west west-a
skyflow local type gpu-box --cpus 16 --memory 64 --price 2.5 --spot-price 0.8
skyflow local stockout --zone east-a # for ever
skyflow local quota west 1           # one node, and no more

# east-a has no capacity, so the nodes come from east-b.
skyflow launch -y -c failover --num-nodes 2 -t gpu-box --infra 'local/east' 'echo "rank $SKYPILOT_NODE_RANK"'
skyflow logs failover --provision

# Two nodes are more than the quota of west: nothing is made, and the message says what was tried.
skyflow launch -y -c nowhere --num-nodes 2 -t gpu-box --infra 'local/west' true || echo "exit code $?"

skyflow down -y failover
skyflow local clear --all
