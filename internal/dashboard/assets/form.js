// Checks the form while somebody types, and submits it without losing what was typed: secrets
// are not in the pages that come back. Without it, the buttons Check and Submit do the same.
"use strict";
(() => {
  const main = document.getElementById("main");
  const wait = 500; // ms after the last key
  let timer = 0;
  let asked = null; // the check under way
  let touched = new Set(); // fields that somebody has been in
  let all = false; // after a submit, what is wrong is told of all fields

  const form = () => main.querySelector("[data-form]");
  // What goes to a chat room has a secret address.
  const toRoom = () => form().querySelector("[data-room]:checked") !== null;
  const fieldOf = (element) => element.closest?.("[data-field]")?.dataset.field;

  async function post(action, signal) {
    const body = new URLSearchParams(new FormData(form()));
    body.set("action", action);
    body.set("script", "yes");
    return fetch(form().getAttribute("action"), { method: "POST", body, signal });
  }

  async function page(response) {
    return new DOMParser().parseFromString(await response.text(), "text/html");
  }

  // show takes over what the server says of the form, and leaves alone what was typed. The
  // list of all mistakes is that of the last submit, with those crossed out that are mended:
  // nothing moves under the hands of whoever mends them.
  function show(wanted, submitted) {
    for (const part of form().querySelectorAll("[data-part]")) {
      const fresh = wanted.getElementById(part.id);
      const field = fieldOf(part);
      if (!fresh || (field && !all && !touched.has(field))) continue;
      if (part.id === "summary" && !submitted) continue;
      if (part.innerHTML !== fresh.innerHTML) {
        const chosen = [...part.querySelectorAll("input:checked")].map((radio) => [radio.name, radio.value]);
        const opened = [...part.querySelectorAll("details[open]")].map((details) => details.id);
        part.innerHTML = fresh.innerHTML;
        for (const details of part.querySelectorAll("details[id]")) details.open = opened.includes(details.id);
        for (const [name, value] of chosen) {
          for (const radio of part.querySelectorAll("input")) if (radio.name === name && radio.value === value) radio.checked = true;
        }
      }
      part.className = fresh.className;
      if (part.id === "summary") part.tabIndex = -1;
      if (!field || !part.classList.contains("mistake")) continue;
      const box = part.closest("[data-field]");
      const input = document.getElementById(field);
      if (!input.matches("fieldset") && part.textContent.trim()) input.setAttribute("aria-invalid", "true");
      else input.removeAttribute("aria-invalid");
      if (all && part.textContent.trim()) {
        for (let around = box.closest("details"); around; around = around.parentElement.closest("details")) around.open = true;
      }
    }
  }

  function crossOut() {
    for (const line of document.querySelectorAll("#summary li")) {
      const field = line.querySelector("a")?.hash.slice(1);
      line.classList.toggle("mended", field !== undefined && !document.getElementById(field + "-mistake")?.textContent.trim());
    }
  }

  async function check() {
    clearTimeout(timer);
    asked?.abort();
    const mine = (asked = new AbortController());
    try {
      const response = await post("check", mine.signal);
      const wanted = await page(response);
      if (mine.signal.aborted || !wanted.querySelector("[data-form]")) return;
      show(wanted, false);
      crossOut();
    } catch {
      // Submit tells what is wrong; the next key asks again.
    } finally {
      if (asked === mine) asked = null;
    }
  }

  function soon() {
    clearTimeout(timer);
    timer = setTimeout(check, wait);
  }

  // replace shows another form in place of this one, with the secrets that were typed.
  function replace(wanted) {
    const typed = [...form().querySelectorAll("[data-secret]")]
      .filter((input) => input.value && (!input.dataset.secret || toRoom() || document.getElementById(input.dataset.secret)?.checked))
      .map((input) => [input.id, input.value]);
    form().replaceWith(document.importNode(wanted.querySelector("[data-form]"), true));
    for (const [id, value] of typed) {
      const input = document.getElementById(id);
      if (!input) continue;
      input.value = value;
      main.querySelector(`[data-retype="${id}"]`)?.remove();
    }
    listen();
    all = true;
    document.getElementById("told")?.focus();
    check();
  }

  function trouble(text) {
    const summary = document.getElementById("summary");
    summary.className = "finding bad";
    summary.tabIndex = -1;
    summary.textContent = text;
    summary.focus();
  }

  async function submit(button) {
    clearTimeout(timer);
    asked?.abort();
    button.disabled = true;
    all = true;
    let leaving = false;
    try {
      const response = await post("submit");
      const to = response.headers.get("Location");
      if (response.status === 204 && to) {
        leaving = true;
        location.assign(to);
        return;
      }
      const wanted = await page(response);
      if (!wanted.querySelector("[data-form]")) {
        const said = wanted.querySelector("main")?.textContent ?? "";
        trouble("Nothing was stored: " + said.replace(/\s+/g, " ").trim());
      } else if (wanted.getElementById("told")) {
        replace(wanted);
      } else {
        show(wanted, true);
        document.getElementById("summary").focus();
      }
    } catch {
      trouble("The dashboard does not answer. What you have typed is still here: submit it again once it does.");
    } finally {
      button.disabled = leaving; // it would be stored twice
    }
  }
  addEventListener("pageshow", () => {
    const button = form()?.querySelector('button[value="submit"]');
    if (button) button.disabled = false;
  });

  function listen() {
    const current = form();
    current.addEventListener("input", (event) => {
      // Code is never right before its last character: what is wrong so far helps to write on.
      if (event.target.matches("[data-code]")) touched.add(fieldOf(event.target));
      soon();
    });
    current.addEventListener("change", (event) => {
      if (fieldOf(event.target)) touched.add(fieldOf(event.target));
      if (event.target.id === "event" || event.target.name === "format") check();
      else soon();
    });
    current.addEventListener("focusout", (event) => {
      const field = fieldOf(event.target);
      if (field && event.target.value && !touched.has(field)) {
        touched.add(field);
        soon();
      }
    });
    current.addEventListener("submit", (event) => {
      event.preventDefault();
      const button = event.submitter ?? current.querySelector('button[value="submit"]');
      if (button.value === "check") check();
      else submit(button);
    });
  }
  if (form()) listen();
})();
