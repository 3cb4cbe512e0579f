#!/bin/sh
# A launch from Temporal's own command line, without any skyflow on this side.
#
#   sh examples/09-other-clients/temporal-cli.sh ADDRESS       (skyflow server status prints it)
set -eu
address=${1:-127.0.0.1:7233}

temporal workflow start --address "$address" --type LaunchWorkflow --task-queue skyflow \
  --workflow-id launch/from-cli/1 \
  --input '{"cluster": "from-cli", "down": true, "task": {"name": "hello", "run": "echo hello from the CLI"}}'

temporal workflow result --address "$address" --workflow-id launch/from-cli/1
