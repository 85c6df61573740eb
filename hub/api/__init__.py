"""The REST API: resources, OpenAPI, problem+json."""
