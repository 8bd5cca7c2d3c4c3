// Shows what comes into the rooms as it comes.
"use strict";
const rooms = document.getElementById("rooms");
const changes = new EventSource("/rooms/changes");
changes.onmessage = async () => {
  const answer = await fetch("/rooms?part", { cache: "no-store" });
  if (answer.ok) rooms.innerHTML = await answer.text();
};
