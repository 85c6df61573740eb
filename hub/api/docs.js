// Starts Swagger UI on /api/docs. A file of its own, as our pages allow no inline scripts.
"use strict";

const place = document.getElementById("swagger-ui");

SwaggerUIBundle({
  domNode: place,
  url: place.dataset.description,
  deepLinking: true,
  displayRequestDuration: true,
  docExpansion: "list",
  filter: true,
  persistAuthorization: false,
  validatorUrl: null, // the default would send our description to a host of theirs
});
