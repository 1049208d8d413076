// Makes the flame graph of its SVG interactive. All nodes are in the file, also those too narrow to draw, so that
// zooming shows them and a search counts them. Nothing is loaded from anywhere.
(() => {
  "use strict";
  const svg = document.currentScript.closest("svg");
  const data = JSON.parse(svg.querySelector("script[type='application/json']").textContent);
  const SVG = "http://www.w3.org/2000/svg";
  const { row_height: ROW, top: WIDE_TOP, margin: MARGIN, character: CHARACTER } = data.layout;
  const NARROWEST = 0.4; // pixels: below this a frame is left to zooming
  const { parent, frame, own, total } = data;
  const count = parent.length;
  const depth = new Uint32Array(count);
  const start = new Float64Array(count);
  const next = new Float64Array(count);
  const children = new Map();
  for (let row = 1; row < count; row += 1) {
    const caller = parent[row];
    depth[row] = depth[caller] + 1;
    start[row] = next[row] = next[caller];
    next[caller] += total[row];
    if (!children.has(caller)) children.set(caller, []);
    children.get(caller).push(row);
  }

  const frames = svg.querySelector(".frames");
  const status = svg.querySelector(".status");
  const found = svg.querySelector(".found");
  const reset = svg.querySelector(".reset");
  let view = 0;
  let cursor = -1;
  let term = "";
  let matches = null; // per frame, null without a search
  let width = 1200;
  let top = WIDE_TOP; // a narrow page has a line more above the frames
  const drawn = new Map();

  const percent = (value) => `${((100 * value) / (total[0] || 1)).toFixed(2)} %`;

  function amount(value) {
    const whole = value * data.factor;
    if (data.unit !== "nanoseconds") return `${whole.toLocaleString("en")} ${data.unit}`;
    return whole >= 1e9 ? `${(whole / 1e9).toFixed(2)} s` : `${(whole / 1e6).toFixed(1)} ms`;
  }

  function describe(row) {
    if (row === 0) return `all · ${amount(total[0])}`;
    const [name, mapping, kind] = data.frames[frame[row]];
    const where = [mapping, kind].filter(Boolean).join(", ");
    return `${name} (${where}) · ${percent(total[row])}, ${amount(total[row])} · self ${percent(own[row])}`;
  }

  function isUnder(row, ancestor) {
    while (depth[row] > depth[ancestor]) row = parent[row];
    return row === ancestor;
  }

  function element(name, attributes, text) {
    const made = document.createElementNS(SVG, name);
    for (const key of Object.keys(attributes)) made.setAttribute(key, attributes[key]);
    if (text !== undefined) made.textContent = text;
    return made;
  }

  function shortened(text, room) {
    const most = Math.floor((room - 6) / CHARACTER);
    if (most < 3) return "";
    return text.length <= most ? text : `${text.slice(0, most - 1)}…`;
  }

  function box(row, x, wide, isAbove) {
    const name = row === 0 ? "all" : data.frames[frame[row]][0];
    const isHit = matches !== null && row !== 0 && matches[frame[row]];
    const classes = ["frame"];
    if (isAbove) classes.push("above");
    if (matches !== null) classes.push(isHit ? "hit" : "miss");
    if (row === cursor) classes.push("cursor");
    const group = element("g", { class: classes.join(" "), "data-row": row });
    const fill = row === 0 ? "#c9c7c0" : data.colors[frame[row]];
    const y = top + depth[row] * ROW;
    group.append(element("rect", { x: x.toFixed(2), y, width: Math.max(wide, 0.2).toFixed(2), height: ROW - 1, fill }));
    const text = shortened(name, wide);
    if (text) group.append(element("text", { x: (x + 3).toFixed(2), y: y + ROW - 5 }, text));
    group.append(element("title", {}, describe(row)));
    return group;
  }

  function draw() {
    width = Math.max(svg.parentElement ? svg.parentElement.clientWidth : window.innerWidth, 320);
    top = WIDE_TOP + (width < 620 ? 36 : 0);
    const inner = width - 2 * MARGIN;
    const scale = inner / (total[view] || 1);
    const isVisible = new Uint8Array(count);
    const boxes = [];
    let deepest = 0;
    drawn.clear();
    for (let row = 0; row < count; row += 1) {
      const isAbove = depth[row] < depth[view];
      if (row !== 0 && !isVisible[parent[row]]) continue;
      if (isAbove ? !isUnder(view, row) : !isUnder(row, view)) continue;
      const isHit = matches !== null && row !== 0 && matches[frame[row]];
      let wide = isAbove ? inner : total[row] * scale;
      isVisible[row] = wide >= NARROWEST || matches !== null ? 1 : 0;
      if (wide < NARROWEST && !isHit) continue;
      if (isHit) wide = Math.max(wide, 1.5); // a match can be seen, however small it is
      const x = isAbove ? MARGIN : MARGIN + (start[row] - start[view]) * scale;
      const made = box(row, x, wide - (wide > 2 ? 0.5 : 0), isAbove);
      drawn.set(row, made);
      boxes.push(made);
      deepest = Math.max(deepest, depth[row]);
    }
    frames.replaceChildren(...boxes);
    const height = top + (deepest + 1) * ROW + MARGIN;
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    svg.setAttribute("width", width);
    svg.setAttribute("height", height);
    svg.querySelector(".page").setAttribute("height", height);
    svg.querySelector(".page").setAttribute("width", width);
    reset.classList.toggle("off", view === 0);
    place();
  }

  function zoom(row) {
    view = row;
    cursor = row;
    draw();
    say(row);
  }

  function say(row) {
    status.textContent = shortened(describe(row), width - 2 * MARGIN);
  }

  function search(text) {
    term = text.trim().toLowerCase();
    matches = term ? data.frames.map(([name]) => name.toLowerCase().includes(term)) : null;
    if (matches === null) {
      found.textContent = "";
    } else {
      const isCovered = new Uint8Array(count);
      let value = 0;
      for (let row = 1; row < count; row += 1) {
        isCovered[row] = isCovered[parent[row]];
        if (!isCovered[row] && matches[frame[row]]) {
          isCovered[row] = 1;
          value += total[row];
        }
      }
      const functions = matches.filter(Boolean).length;
      found.textContent = `matched ${percent(value)} · ${functions} function${functions === 1 ? "" : "s"}`;
    }
    draw();
  }

  // The field is HTML inside the SVG: it needs a script anyway, and brings selection, clipboard and input methods.
  const holder = element("foreignObject", { y: 8, width: 200, height: 28 });
  const field = document.createElementNS("http://www.w3.org/1999/xhtml", "input");
  field.setAttribute("type", "search");
  field.setAttribute("placeholder", "Search  /");
  field.setAttribute("aria-label", "Search functions");
  holder.append(field);
  svg.append(holder);
  field.addEventListener("input", () => search(field.value));

  function place() {
    const isNarrow = top > WIDE_TOP;
    const room = isNarrow ? 150 : 200;
    field.style.width = `${room}px`;
    holder.setAttribute("width", room);
    holder.setAttribute("x", isNarrow ? MARGIN : width - room - MARGIN);
    holder.setAttribute("y", isNarrow ? 56 : 8);
    found.setAttribute("x", isNarrow ? width - MARGIN : width - room - 12 - MARGIN);
    found.setAttribute("y", isNarrow ? 75 : 27);
    reset.setAttribute("x", width - MARGIN);
    reset.setAttribute("y", isNarrow ? 24 : 50);
    status.setAttribute("y", top - 16);
  }

  function rowOf(event) {
    const group = event.target.closest(".frame");
    return group ? Number(group.dataset.row) : -1;
  }

  function point(row) {
    if (drawn.has(cursor)) drawn.get(cursor).classList.remove("cursor");
    cursor = row;
    if (drawn.has(row)) {
      drawn.get(row).classList.add("cursor");
      drawn.get(row).scrollIntoView({ block: "nearest" });
    }
    say(row);
  }

  function beside(row, step) {
    if (row === 0) return row;
    const siblings = children.get(parent[row]);
    return siblings[siblings.indexOf(row) + step] ?? row;
  }

  const MOVES = {
    ArrowDown: (row) => (children.get(row) ?? [row])[0],
    ArrowUp: (row) => parent[row],
    ArrowLeft: (row) => beside(row, -1),
    ArrowRight: (row) => beside(row, 1),
  };

  frames.addEventListener("click", (event) => rowOf(event) >= 0 && zoom(rowOf(event)));
  frames.addEventListener("mouseover", (event) => rowOf(event) >= 0 && say(rowOf(event)));
  reset.addEventListener("click", () => zoom(0));
  window.addEventListener("resize", draw);
  window.addEventListener("keydown", (event) => {
    if (event.key === "Escape") {
      if (term) {
        field.value = "";
        search("");
      } else {
        zoom(0);
      }
      field.blur();
    } else if (event.target === field) {
      return;
    } else if (event.key === "/" || (event.key === "f" && (event.ctrlKey || event.metaKey))) {
      field.focus();
    } else if (event.key in MOVES) {
      point(cursor < 0 ? view : MOVES[event.key](cursor));
    } else if (event.key === "Enter" && cursor >= 0) {
      zoom(cursor);
    } else if (event.key === "0" || event.key === "Home") {
      zoom(0);
    } else {
      return;
    }
    event.preventDefault();
  });
  svg.classList.add("live");
  draw();
})();
