"""Who is told of changes of state: webhooks over HTTP, callbacks as scripts on the worker's machine."""
