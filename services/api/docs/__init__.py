"""The reference page: made from the OpenAPI document, without anything from elsewhere."""
