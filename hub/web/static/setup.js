// The set-up: the browser's clock tells the time zone, the zone the country, the country the currency.
"use strict";

(() => {
  const data = document.getElementById("proposals");
  const form = data?.closest("form");
  if (!form) return;
  const { countries, zones } = JSON.parse(data.textContent);
  const field = (name) => form.elements.namedItem(name);
  const chosen = new Set(); // what the person chose is never changed for them
  const propose = (name, value) => {
    if (!chosen.has(name) && [...field(name).options].some((option) => option.value === value)) field(name).value = value;
  };
  const follow = () => {
    const [zone, currency] = countries[field("country").value] || [];
    propose("time_zone", zone);
    propose("currency", currency);
  };
  for (const name of ["country", "time_zone", "currency"]) {
    field(name).addEventListener("change", () => {
      chosen.add(name);
      if (name === "country") follow();
    });
  }
  if (form.dataset.fresh === undefined) return;
  const here = Intl.DateTimeFormat().resolvedOptions().timeZone;
  if (zones[here]) {
    propose("country", zones[here]);
    follow();
    propose("time_zone", here);
  }
})();
