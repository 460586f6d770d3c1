"use strict";
(() => {
  const get = (id) => document.getElementById(id);
  const form = get("filter");

  // A finding that a link or the address names is opened and shown, even where the filter hides it.
  const reveal = () => {
    const name = decodeURIComponent(location.hash.slice(1));
    const target = name.startsWith("f-") && get(name);
    if (!target) return false;
    const entry = target.closest("details");
    if (entry.hidden || target.hidden) {
      for (const field of fields) field.value = "";
      filter();
    }
    entry.open = true;
    entry.scrollIntoView({ block: "start" });
    entry.querySelector("summary").focus({ preventScroll: true });
    return true;
  };

  // Commands get a button when they come into view.
  const copy = (text, done) => {
    const fallback = () => {
      const area = document.createElement("textarea");
      area.value = text;
      document.body.append(area);
      area.select();
      const copied = document.execCommand("copy");
      area.remove();
      done(copied);
    };
    if (navigator.clipboard && isSecureContext) navigator.clipboard.writeText(text).then(() => done(true), fallback);
    else fallback();
  };
  const buttons = (entry) => {
    for (const command of entry.querySelectorAll("code.cmd")) {
      if (command.nextElementSibling) continue;
      const button = document.createElement("button");
      button.type = "button";
      button.className = "copy";
      button.textContent = "Copy";
      button.setAttribute("aria-label", "Copy the command");
      button.addEventListener("click", () => copy(command.textContent, (copied) => {
        button.focus();
        button.textContent = copied ? "Copied" : "Could not copy";
        button.setAttribute("aria-label", button.textContent);
        setTimeout(() => { button.textContent = "Copy"; button.setAttribute("aria-label", "Copy the command"); }, 2000);
      }));
      command.after(" ", button);
    }
  };
  document.addEventListener("toggle", (event) => {
    if (event.target.open && event.target.matches("details.f")) buttons(event.target);
  }, true);

  // Paper shows every entry that the filter shows; afterwards the page is as it was.
  let opened = [];
  addEventListener("beforeprint", () => {
    opened = [...document.querySelectorAll("details.f:not([open]):not([hidden])")];
    for (const entry of opened) entry.open = true;
  });
  addEventListener("afterprint", () => {
    for (const entry of opened) entry.open = false;
    opened = [];
  });

  const table = document.querySelector("#grid table");
  if (table) {
    const heads = table.tHead.rows[0].cells;
    table.addEventListener("mouseover", (event) => {
      const cell = event.target.closest("tbody td");
      if (!cell || cell.title) return;
      cell.title = `${heads[cell.cellIndex].textContent}: ${cell.textContent}\n${cell.parentNode.cells[0].textContent}`;
    });
  }

  if (!form) return;
  const fields = ["q", "host", "outcome", "standing", "mark"].map(get);
  const lower = (node) => node.textContent.toLowerCase();
  const parts = [...document.querySelectorAll("#findings .part")];
  let entries = null;
  // Read at the first filter, not when the page opens.
  const read = () => [...document.querySelectorAll("details.f")].map((node) => {
    const members = [...node.querySelectorAll(".m")].map((member) => (
      { node: member, text: lower(member), host: member.dataset.h, standing: member.dataset.s, mark: member.dataset.k }
    ));
    const about = [node.querySelector("h4"), node.querySelector(".o"), node.querySelector(".about"), node.querySelector(".place")];
    return { node, members, outcome: node.dataset.o, text: about.map(lower).join("\n") };
  });

  // Which hosts of an entry the filter leaves stands on its first line.
  const some = (entry, any) => {
    const hosts = entry.node.querySelector(".hosts");
    if (any === entry.members.length) return delete hosts.dataset.shown;
    const first = entry.members.find((member) => !member.node.hidden);
    hosts.dataset.shown = any === 1 ? `${first.host} shown` : `${any} of ${entry.members.length} shown`;
  };
  const filter = () => {
    const [q, host, outcome, standing, mark] = fields.map((field) => field.value);
    const words = q.toLowerCase().split(/\s+/).filter(Boolean);
    if (!entries && !words.length && !host && !outcome && !standing && !mark) return said();
    entries ??= read();
    let shown = 0;
    for (const entry of entries) {
      let any = 0;
      const missing = words.filter((word) => !entry.text.includes(word));
      for (const member of entry.members) {
        const show = (!outcome || entry.outcome === outcome) && (!host || member.host === host)
          && (!standing || member.standing === standing) && (!mark || member.mark === mark)
          && missing.every((word) => member.text.includes(word));
        if (member.node.hidden === show) member.node.hidden = !show;
        if (show) any++;
      }
      shown += any;
      if (entry.node.hidden === any > 0) entry.node.hidden = !any;
      if (entry.members.length > 1) some(entry, any);
    }
    for (const part of parts) {
      const left = part.querySelectorAll("details.f:not([hidden]) .m:not([hidden])").length;
      const count = part.querySelector(".n");
      const all = count.dataset.all ??= count.textContent;
      part.hidden = !left;
      count.textContent = left === Number(all) ? all : `${left} of ${all}`;
    }
    get("none").hidden = shown > 0;
    said(shown);
  };
  const total = document.querySelectorAll(".m").length;
  const said = (shown = total) => {
    get("shown").textContent = shown === total ? `All ${total} findings shown` : `${shown} of ${total} findings shown`;
  };

  // The address keeps the filter, so that it can be sent to somebody.
  const save = () => {
    const kept = new URLSearchParams(fields.filter((field) => field.value).map((field) => [field.id, field.value]));
    history.replaceState(null, "", kept.size ? `#${kept}` : location.pathname + location.search);
  };
  const load = () => {
    if (reveal()) return;
    const kept = new URLSearchParams(location.hash.slice(1));
    for (const field of fields) field.value = kept.get(field.id) ?? "";
    for (const field of fields) if (field.selectedIndex === -1) field.selectedIndex = 0;
    filter();
  };
  const changed = () => { filter(); save(); };
  form.addEventListener("input", changed);
  form.addEventListener("change", changed);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(changed));
  get("openall").addEventListener("click", () => {
    for (const entry of document.querySelectorAll("details.f:not([hidden])")) entry.open = true;
  });
  addEventListener("hashchange", load);
  form.hidden = false;
  said();
  load();
})();
