// Keeps an open page up to date, copies texts, and ticks boxes. Pages work without it, but do
// not change by themselves then.
"use strict";
(() => {
  document.documentElement.classList.add("scripted");
  const main = document.getElementById("main");
  const contact = document.getElementById("contact");

  // A notice is shown once: an address that is loaded again or kept must not ask for it.
  const here = new URL(location.href);
  if (here.searchParams.has("notice")) {
    here.searchParams.delete("notice");
    history.replaceState(history.state, "", here);
  }

  // update makes an element say what another one says, and changes no more than that: focus,
  // ticked boxes, text that is being selected and how far something is scrolled stay. With
  // hold, lists neither gain rows nor lose any; it returns how many are held back.
  function update(element, wanted, hold) {
    for (const { name } of [...element.attributes]) {
      if (!wanted.hasAttribute(name) && !own(element, name)) element.removeAttribute(name);
    }
    for (const { name, value } of wanted.attributes) {
      if (element.getAttribute(name) !== value && !own(element, name)) element.setAttribute(name, value);
    }
    if (element.hasAttribute("data-fresh")) return 0;
    const list = element.matches("tbody[data-calm]");
    const keyed = new Map();
    for (const child of element.children) if (child.dataset.key) keyed.set(child.dataset.key, child);
    let held = 0;
    if (list && hold) {
      for (const child of wanted.children) {
        const known = keyed.get(child.dataset.key);
        if (known) update(known, child, hold);
        else held++;
      }
      return held;
    }
    let place = element.firstChild;
    for (const child of [...wanted.childNodes]) {
      const key = child.dataset?.key;
      const known = key ? keyed.get(key) : place && alike(place, child) ? place : undefined;
      if (known) {
        keyed.delete(key);
        if (known === place) place = place.nextSibling;
        else element.insertBefore(known, place);
        if (known.nodeType === Node.ELEMENT_NODE) held += update(known, child, hold);
        else if (known.data !== child.data) known.data = child.data;
      } else {
        const fresh = document.importNode(child, true);
        if (list && key) fresh.classList.add("new");
        element.insertBefore(fresh, place);
      }
    }
    while (place) {
      const next = place.nextSibling;
      place.remove();
      place = next;
    }
    return held;
  }

  // own tells whether an attribute is the person's: a menu that was opened stays so.
  function own(element, name) {
    return (name === "open" && element.tagName === "DETAILS") || (name === "class" && element.matches("tr.new")) ||
      (name === "disabled" && element.hasAttribute("data-ticked"));
  }

  function alike(a, b) {
    return a.nodeType === b.nodeType && a.nodeName === b.nodeName && a.id === b.id && !a.dataset?.key;
  }

  // Rows do not move under somebody's pointer, focus or ticks.
  let latest = null;
  function busy() {
    const list = main.querySelector("tbody[data-calm]");
    if (!list) return false;
    return list.matches(":hover") || list.contains(document.activeElement) || list.querySelector(":checked") !== null ||
      list.getBoundingClientRect().top < 0;
  }
  function show(html, hold) {
    latest = html;
    const wanted = document.createElement("main");
    wanted.innerHTML = html;
    for (const { name, value } of main.attributes) wanted.setAttribute(name, value);
    const held = update(main, wanted, hold);
    const button = main.querySelector("[data-fresh]");
    if (button) {
      const [one, many] = (main.querySelector("tbody[data-calm]")?.dataset.calm ?? "").split("|");
      button.hidden = held === 0;
      button.textContent = held === 0 ? "" : `Show ${held} new ${held === 1 ? one : many}`;
    }
    tick();
  }
  main.addEventListener("click", (event) => {
    if (event.target.closest("[data-fresh]")) show(latest, false);
  });
  main.addEventListener("pointerout", (event) => {
    const list = event.target.closest("tbody[data-calm]");
    if (list && latest && !list.contains(event.relatedTarget) && !busy()) show(latest, false);
  });

  // Only pages that are seen are kept up to date: a browser opens six connections at most.
  let source = null;
  let again = 0;
  function follow() {
    if (!main.hasAttribute("data-live") || document.visibilityState !== "visible" || source) return;
    source = new EventSource("/live?page=" + encodeURIComponent(location.pathname + location.search));
    source.addEventListener("main", (event) => show(event.data, busy()));
    source.addEventListener("contact", (event) => tell(event.data));
    source.addEventListener("error", () => {
      tell("ended");
      if (source?.readyState !== EventSource.CLOSED) return; // it connects again by itself
      leave();
      clearTimeout(again);
      again = setTimeout(follow, 3000);
    });
  }
  function leave() {
    source?.close();
    source = null;
  }
  const words = { live: "live", lost: "no contact with the cluster", ended: "the dashboard does not answer" };
  function tell(state) {
    if (contact.textContent === words[state]) return;
    contact.dataset.state = state === "live" ? "live" : "lost";
    contact.textContent = words[state];
  }
  document.addEventListener("visibilitychange", () => (document.visibilityState === "visible" ? follow() : leave()));
  addEventListener("pagehide", leave);
  addEventListener("pageshow", follow);

  // Copy buttons say that they have.
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy]");
    if (!button) return;
    const said = button.textContent;
    try {
      await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent);
      button.textContent = "Copied";
    } catch {
      button.textContent = "Not copied";
    }
    setTimeout(() => (button.textContent = said), 1500);
  });

  // What was sent is not sent twice.
  document.addEventListener("submit", (event) => {
    if (event.defaultPrevented || event.target.method !== "post") return;
    const buttons = document.querySelectorAll("form[method=post] button:not(:disabled), button[form]:not(:disabled)");
    setTimeout(() => buttons.forEach((button) => (button.disabled = true)), 0); // the one that was pressed is sent along
    addEventListener("pageshow", () => buttons.forEach((button) => (button.disabled = false)), { once: true });
  });

  // Ticks.
  function tick() {
    const boxes = [...main.querySelectorAll('input[name="delivery"]')];
    const ticked = boxes.filter((box) => box.checked).length;
    for (const button of main.querySelectorAll("[data-ticked]")) {
      button.disabled = ticked === 0;
      button.textContent = ticked === 0 ? "Resend selected" : `Resend ${ticked} selected`;
    }
    const all = main.querySelector("[data-tick-all]");
    if (all) {
      all.checked = ticked > 0 && ticked === boxes.length;
      all.indeterminate = ticked > 0 && ticked < boxes.length;
    }
  }
  main.addEventListener("change", (event) => {
    if (event.target.matches("[data-tick-all]")) {
      for (const box of main.querySelectorAll('input[name="delivery"]')) box.checked = event.target.checked;
    }
    tick();
  });
  tick();
})();
