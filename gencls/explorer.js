// An explorer: sliders and lists choose a frame; its curves and pictures are drawn here, so that it moves in
// Jupyter and in the built page alike. `model` is anywidget's; book/_static/explorers.js gives one without a kernel.
const SVG = "http://www.w3.org/2000/svg";
const PAD = { left: 62, right: 14, top: 12, bottom: 52 };
const DASHES = ["", "7 3", "2 3", "9 3 2 3"];
let made = 0;

function node(tag, attributes = {}, ...children) {
  const e = ["svg", "g", "path", "line", "circle", "rect", "text", "title"].includes(tag) && attributes.svg !== false
    ? document.createElementNS(SVG, tag) : document.createElement(tag);
  for (const [k, v] of Object.entries(attributes)) if (k !== "svg" && v != null) e.setAttribute(k, v);
  e.append(...children);
  return e;
}

const short = (v) => (v == null ? "–" : typeof v !== "number" || Number.isInteger(v) ? String(v) : String(+v.toPrecision(3)));
// What stands at a place on the x axis: a name, where it has one, else the number.
const placed = (x, v) => x.categories?.[v] ?? x.ticks?.find(([at]) => at === v)?.[1] ?? short(v);

function ticks(low, high, log, whole) {
  if (log) {
    const all = [];
    for (let p = Math.ceil(low); p <= Math.floor(high); p++) all.push(p);
    if (all.length > 1) return all.map((p) => [p, short(10 ** p)]);
  }
  const rough = (high - low) / 5, power = 10 ** Math.floor(Math.log10(rough));
  const step = Math.max(whole ? 1 : 0, power * [1, 2, 5, 10].find((m) => m * power >= rough));
  const all = [];
  for (let v = Math.ceil(low / step - 1e-9) * step; v <= high + step * 1e-9; v += step) all.push(v);
  return all.map((v) => [v, short(log ? 10 ** v : v)]);
}

function range(values, log) {
  let low = Math.min(...values), high = Math.max(...values);
  if (!(high > low)) { low -= 0.5; high += 0.5; }
  const room = (high - low) * 0.04;
  return [low - room, high + room];
}

function marker(shape, x, y, color, r = 5) {
  const d = [
    `M${x - r},${y}a${r},${r} 0 1,0 ${2 * r},0a${r},${r} 0 1,0 ${-2 * r},0`,
    `M${x - r},${y - r}h${2 * r}v${2 * r}h${-2 * r}z`,
    `M${x},${y - r - 1}l${r + 1},${2 * r}h${-2 * r - 2}z`,
    `M${x},${y - r - 2}l${r + 1},${r + 2}l${-r - 1},${r + 2}l${-r - 1},${-r - 2}z`,
    `M${x},${y + r + 1}l${r + 1},${-2 * r}h${-2 * r - 2}z`,
  ][shape % 5];
  return node("path", { d, fill: color });
}

// The plot of one frame, WIDTH pixels wide; `extent` are the y limits.
function plot(spec, marks, extent, label, WIDTH) {
  const { x, y, kind, groups, rules } = spec;
  const across = WIDTH - PAD.left - PAD.right, names = x.categories ?? x.ticks?.map(([, name]) => name) ?? [];
  const slanted = names.join("").length * 7.5 > across;
  const slope = Math.asin(Math.min(1, Math.max(0.4, 15 * names.length / across))); // steeper where names stand closer
  const below = slanted ? Math.max(PAD.bottom, 34 + 7 * Math.sin(slope) * Math.max(...names.map((c) => c.length))) : PAD.bottom; // of the axis
  const HEIGHT = Math.round(Math.max(250, WIDTH * 0.58) + below - PAD.bottom);
  const ly = (v) => (y.log ? Math.log10(v) : v), lx = (v) => (x.log ? Math.log10(v) : v);
  const [y0, y1] = extent, categories = x.categories;
  const [x0, x1] = categories ? [-0.5, categories.length - 0.5]
    : x.ticks ? [x.ticks[0][0] - 0.35, x.ticks.at(-1)[0] + 0.35] : x.extent.map(lx);
  const px = (v) => PAD.left + ((categories ? v : lx(v)) - x0) / (x1 - x0) * (WIDTH - PAD.left - PAD.right);
  const py = (v) => HEIGHT - below - (ly(v) - y0) / (y1 - y0) * (HEIGHT - PAD.top - below);
  const svg = node("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": label, class: "gx-plot" });
  const bottom = HEIGHT - below, right = WIDTH - PAD.right;
  for (const [v, text] of ticks(y0, y1, y.log)) {
    const at = py(y.log ? 10 ** v : v);
    svg.append(node("line", { x1: PAD.left, x2: right, y1: at, y2: at, class: "gx-grid" }),
      node("text", { x: PAD.left - 7, y: at + 4, "text-anchor": "end" }, text));
  }
  const xt = categories?.map((c, i) => [i, c]) ?? x.ticks ?? ticks(x0, x1, x.log, x.whole).map(([v, t]) => [x.log ? 10 ** v : v, t]);
  for (const [v, text] of xt) {
    const at = px(v);
    svg.append(node("text", slanted
      ? { transform: `translate(${at + 4},${bottom + 13}) rotate(${-slope * 180 / Math.PI})`, "text-anchor": "end" }
      : { x: at, y: bottom + 17, "text-anchor": "middle" }, text));
  }
  svg.append(node("line", { x1: PAD.left, x2: right, y1: bottom, y2: bottom, class: "gx-axis" }),
    node("text", { x: (PAD.left + right) / 2, y: HEIGHT - 8, "text-anchor": "middle", class: "gx-label" }, x.label),
    node("text", { transform: `translate(15,${(PAD.top + bottom) / 2}) rotate(-90)`, "text-anchor": "middle", class: "gx-label" }, y.label));
  for (const rule of rules) {
    svg.append(node("line", { x1: PAD.left, x2: right, y1: py(rule.y), y2: py(rule.y), class: "gx-rule" }),
      node("text", { x: right - 2, y: py(rule.y) - 5, "text-anchor": "end" }, rule.label));
  }
  const base = y.log ? bottom : py(Math.max(y0, Math.min(y1, 0))), places = marks.flatMap(([, , xs]) => xs);
  const n = new Set(places).size < places.length ? marks.length : 1; // side by side only where they share a place
  marks.forEach(([series, group, xs, ys, lows, highs], k) => {
    const { color, shape } = groups[group];
    const g = node("g", {}, node("title", {}, `${series}: ` + xs.map((v, i) =>
      `${placed(x, v)} → ${short(ys[i])}`).slice(0, 24).join(", ")));
    const spread = categories && kind !== "line" && n > 1 ? ((k + 0.5) / n - 0.5) * 0.7 : 0;
    const points = xs.map((v, i) => [px(categories ? v + spread : v), ys[i], i]).filter(([, v]) => v != null);
    if (kind === "line") {
      if (lows) {
        const band = points.filter(([, , i]) => lows[i] != null && highs[i] != null);
        g.append(node("path", { fill: color, opacity: 0.8 / (4 + marks.length), stroke: band.length === 1 ? color : "none", "stroke-width": 6, d: band.length ? "M" + [
          ...band.map(([a, , i]) => `${a},${py(highs[i])}`), ...band.reverse().map(([a, , i]) => `${a},${py(lows[i])}`)].join("L") + "Z" : "" }));
      }
      g.append(node("path", { fill: "none", stroke: color, "stroke-width": 2.2, "stroke-dasharray": DASHES[shape % 4],
        d: points.length ? "M" + points.map(([a, v]) => `${a},${py(v)}`).join("L") : "" }));
      if (x.whole) g.append(...points.map(([a, v]) => marker(shape, a, py(v), color, 4))); // places, not a continuum
    } else {
      for (const [a, v, i] of points) {
        if (kind === "bar") {
          const w = Math.max(2, 0.68 / n * (right - PAD.left) / categories.length);
          g.append(node("rect", { x: a - w / 2, width: w, y: Math.min(py(v), base), height: Math.abs(py(v) - base), fill: color }));
        } else g.append(marker(shape, a, py(v), color));
        if (lows && lows[i] != null && highs[i] != null)
          g.append(node("line", { x1: a, x2: a, y1: py(lows[i]), y2: py(highs[i]), stroke: kind === "bar" ? "currentColor" : color, "stroke-width": 2 }));
      }
    }
    svg.append(g);
  });
  return svg;
}

function legend(spec) {
  const box = node("div", { class: "gx-legend" });
  for (const { name, color, shape } of spec.groups.filter((group) => group.name)) {
    const key = node("svg", { viewBox: "0 0 26 14", width: 26, height: 14, "aria-hidden": "true" });
    if (spec.kind === "line") key.append(node("line", { x1: 0, x2: 26, y1: 7, y2: 7, stroke: color, "stroke-width": 2.2, "stroke-dasharray": DASHES[shape % 4] }));
    if (spec.kind === "bar") key.append(node("rect", { x: 6, y: 1, width: 12, height: 12, fill: color }));
    else if (spec.kind === "dot" || spec.x.whole) key.append(marker(shape, 13, 7, color, spec.kind === "dot" ? 5 : 4));
    box.append(node("span", {}, key, " " + name));
  }
  return box;
}

function table(spec, marks) {
  const head = node("tr", {}, ...["", spec.x.label, spec.y.label].map((t) => node("th", { scope: "col" }, t)));
  const body = marks.flatMap(([series, , xs, ys, lows, highs]) => xs.map((v, i) => node("tr", {},
    node("th", { scope: "row" }, series), node("td", {}, placed(spec.x, v)),
    node("td", {}, short(ys[i]) + (lows && lows[i] != null ? ` [${short(lows[i])}, ${short(highs[i])}]` : "")))));
  return node("table", {}, node("thead", {}, head), node("tbody", {}, ...body));
}

function render({ model, el }) {
  const spec = model.get("spec"), frames = model.get("frames"), id = `gx${++made}`;
  const root = node("div", { class: "gx", role: "group", "aria-label": spec.title });
  const outputs = [], inputs = [];
  let width = 640;
  let live = null; // a frame that the kernel computed for values off the grid
  const index = () => model.get("chosen").reduce((at, i, k) => at * spec.controls[k].shown.length + i, 0);
  const choose = (k, i) => {
    const chosen = [...model.get("chosen")];
    chosen[k] = i; live = null;
    model.set("chosen", chosen); model.save_changes(); draw();
  };
  if (spec.title) root.append(node("div", { class: "gx-title" }, spec.title));
  const controls = node("div", { class: "gx-controls" });
  spec.controls.forEach((control, k) => {
    const row = node("div", { class: "gx-control" }, node("label", { for: `${id}-${k}` }, control.label));
    let input;
    if (control.kind === "slider") {
      input = node("input", { type: "range", id: `${id}-${k}`, min: 0, max: control.shown.length - 1, step: 1 });
      input.value = model.get("chosen")[k];
      input.addEventListener("input", () => choose(k, +input.value));
      outputs[k] = node("output", { for: `${id}-${k}` });
      row.append(input, outputs[k]);
      if (spec.live && !model.frozen && control.numeric) {
        const free = node("input", { type: "number", step: "any", "aria-label": `${control.label}, any value`, placeholder: "any value" });
        free.addEventListener("change", () => free.value !== "" && model.send({ control: k, value: +free.value }));
        row.append(free);
      }
    } else {
      input = node("select", { id: `${id}-${k}` }, ...control.shown.map((text, i) => node("option", { value: i }, text)));
      input.value = model.get("chosen")[k];
      input.addEventListener("change", () => choose(k, +input.value));
      row.append(input);
    }
    inputs[k] = input;
    controls.append(row);
  });
  const pictures = node("div", { class: "gx-pictures" }), chart = node("div", { class: "gx-chart" });
  const text = node("div", { class: "gx-text", "aria-live": "polite" }), numbers = node("div", { class: "gx-scroll" });
  root.append(controls, node("div", { class: "gx-body" }, pictures, chart), text);
  if (spec.plot) {
    root.append(legend(spec.plot));
    root.append(node("details", { class: "gx-numbers" }, node("summary", {}, "These numbers as a table"), numbers));
  }
  const heights = (all) => {
    const { y, rules } = spec.plot, values = rules.map((r) => r.y);
    for (const frame of all) for (const [, , , ys, lows, highs] of frame.marks) values.push(...ys, ...(lows || []), ...(highs || []));
    const usable = values.filter((v) => v != null && (!y.log || v > 0));
    if (spec.plot.kind === "bar" && !y.log) usable.push(0);
    return range(usable.length ? usable.map((v) => (y.log ? Math.log10(v) : v)) : [0, 1]);
  };
  const fixed = spec.plot && (spec.plot.y.lim
    ? spec.plot.y.lim.map((v) => (spec.plot.y.log ? Math.log10(v) : v)) : spec.plot.y.free ? null : heights(frames));

  function draw() {
    const chosen = model.get("chosen"), frame = live || frames[index()];
    const where = spec.controls.map((c, k) => `${c.label} ${live && live.at[k] != null ? short(live.at[k]) : c.shown[chosen[k]]}`).join(", ");
    spec.controls.forEach((c, k) => {
      inputs[k].value = chosen[k];
      if (!outputs[k]) return;
      outputs[k].textContent = live && live.at[k] != null ? short(live.at[k]) : c.shown[chosen[k]];
      inputs[k].setAttribute("aria-valuetext", outputs[k].textContent);
    });
    pictures.replaceChildren(...frame.pictures.map(([key, caption]) => node("figure", { svg: false },
      node("img", { src: spec.images[key].src, alt: caption || spec.images[key].alt, class: spec.images[key].small ? "gx-small" : "" }),
      node("figcaption", {}, caption))));
    if (spec.plot) {
      const shown = { ...spec.plot, x: { ...spec.plot.x, ...frame.x } };
      chart.replaceChildren(frame.marks.length ? plot(shown, frame.marks, fixed || heights([frame]), `${spec.alt} (${where})`, width) : "Nothing to draw here.");
      numbers.replaceChildren(table(shown, frame.marks));
    }
    text.textContent = frame.text || (frame.pictures.length || spec.plot ? "" : "No pictures here.");
  }
  const follow = () => draw();
  const told = (message) => { if (message.frame) { live = message.frame; draw(); } if (message.error) text.textContent = message.error; };
  model.on("change:chosen", follow);
  model.on("msg:custom", told);
  draw();
  el.append(root);
  const watch = new ResizeObserver(() => {
    const fit = Math.min(720, Math.max(260, Math.round(chart.clientWidth)));
    if (spec.plot && chart.clientWidth && fit !== width) { width = fit; draw(); }
  });
  watch.observe(chart);
  return () => { watch.disconnect(); model.off("change:chosen", follow); model.off("msg:custom", told); };
}

export default { render };
